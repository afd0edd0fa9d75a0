"""pushforward: GANs, VAEs, diffusion and flow matching behind one interface.

All of them move noise z onto data x. ``docs/design.md`` is the map. Names are imported when first used, so that importing the
package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward import waiting
from pushforward.lazy import exports

if TYPE_CHECKING:
    from pushforward import (
        couplings,
        data,
        denoiser,
        draws,
        editing,
        errors,
        evaluation,
        guidance,
        interop,
        methods,
        metrics,
        networks,
        outputs,
        paths,
        pictures,
        plugins,
        predictions,
        recipes,
        report,
        samples,
        sampling_options,
        solvers,
        spec,
        tabulated,
        testing,
        times,
        training,
        transports,
    )
    from pushforward.denoiser import Denoiser, FlowMap, Repathed
    from pushforward.editing import impute
    from pushforward.evaluation import Comparison, Score, evaluate
    from pushforward.evaluation.comparison import compare
    from pushforward.guidance import AtScale, Autoguided, Guided, Thresholded
    from pushforward.methods import GAN, VAE, Denoising, Method
    from pushforward.networks import precision
    from pushforward.paths import VE, VP, Cosine, Linear, Path, Shifted
    from pushforward.recipes import Recipe, Schedule, Training
    from pushforward.report import Report
    from pushforward.tabulated import Tabulated
    from pushforward.training import Progress, Run, fit, in_latent, load, resume
    from pushforward.transports import Autoencoder, Flow, Latent, Map, Transport, likelihood
    from pushforward.transports import learned_steps as grid_learning
    from pushforward.transports import learned_steps as table_learning

__version__ = "0.1.0"

waiting.choose()

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
    "Repathed",
    "Report",
    "Run",
    "Schedule",
    "Score",
    "Shifted",
    "Tabulated",
    "Thresholded",
    "Training",
    "Transport",
    "compare",
    "couplings",
    "data",
    "denoiser",
    "draws",
    "editing",
    "errors",
    "evaluate",
    "evaluation",
    "fit",
    "grid_learning",
    "guidance",
    "impute",
    "in_latent",
    "interop",
    "likelihood",
    "load",
    "methods",
    "metrics",
    "networks",
    "outputs",
    "paths",
    "pictures",
    "plugins",
    "precision",
    "predictions",
    "recipes",
    "report",
    "resume",
    "samples",
    "sampling_options",
    "solvers",
    "spec",
    "table_learning",
    "tabulated",
    "testing",
    "times",
    "training",
    "transports",
]


__getattr__ = exports(
    __name__,
    {
        "denoiser": ("Denoiser", "FlowMap", "Repathed"),
        "editing": ("impute",),
        "evaluation": ("Comparison", "Score", "compare", "evaluate"),
        "guidance": ("AtScale", "Autoguided", "Guided", "Thresholded"),
        "methods": ("GAN", "VAE", "Denoising", "Method"),
        "paths": ("VE", "VP", "Cosine", "Linear", "Path", "Shifted"),
        "recipes": ("Recipe", "Schedule", "Training"),
        "report": ("Report",),
        "tabulated": ("Tabulated",),
        "training": ("Progress", "Run", "fit", "in_latent", "load", "resume"),
        "transports": ("Autoencoder", "Flow", "Latent", "Map", "Transport"),
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)
