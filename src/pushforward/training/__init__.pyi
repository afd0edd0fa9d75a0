from pushforward.training.api import distil as distil, fit as fit, resume as resume
from pushforward.training.loop.budget import Budget as Budget
from pushforward.training.loop.display import (
    Progress as Progress,
    Silent as Silent,
    Watcher as Watcher,
)
from pushforward.training.loop.trainer import Trainer as Trainer
from pushforward.training.recipe_argument import (
    autoencoder_of as autoencoder_of,
    in_latent as in_latent,
    with_frozen as with_frozen,
)
from pushforward.training.runs.run import Run as Run, load as load
