"""Parts by name: those of the package, in tables, and those that plug-ins and programs add.

A table says where each part is defined. A part is imported when it is first asked for, so names cost no imports; so are the
public names of packages (`exports`).
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any
from warnings import warn

from pushforward import synonyms
from pushforward.errors import UsageError, suggestion, unknown


class Registry(Mapping[str, Any]):
    """Registry of parts of one kind by name, the package's own first.

    Args:
        kind: Noun for messages, such as "solver".
        homes: Definition of each part of the package, by name: "module:object", relative to the
            package.
        defined: Function that finds the parts of this kind in a module, by name.
        refuse: Location of a function that checks a new part, ``refuse(name, part)``; None for no
            check.
    """

    def __init__(
        self,
        kind: str,
        homes: Mapping[str, str],
        defined: Callable[[ModuleType], dict[str, Any]],
        refuse: str | None = None,
    ) -> None:
        self.kind = kind
        self.homes = homes
        self._defined = defined
        self._refuse = refuse
        self.added: dict[str, Any] = {}
        self._files: dict[str, str] = {}

    def __getitem__(self, name: str) -> Any:
        if name in self.added:
            return self.added[name]
        return at(self.homes[name], name)

    def __iter__(self) -> Iterator[str]:
        yield from self.homes
        yield from self.added

    def __len__(self) -> int:
        return len(self.homes) + len(self.added)

    def __contains__(self, name: object) -> bool:
        return name in self.homes or name in self.added

    def check(self, name: str) -> None:
        """Raise an error if a name is unknown.

        Raises:
            UsageError: With the known names.
        """
        if name not in self:
            raise unknown(self.kind, name, self)

    def find(self, name: str) -> Any:
        """Return the part with a name.

        Raises:
            UsageError: If the name is unknown.
        """
        self.check(name)
        return self[name]

    def add(self, name: str, part: Any, file: str = "") -> None:
        """Add a part, replacing an earlier addition of the same name.

        Raises:
            UsageError: If the name belongs to a part of the package, or the part is unusable.
        """
        if self._refuse is not None:
            at(self._refuse)(name, part)
        if name in self.homes:
            raise UsageError(
                f'The name "{name}" is already used by a {self.kind} of pushforward. Rename yours{file and " in "}{file}.'
            )
        self.added[name] = part

    def adopt(self, module: ModuleType) -> list[str]:
        """Add the parts of a plug-in, and return their names. Parts of an earlier version of the file are removed.

        Raises:
            UsageError: If a name belongs to another file, because a run would silently use the
                later part.
        """
        file = str(module.__file__)
        parts = self._defined(module)
        for name in [name for name, owner in self._files.items() if owner == file]:
            del self._files[name]
            self.added.pop(name, None)
        for name, part in parts.items():
            if self.added.get(name, part) is not part:
                owner = self._files.get(name, "this session")
                raise UsageError(
                    f'The name "{name}" is already used by a {self.kind} in {owner}. Rename it in {file}.'
                )
            self.add(name, part, file)
            self._files[name] = file
        return list(parts)

    def forget(self) -> None:
        """Forget all that was added."""
        self.added.clear()
        self._files.clear()


def at(home: str, name: str = "") -> Any:
    """Import an object from "module:object"; for a tuple of objects, the one with the name."""
    module, _, attribute = home.partition(":")
    part = getattr(importlib.import_module(f"pushforward.{module}"), attribute)
    if isinstance(part, tuple):
        return next(one for one in part if one.name == name)
    return part


def from_text(parts: Registry, text: str) -> Any:
    """Build a part by name, with the value after a colon as its first argument: ``dpm:3``, ``ddim:0.5``, ``inception:FILE``.

    Raises:
        UsageError: If the name is unknown, or the part does not take the value.
    """
    word, _, value = text.strip().partition(":")
    part = parts.find(word.lower().replace("_", "-"))
    if not value:
        return part()
    first = next(iter(inspect.signature(part).parameters.values()), None)
    if first is None:
        raise UsageError(
            f'The {parts.kind} "{word}" does not take an argument. Leave out ":{value}".'
        )
    kind = type(first.default) if isinstance(first.default, (int, float)) else str
    try:
        argument = kind(value)
    except ValueError:
        raise UsageError(
            f'"{value}" in "{text}" is not a number. Write for example {word}:{first.default}.'
        ) from None
    return part(argument)


def classes_of(module: ModuleType) -> dict[str, type]:
    """Return the classes defined in a module, by name, in order."""
    return {
        name: part
        for name, part in vars(module).items()
        if inspect.isclass(part) and part.__module__ == module.__name__
    }


def concrete(parts: Mapping[str, type], kind: type) -> dict[str, Any]:
    """Select the public, non-abstract classes of a kind."""
    return {
        name: part
        for name, part in parts.items()
        if issubclass(part, kind) and not inspect.isabstract(part) and not name.startswith("_")
    }


def objects_of(module: ModuleType, kind: type) -> list[Any]:
    """Return the objects of a kind in the variables of a module, including tuples and lists, each once and in order.

    If a module has ``__all__``, only its names count, so that a file can use the parts of another
    one.
    """
    public = getattr(module, "__all__", None)
    values = [value for name, value in vars(module).items() if public is None or name in public]
    flat = [
        part
        for value in values
        for part in (value if isinstance(value, (tuple, list)) else [value])
    ]
    return list({id(part): part for part in flat if isinstance(part, kind)}.values())


def _subclasses(home: str) -> Callable[[ModuleType], dict[str, Any]]:
    """Finds the concrete classes of a kind, by their names in lower case."""
    return lambda module: {
        name.lower(): part for name, part in concrete(classes_of(module), at(home)).items()
    }


def _recipes(module: ModuleType) -> dict[str, Any]:
    functions = {
        name: part
        for name, part in vars(module).items()
        if inspect.isfunction(part) and not name.startswith("_")
    }
    own = {name: part for name, part in functions.items() if part.__module__ == module.__name__}
    returns = {name: inspect.signature(part).return_annotation for name, part in own.items()}
    return {
        name: own[name]
        for name, kind in returns.items()
        if str(getattr(kind, "__name__", kind)).split(".")[-1] == "Recipe"
    }


RECIPES = Registry(
    "recipe",
    {
        "autoencoder": "recipes.vae:autoencoder",
        "consistency": "recipes.flow:consistency",
        "ddpm": "recipes.diffusion:ddpm",
        "distil": "recipes.distil:distil",
        "dmd": "recipes.distil:dmd",
        "edm": "recipes.diffusion:edm",
        "finish": "recipes.distil:finish",
        "flow": "recipes.flow:flow",
        "gan": "recipes.gan:gan",
        "hvae": "recipes.vae:hvae",
        "meanflow": "recipes.flow:meanflow",
        "shortcut": "recipes.flow:shortcut",
        "vae": "recipes.vae:vae",
        "vdm": "recipes.diffusion:vdm",
        "vqvae": "recipes.vae:vqvae",
    },
    _recipes,
)
ALIASES = {
    "diffusion": (
        "ddpm",
        'The recipe "diffusion" is called ddpm here; edm, vdm and flow are other diffusion models.',
    )
}
"""Names of recipes elsewhere that are accepted, with the recipe and a sentence that says so."""


def own_name(recipe: str) -> str:
    """Return a recipe's own name for an alias, with a warning; every other name or path is returned unchanged."""
    if recipe in RECIPES or recipe not in ALIASES:
        return recipe
    name, sentence = ALIASES[recipe]
    warn(sentence, stacklevel=3)
    return name


SOLVERS = Registry(
    "solver",
    {
        "adaptive": "solvers.runge_kutta:Adaptive",
        "ancestral": "solvers.ddim:Ancestral",
        "churn": "solvers.stochastic:Churn",
        "ddim": "solvers.ddim:DDIM",
        "deis": "solvers.exponential:DEIS",
        "dpm": "solvers.exponential:DPM",
        "dpmsde": "solvers.stochastic:DPMSDE",
        "euler": "solvers.runge_kutta:Euler",
        "eulermaruyama": "solvers.stochastic:EulerMaruyama",
        "heun": "solvers.runge_kutta:Heun",
        "ipndm": "solvers.exponential:IPNDM",
        "jump": "solvers.ddim:Jump",
        "midpoint": "solvers.runge_kutta:Midpoint",
        "predictorcorrector": "solvers.stochastic:PredictorCorrector",
        "rk4": "solvers.runge_kutta:RK4",
        "singlestep": "solvers.exponential:SingleStep",
        "unipc": "solvers.exponential:UniPC",
    },
    _subclasses("solvers.solver:Solver"),
)
METRICS = Registry(
    "metric",
    {
        "classes": "metrics.modes:Classes",
        "column_shapes": "metrics.columns:ColumnShapes",
        "copying": "metrics.memorisation:Copying",
        "detection": "metrics.trees:Detection",
        "distinct": "metrics.modes:Distinct",
        "fidelity": "metrics.manifold:Fidelity",
        "frechet": "metrics.frechet:Frechet",
        "kernel": "metrics.two_sample:Kernel",
        "manifold": "metrics.manifold:Manifold",
        "membership": "metrics.nearest_rows:Membership",
        "memorisation": "metrics.memorisation:Memorisation",
        "modes": "metrics.modes:Modes",
        "nearest_rows": "metrics.nearest_rows:NearestRows",
        "pair_trends": "metrics.columns:PairTrends",
        "sharpness": "metrics.image_quality:Sharpness",
        "sinkhorn": "metrics.transport:Sinkhorn",
        "stacked": "metrics.modes:Stacked",
        "two_sample": "metrics.two_sample:TwoSample",
        "unique_texts": "metrics.nearest_rows:UniqueTexts",
        "utility": "metrics.trees:Utility",
        "wasserstein": "metrics.transport:Wasserstein",
    },
    lambda module: {
        name.lower(): part
        for name, part in classes_of(module).items()
        if at("metrics.score:is_metric")(part)
    },
    refuse="metrics.names:check_metric",
)
EXTRACTORS = Registry(
    "feature space",
    {
        "classifier": "extractors.classifier:LastHidden",
        "efficientnet": "extractors.pretrained:EfficientNet",
        "inception": "extractors.pretrained:Inception",
        "pca": "extractors.raw:PrincipalComponents",
        "raw": "extractors.raw:Raw",
        "self-supervised": "extractors.self_supervised:SelfSupervised",
    },
    _subclasses("extractors.extractor:Extractor"),
    refuse="extractors.extractor:check_extractor",
)
TRACKERS = Registry(
    "tracker",
    {
        "mlflow": "trackers.mlflow:MLflow",
        "tensorboard": "trackers.tensorboard:TensorBoard",
        "wandb": "trackers.wandb:WandB",
    },
    _subclasses("trackers.tracker:Tracker"),
)
SETS = Registry(
    "data set",
    {
        "digits": "data.sets.digits:DIGITS",
        "mnist-5k": "data.sets.mnist_5k:MNIST_5K",
        "mnist": "data.sets.torchvision:MNIST",
        "fashion_mnist": "data.sets.torchvision:SETS",
        "cifar10": "data.sets.torchvision:SETS",
        "binary-digits": "data.sets.binary:SETS",
        "binary-mnist": "data.sets.binary:SETS",
        "stacked-digits": "data.sets.stacked:SETS",
        "stacked-mnist": "data.sets.stacked:SETS",
        "ring": "data.sets.toys:SETS",
        "grid": "data.sets.toys:SETS",
        "8gaussians": "data.sets.toys:SETS",
        "8gaussians-c2ot": "data.sets.toys:SETS",
        "moons": "data.sets.toys:SETS",
        "moons-c2ot": "data.sets.toys:SETS",
        "scurve": "data.sets.toys:SETS",
        "checkerboard": "data.sets.toys:SETS",
        "swissroll": "data.sets.toys:SETS",
        "pinwheel": "data.sets.toys:SETS",
    },
    lambda module: {
        part.name: part for part in objects_of(module, at("data.core.named_set:Named"))
    },
    refuse="data.core.named_set:check_set",
)
READERS = Registry(
    "reader",
    {
        "/": "data.readers.images:IMAGES",
        ".npz": "data.readers.numpy_files:NUMPY",
        ".npy": "data.readers.numpy_files:NUMPY",
        ".idx3-ubyte": "data.readers.idx:IDX_FILES",
        ".tar": "data.readers.images:IMAGES",
        ".csv": "data.readers.tables:TABLES",
        ".tsv": "data.readers.tables:TABLES",
        ".data": "data.readers.tables:TABLES",
        ".txt": "data.readers.tables:TABLES",
        ".parquet": "data.readers.tables:TABLES",
    },
    lambda module: {
        ending: part
        for part in objects_of(module, at("data.readers.reader:Reader"))
        for ending in part.endings
    },
    refuse="data.readers.reader:check_ending",
)
# The classes that `spec.build` makes from a `spec.json`, by the module that defines them; a run with any other class is not read
_PARTS = {
    "conditions.columns": "Known Numbers",
    "conditions.embeddings": "LabelEmbedding NumbersEmbedding",
    "conditions.kind": "Request",
    "conditions.label": "Label",
    "data.spaces.image": "ImageSpace",
    "data.spaces.space": "ScaledSpace",
    "data.spaces.table": "TableSpace",
    "data.spaces.vector": "VectorSpace",
    "data.tables.string_columns": "CellRows Collector Faults RawColumn RawTable",
    "data.tables.cells": "Format",
    "data.tables.columns": "Category Number",
    "data.tables.constraints": "Constraint",
    "data.tables.csv_dialect": "Cells GappyFile Layout",
    "data.tables.coordinates": "Coordinates",
    "data.tables.inference": "Finding",
    "data.tables.schema": "TableFacts",
    "denoisers.denoiser": "Denoiser FlowMap MapSampling Preconditioning Predictor Repathed",
    "denoisers.guidance": "AtScale Autoguided Guided Thresholded",
    "denoisers.table_denoiser": "TableDenoiser",
    "interop.diffusers": "DiffusersDecoder DiffusersEncoder DiffusersUNet",
    "export.tables": "Dense",
    "methods.adversarial": "CriticInput DiffAugment GAN Game Objective Penalties",
    "methods.autoencoders": "Drawn Following HasFeatures LossWeights PerceptualAutoencoder QuantisedAutoencoder Snapped "
    "Standardised",
    "methods.denoising": "Denoising TableDenoising",
    "methods.distillation": "Distillation TableDistillation TeacherPairs Trajectories",
    "methods.distribution_matching": "DistributionMatching",
    "methods.finish": "Anchor Finish",
    "methods.flow_map": "Dyadic Mapping Sorted",
    "methods.latent_method": "LatentMethod",
    "methods.likelihoods": "Bernoulli Decoded EvidenceBound Gaussian HasImportanceWeights LogisticMixture Rows",
    "methods.method": "Freezing Guard HasAutoencoder HasCritic Now PrecomputesInputs Sums",
    "methods.perceptual_distance": "FeatureCritic Featured Likeness",
    "methods.flow_map_targets": "End Middle Progressive Start Where",
    "methods.vae": "Bounded ClassPrior Descent Deterministic FromPrior HierarchicalVAE ToPrior VAE",
    "networks.autoencoder": "Codebook Compressor Decoder Encoder Expander PatchCritic Rounding",
    "networks.blocks": "Attention Conditioning Level Modulation Norm ResidualBlock TimeEmbedding",
    "networks.gan": "Critic DCGANCritic DCGANGenerator Generator InvertedBlock ProjectionHead Resample TextbookCritic "
    "TextbookGenerator",
    "networks.mlp": "MLP Perceptron",
    "networks.pretrained": "FeatureHeads Mixing PretrainedFeatures ProjectedCritic ScaleCritic",
    "networks.transformer": "ColumnTransformer DiT TransformerBlock",
    "networks.unet": "UNet",
    "networks.wrappers": "FourierFeatures LevelPosterior Packed Reshaped SignCodes Spectral StraightThrough UnitVectors",
    "paths.couplings": "Independent OptimalTransport Source",
    "paths.path": "Coefficients Cosine Linear Narrowed Shifted Tabulated VE VP "
    "EDMWeight Flat Levels LogNormal LogSNR LogitNormal MinSNR SNR Stratified Uniform",
    "solvers.ddim": "Ancestral DDIM Jump",
    "solvers.exponential": "DEIS DPM IPNDM SingleStep UniPC",
    "solvers.runge_kutta": "Adaptive Euler Heun Midpoint RK4",
    "solvers.stochastic": "Churn DPMSDE EulerMaruyama PredictorCorrector",
    "solvers.table": "Call NotAffine Row Symbol Table TableCache Update",
    "transports.flow": "Autoencoder Flow Latent Map Observed",
    "transports.redrawing": "Part Redrawing Tally",
}
PARTS = Registry(
    "class",
    {name: f"{module}:{name}" for module, names in _PARTS.items() for name in names.split()},
    classes_of,
)
# The registries by the kinds of their parts, in the order in which a plug-in's parts are added
KINDS = {
    registry.kind: registry
    for registry in (SOLVERS, METRICS, EXTRACTORS, SETS, READERS, RECIPES, TRACKERS, PARTS)
}


def exports(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return the module-level ``__getattr__`` of a package, and give the package a ``__dir__`` that lists its ``__all__``.

    Args:
        package: Full name of the package.
        homes: Public names by the module of the package that defines them.
    """
    home = {name: module for module, names in homes.items() for name in names}

    def find(name: str) -> Any:
        if name in home:
            return getattr(importlib.import_module(f"{package}.{home[name]}"), name)
        if not name.startswith("_") and importlib.util.find_spec(f"{package}.{name}") is not None:
            return importlib.import_module(f"{package}.{name}")
        hint = suggestion(name, module.__all__) if synonyms.is_listed(name) else ""
        raise AttributeError(f"module {package!r} has no attribute {name!r}.{hint}")

    module = sys.modules[package]
    vars(module)["__dir__"] = lambda: sorted(module.__all__)
    return find
