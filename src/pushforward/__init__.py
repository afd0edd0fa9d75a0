"""pushforward: GANs, VAEs, diffusion and flow matching behind one interface.

``docs/design.md`` is the map. Names are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward import runtime
from pushforward.registries import exports

if TYPE_CHECKING:
    from pushforward import (
        data,
        denoisers,
        draws,
        editing,
        errors,
        evaluation,
        interop,
        methods,
        metrics,
        networks,
        paths,
        pictures,
        plugins,
        recipes,
        report,
        samples,
        solvers,
        spec,
        testing,
        training,
        transports,
    )
    from pushforward.denoisers import (
        AtScale,
        Autoguided,
        Denoiser,
        FlowMap,
        Guided,
        Rescheduled,
        Thresholded,
    )
    from pushforward.evaluation import Comparison, Score, evaluate
    from pushforward.evaluation.comparison import compare
    from pushforward.methods import GAN, VAE, Denoising, Method
    from pushforward.paths import VE, VP, Cosine, Linear, Path, Shifted, Tabulated
    from pushforward.recipes import Recipe, Schedule, Training
    from pushforward.report import Report
    from pushforward.tables.imputation import impute
    from pushforward.training import Progress, Run, fit, in_latent, load, resume
    from pushforward.transports import Autoencoder, Flow, Latent, Map, Transport

__version__ = "0.1.0"

runtime.set_thread_waiting()

__all__ = [
    "GAN",
    "VAE",
    "VE",
    "VP",
    "AtScale",
    "Autoencoder",
    "Autoguided",
    "Comparison",
    "Cosine",
    "Denoiser",
    "Denoising",
    "Flow",
    "FlowMap",
    "Guided",
    "Latent",
    "Linear",
    "Map",
    "Method",
    "Path",
    "Progress",
    "Recipe",
    "Report",
    "Rescheduled",
    "Run",
    "Schedule",
    "Score",
    "Shifted",
    "Tabulated",
    "Thresholded",
    "Training",
    "Transport",
    "compare",
    "data",
    "denoisers",
    "draws",
    "editing",
    "errors",
    "evaluate",
    "evaluation",
    "fit",
    "impute",
    "in_latent",
    "interop",
    "load",
    "methods",
    "metrics",
    "networks",
    "paths",
    "pictures",
    "plugins",
    "recipes",
    "report",
    "resume",
    "samples",
    "solvers",
    "spec",
    "testing",
    "training",
    "transports",
]


__getattr__ = exports(
    __name__,
    {
        "denoisers": (
            "AtScale",
            "Autoguided",
            "Denoiser",
            "FlowMap",
            "Guided",
            "Rescheduled",
            "Thresholded",
        ),
        "evaluation": ("Comparison", "Score", "compare", "evaluate"),
        "methods": ("GAN", "VAE", "Denoising", "Method"),
        "paths": ("VE", "VP", "Cosine", "Linear", "Path", "Shifted", "Tabulated"),
        "recipes": ("Recipe", "Schedule", "Training"),
        "report": ("Report",),
        "tables.imputation": ("impute",),
        "training": ("Progress", "Run", "fit", "in_latent", "load", "resume"),
        "transports": ("Autoencoder", "Flow", "Latent", "Map", "Transport"),
    },
)
