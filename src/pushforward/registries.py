"""Parts by name, imported when first used: those of the package, and those that plug-ins add."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from warnings import warn

from pushforward import synonyms
from pushforward.errors import UsageError, suggestion, unknown


@dataclass(eq=False, repr=False)
class Registry(Mapping[str, Any]):
    """Registry of parts of one kind by name, the package's own first.

    Args:
        kind: Noun for messages, such as "solver".
        homes: Parts of the package by name: "module:object", relative to the package.
        defined: Function that finds the parts of this kind in a module, by name.
        refuse: Function that checks a new part, as "module:object".
    """

    kind: str
    homes: Mapping[str, str]
    defined: Callable[[ModuleType], dict[str, Any]]
    refuse: str | None = None
    added: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

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

    def find(self, name: str) -> Any:
        """Return the part with a name; an error lists the known names."""
        if name not in self:
            raise unknown(self.kind, name, self)
        return self[name]

    def add(self, name: str, part: Any, file: str = "") -> None:
        """Add a part, but none with the name of a part of the package."""
        if self.refuse is not None:
            at(self.refuse)(name, part)
        if name in self.homes:
            where = f" in {file}" if file else ""
            raise UsageError(
                f'The name "{name}" is already used by a {self.kind} of pushforward. '
                f"Rename yours{where}."
            )
        self.added[name] = part

    def adopt(self, module: ModuleType) -> list[str]:
        """Add the parts of a plug-in, replacing those of an earlier version of the file."""
        file = str(module.__file__)
        parts = self.defined(module)
        for name, owner in list(self.files.items()):
            if owner == file:
                del self.files[name]
                self.added.pop(name, None)
        for name, part in parts.items():
            if self.added.get(name, part) is not part:
                owner = self.files.get(name, "this session")
                raise UsageError(
                    f'The name "{name}" is already used by a {self.kind} in {owner}. '
                    f"Rename it in {file}."
                )
            self.add(name, part, file)
            self.files[name] = file
        return list(parts)

    def forget(self) -> None:
        """Forget all that was added."""
        self.added.clear()
        self.files.clear()


def at(home: str, name: str = "") -> Any:
    """Import "module:object"; of a tuple of objects, the one with the name."""
    module, _, attribute = home.partition(":")
    part = getattr(importlib.import_module(f"pushforward.{module}"), attribute)
    if isinstance(part, tuple):
        return {one.name: one for one in part}[name]
    return part


def from_text(parts: Registry, text: str) -> Any:
    """Build a part by name, with its first argument after a colon, as in dpm:3."""
    word, _, value = text.strip().partition(":")
    part = parts.find(word.lower().replace("_", "-"))
    if not value:
        return part()
    arguments = list(inspect.signature(part).parameters.values())
    if not arguments:
        raise UsageError(
            f'The {parts.kind} "{word}" does not take an argument. Leave out ":{value}".'
        )
    default = arguments[0].default
    if not isinstance(default, (int, float)):
        return part(value)
    try:
        number = type(default)(value)
    except ValueError:
        raise UsageError(
            f'"{value}" in "{text}" is not a number. Write for example {word}:{default}.'
        ) from None
    return part(number)


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
    """Return the objects of a kind in a module, also in tuples and lists."""
    public = getattr(module, "__all__", vars(module))
    found = {}
    for name, value in vars(module).items():
        if name not in public:
            continue
        parts = value if isinstance(value, (tuple, list)) else [value]
        for part in parts:
            if isinstance(part, kind):
                found[id(part)] = part
    return list(found.values())


def _subclasses(home: str) -> Callable[[ModuleType], dict[str, Any]]:
    def defined(module: ModuleType) -> dict[str, Any]:
        parts = concrete(classes_of(module), at(home))
        return {name.lower(): part for name, part in parts.items()}

    return defined


def _recipes(module: ModuleType) -> dict[str, Any]:
    recipes = {}
    for name, part in vars(module).items():
        if name.startswith("_") or not inspect.isfunction(part):
            continue
        kind = inspect.signature(part).return_annotation
        returned = str(getattr(kind, "__name__", kind)).split(".")[-1]
        if part.__module__ == module.__name__ and returned == "Recipe":
            recipes[name] = part
    return recipes


def _metrics(module: ModuleType) -> dict[str, Any]:
    is_metric = at("metrics.score:is_metric")
    parts = classes_of(module)
    return {name.lower(): part for name, part in parts.items() if is_metric(part)}


def _sets(module: ModuleType) -> dict[str, Any]:
    return {part.name: part for part in objects_of(module, at("data.core.named_set:Named"))}


def _readers(module: ModuleType) -> dict[str, Any]:
    readers: dict[str, Any] = {}
    for part in objects_of(module, at("data.readers.reader:Reader")):
        readers |= dict.fromkeys(part.endings, part)
    return readers


RECIPES = Registry(
    "recipe",
    {
        "autoencoder": "recipes.autoencoding:autoencoder",
        "consistency": "recipes.flow_maps:consistency",
        "ddpm": "recipes.diffusion:ddpm",
        "distil": "recipes.flow_maps:distil",
        "dmd": "recipes.flow_maps:dmd",
        "edm": "recipes.diffusion:edm",
        "finish": "recipes.adversarial:finish",
        "flow": "recipes.flow_matching:flow",
        "gan": "recipes.adversarial:gan",
        "hvae": "recipes.autoencoding:hvae",
        "meanflow": "recipes.flow_maps:meanflow",
        "shortcut": "recipes.flow_maps:shortcut",
        "vae": "recipes.autoencoding:vae",
        "vdm": "recipes.diffusion:vdm",
        "vqvae": "recipes.autoencoding:vqvae",
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
    """Return a recipe's own name for an alias, with a warning."""
    if recipe in RECIPES or recipe not in ALIASES:
        return recipe
    name, sentence = ALIASES[recipe]
    warn(sentence, stacklevel=3)
    return name


METRICS = Registry(
    "metric",
    {
        "classes": "metrics.modes:Classes",
        "column_shapes": "tables.metrics.columns:ColumnShapes",
        "copying": "metrics.memorisation:Copying",
        "detection": "tables.metrics.trees:Detection",
        "distinct": "metrics.modes:Distinct",
        "fidelity": "tables.metrics.nearest_rows:Fidelity",
        "frechet": "metrics.two_sample:Frechet",
        "kernel": "metrics.two_sample:Kernel",
        "manifold": "metrics.manifold:Manifold",
        "membership": "tables.metrics.nearest_rows:Membership",
        "memorisation": "metrics.memorisation:Memorisation",
        "modes": "metrics.modes:Modes",
        "nearest_rows": "tables.metrics.nearest_rows:NearestRows",
        "pair_trends": "tables.metrics.columns:PairTrends",
        "sharpness": "metrics.image_quality:Sharpness",
        "sinkhorn": "metrics.transport:Sinkhorn",
        "stacked": "metrics.modes:Stacked",
        "two_sample": "metrics.two_sample:TwoSample",
        "unique_texts": "tables.metrics.nearest_rows:UniqueTexts",
        "utility": "tables.metrics.trees:Utility",
        "wasserstein": "metrics.transport:Wasserstein",
    },
    _metrics,
    refuse="metrics.score:check_metric",
)
EXTRACTORS = Registry(
    "feature space",
    {
        "classifier": "extractors.classifier:LastHidden",
        "efficientnet": "extractors.pretrained:EfficientNet",
        "inception": "extractors.pretrained:Inception",
        "pca": "extractors.extractor:PrincipalComponents",
        "raw": "extractors.extractor:Raw",
        "self-supervised": "extractors.self_supervised:SelfSupervised",
    },
    _subclasses("extractors.extractor:Extractor"),
    refuse="extractors.extractor:check_extractor",
)
TRACKERS = Registry(
    "tracker",
    {
        "mlflow": "trackers.services:MLflow",
        "tensorboard": "trackers.services:TensorBoard",
        "wandb": "trackers.services:WandB",
    },
    _subclasses("trackers.tracker:Tracker"),
)
SETS = Registry(
    "data set",
    {
        "digits": "data.sets.image_sets:DIGITS",
        "mnist-5k": "data.sets.image_sets:MNIST_5K",
        "mnist": "data.sets.image_sets:MNIST",
        "fashion_mnist": "data.sets.image_sets:SETS",
        "cifar10": "data.sets.image_sets:SETS",
        "binary-digits": "data.sets.derived:SETS",
        "binary-mnist": "data.sets.derived:SETS",
        "stacked-digits": "data.sets.derived:SETS",
        "stacked-mnist": "data.sets.derived:SETS",
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
    _sets,
    refuse="data.core.named_set:check_set",
)
READERS = Registry(
    "reader",
    {
        "/": "data.readers.images:IMAGES",
        ".npz": "data.readers.array_files:NUMPY",
        ".npy": "data.readers.array_files:NUMPY",
        ".idx3-ubyte": "data.readers.array_files:IDX_FILES",
        ".tar": "data.readers.images:IMAGES",
        ".csv": "tables.reading.reader:TABLES",
        ".tsv": "tables.reading.reader:TABLES",
        ".data": "tables.reading.reader:TABLES",
        ".txt": "tables.reading.reader:TABLES",
        ".parquet": "tables.reading.reader:TABLES",
    },
    _readers,
    refuse="data.readers.reader:check_ending",
)
# Kinds of data, in the order in which they are asked whether they accept an array
SPACES = (
    "data.spaces.scaled:ImageSpace",
    "tables.space:TableSpace",
    "data.spaces.scaled:VectorSpace",
)
# The classes that `spec.build` makes from a `spec.json`, by the module that defines them; a run
# with any other class is not read
_PARTS = {
    "conditions.columns": "Numbers",
    "conditions.embeddings": "LabelEmbedding NumbersEmbedding",
    "conditions.label": "Label",
    "tables.space": "TableSpace",
    "data.spaces.scaled": "ImageSpace ScaledSpace VectorSpace",
    "tables.reading.string_columns": "Format",
    "tables.columns": "Category Number",
    "tables.constraints": "Constraint",
    "tables.reading.csv_dialect": "Layout",
    "tables.coordinates": "Rows StraightThrough",
    "denoisers.denoiser": "Denoiser FlowMap MapSampling Preconditioning Predictor Rescheduled",
    "denoisers.guidance": "AtScale Autoguided Guided Thresholded",
    "tables.column": "Known",
    "tables.denoiser": "TableDenoiser TableDenoising TableDistillation",
    "interop.diffusers": "DiffusersDecoder DiffusersEncoder DiffusersUNet",
    "methods.adversarial": "CriticInput DiffAugment GAN Penalties",
    "methods.autoencoders": "Drawn LossWeights PerceptualAutoencoder "
    "QuantisedAutoencoder Snapped Standardised",
    "methods.denoising": "Denoising",
    "methods.distillation": "Distillation FeatureDistance",
    "methods.flow_map": "Dyadic FlowMapMatching Sorted",
    "methods.likelihoods": "Bernoulli Decoded EvidenceBound Gaussian LogisticMixture",
    "methods.method": "Guard LatentMethod",
    "methods.refinement": "AdversarialRefinement AnchorPenalty DistributionMatching FeatureCritic",
    "methods.trajectories": "TeacherPairs Trajectories",
    "methods.flow_map_targets": "EndTarget MiddleTarget Progressive StartTarget",
    "methods.vae": "Bounded ClassPrior Descent Deterministic FromPrior HierarchicalVAE ToPrior VAE",
    "networks.autoencoder": "Codebook Compressor Decoder Encoder Expander PatchCritic Rounding",
    "networks.blocks": "Attention Conditioning Norm",
    "networks.gan": "Critic DCGANCritic DCGANGenerator FeatureHeads Generator "
    "ProjectionHead ScaleCritic TextbookCritic TextbookGenerator",
    "networks.mlp": "MLP Perceptron",
    "networks.transformer": "ColumnTransformer DiT",
    "networks.unet": "UNet",
    "networks.wrappers": "FourierFeatures LevelPosterior Packed Reshaped SignCodes Spectral "
    "UnitVectors",
    "paths.couplings": "Independent OptimalTransport Source",
    "paths.path": "Cosine Linear Narrowed Shifted Tabulated VE VP "
    "EDMWeight Flat Levels LogNormal LogSNR LogitNormal MinSNR SNR Stratified Uniform",
    "solvers.exponential": "DEIS DPM IPNDM SingleStep UniPC",
    "solvers.runge_kutta": "Adaptive Euler Heun Midpoint RK4",
    "solvers.stochastic": "Ancestral Churn DDIM Jump DPMSDE EulerMaruyama PredictorCorrector",
    "transports.flow": "Autoencoder Flow Latent Map",
}
# Names of classes in specs of earlier versions
RENAMED = {
    "Anchor": "AnchorPenalty",
    "End": "EndTarget",
    "Finish": "AdversarialRefinement",
    "Likeness": "FeatureDistance",
    "Mapping": "FlowMapMatching",
    "Middle": "MiddleTarget",
    "Repathed": "Rescheduled",
    "Start": "StartTarget",
}
# Arguments of earlier versions, by class, with the value that changes nothing
RETIRED: dict[str, dict[str, Any]] = {
    "AnchorPenalty": {"end": None},
    "Flow": {"learned": None},
    "Format": {"bare": False, "levels": ()},
    "MiddleTarget": {"random": False},
    "OptimalTransport": {"reuse": 1},
    "Penalties": {"ramp": None},
    "PerceptualAutoencoder": {"feature_extractor": None},
    "Schedule": {"beta2_end": None, "ramp": None},
    "Sorted": {"until": None},
    "StartTarget": {"direction": "pair"},
    "StraightThrough": {"temperature": 1.0},
    "UNet": {"dropout": 0.0},
}
# Classes of earlier versions that are no longer offered
REMOVED = frozenset({"PretrainedFeatures", "ProjectedCritic"})
_HOMES = {name: f"{module}:{name}" for module, names in _PARTS.items() for name in names.split()}
PARTS = Registry("class", _HOMES, classes_of)
SOLVERS = Registry(
    "solver",
    {name.lower(): _HOMES[name] for name in sorted(_HOMES) if _HOMES[name].startswith("solvers.")},
    _subclasses("solvers.solver:Solver"),
)
# The registries by the kinds of their parts, in the order in which a plug-in's parts are added
KINDS = {
    registry.kind: registry
    for registry in (SOLVERS, METRICS, EXTRACTORS, SETS, READERS, RECIPES, TRACKERS, PARTS)
}


def exports(package: str, file: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package, which imports public names when first used.

    The names and the modules that define them are listed in the package's ``__init__.pyi``, which
    type checkers read as well. The package also receives an ``__all__`` and a ``__dir__``.

    Args:
        package: Full name of the package.
        file: Path of its ``__init__.py``.
    """
    stub = Path(file).with_suffix(".pyi").read_text(encoding="utf-8")
    homes = {}
    for node in ast.parse(stub).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                homes[alias.name] = str(node.module)
    names = sorted(homes)
    module = sys.modules[package]
    vars(module)["__all__"] = names
    vars(module)["__dir__"] = lambda: names

    def find(name: str) -> Any:
        if homes.get(name, package) != package:
            return getattr(importlib.import_module(homes[name]), name)
        if not name.startswith("_") and importlib.util.find_spec(f"{package}.{name}") is not None:
            return importlib.import_module(f"{package}.{name}")
        hint = suggestion(name, names) if synonyms.is_listed(name) else ""
        raise AttributeError(f"module {package!r} has no attribute {name!r}.{hint}")

    return find
