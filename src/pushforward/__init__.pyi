from pushforward import (
    data as data,
    denoisers as denoisers,
    draws as draws,
    editing as editing,
    errors as errors,
    evaluation as evaluation,
    interop as interop,
    methods as methods,
    metrics as metrics,
    networks as networks,
    paths as paths,
    pictures as pictures,
    plugins as plugins,
    recipes as recipes,
    report as report,
    samples as samples,
    solvers as solvers,
    spec as spec,
    testing as testing,
    training as training,
    transports as transports,
)
from pushforward.denoisers import (
    AtScale as AtScale,
    Autoguided as Autoguided,
    Denoiser as Denoiser,
    FlowMap as FlowMap,
    Guided as Guided,
    Rescheduled as Rescheduled,
    Thresholded as Thresholded,
)
from pushforward.evaluation import Comparison as Comparison, Score as Score, evaluate as evaluate
from pushforward.evaluation.comparison import compare as compare
from pushforward.methods import GAN as GAN, VAE as VAE, Denoising as Denoising, Method as Method
from pushforward.paths import (
    VE as VE,
    VP as VP,
    Cosine as Cosine,
    Linear as Linear,
    Path as Path,
    Shifted as Shifted,
    Tabulated as Tabulated,
)
from pushforward.recipes import Recipe as Recipe, Schedule as Schedule, Training as Training
from pushforward.report import Report as Report
from pushforward.tables.imputation import impute as impute
from pushforward.training import (
    Progress as Progress,
    Run as Run,
    fit as fit,
    in_latent as in_latent,
    load as load,
    resume as resume,
)
from pushforward.transports import (
    Autoencoder as Autoencoder,
    Flow as Flow,
    Latent as Latent,
    Map as Map,
    Transport as Transport,
)

__version__: str
