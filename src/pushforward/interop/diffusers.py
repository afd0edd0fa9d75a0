"""Read and write diffusers folders of denoisers and autoencoders, without running their code."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pushforward import paths
from pushforward.conditions.label import Label
from pushforward.data.spaces import ImageSpace, Space
from pushforward.denoisers import Condition, Denoiser, Preconditioning
from pushforward.errors import CheckpointError, UsageError, imported
from pushforward.files import parse_json, read_whole, replacing
from pushforward.networks.blocks import check_condition
from pushforward.numbers import some
from pushforward.paths import Linear, Tabulated

# File name of diffusers for a network's weights
WEIGHTS = "diffusion_pytorch_model"


def library() -> Any:
    """Import the module diffusers."""
    return imported("diffusers", "This needs diffusers", "diffusers")


def config_of(network: Any) -> dict[str, Any]:
    """Return the configuration of a diffusers network as plain data."""
    return json.loads(json.dumps(_public(network.config)))


def _public(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if not name.startswith("_")}


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(read_whole(path.resolve()), infinite=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {error}. Expected a folder written by save_pretrained of a "
            "diffusers pipeline with a UNet2DModel."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is damaged: it contains no settings. Restore the file.")
    return content


def check_setting(name: str, value: Any, supported: Collection[Any]) -> None:
    """Raise a `UsageError` if a setting of diffusers does not have a supported value."""
    if value not in supported:
        values = ", ".join(map(str, supported))
        raise UsageError(f"{name} = {value!s:.300} is not supported; expected {values}.")


def load_network(folder: Path, kind: str = "UNet2DModel") -> Any:
    """Load the diffusers network of class ``kind`` in a folder, in float32, channels_last.

    Raises:
        CheckpointError: If a file is missing or damaged.
        UsageError: If weights are pickled, or the class is different.
    """
    config = _read_settings(folder / "config.json")
    check_setting(f"_class_name of {folder}", config.get("_class_name", kind), [kind])
    weights = folder / f"{WEIGHTS}.safetensors"
    if not weights.is_file() and not Path(f"{weights}.index.json").is_file():
        raise UsageError(
            f"{weights} is missing. Pickled weights (.bin, .pt) can run code and are never opened. "
            "If you trust them, save them again with diffusers: pipeline.save_pretrained(NEW, "
            "safe_serialization=True)."
        )
    from safetensors import SafetensorError

    try:
        network, loading = getattr(library(), kind).from_pretrained(
            str(folder),
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=False,
            output_loading_info=True,
        )
    except (OSError, SafetensorError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"The network in {folder} cannot be read: {error}. Restore its files, or save it again."
        ) from error
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        keys = loading[what]
        if keys:
            raise CheckpointError(
                f"The weights in {folder} do not fit its config.json: {what} {some(keys)}."
            )
    return network.float().to(memory_format=torch.channels_last)


# diffusers' samplers whose settings hold the betas of a discrete schedule
DISCRETE = (
    "DDPMScheduler",
    "DDIMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
# diffusers' samplers of flow matching on the straight path
FLOW = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
SAMPLERS = (*DISCRETE, *FLOW)
# Names of predictions in diffusers, and here
PREDICTIONS = {"epsilon": "noise", "sample": "data", "v_prediction": "v"}
_BETAS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
)
# Replaces an alpha^2 of 0 at the last level, as in several of diffusers' own samplers
_LEAST = 2.0**-24


def trained_on(name: str, settings: Mapping[str, Any]) -> tuple[paths.Path, str]:
    """Return path and prediction from a sampler's settings."""
    check_setting("invert_sigmas", settings.get("invert_sigmas", False), [False])
    check_setting("timestep_type", settings.get("timestep_type", "discrete"), ["discrete"])
    if name in FLOW or settings.get("use_flow_sigmas"):
        usual = "flow_prediction" if name in FLOW else "epsilon"
        kind = settings.get("prediction_type", usual)
        check_setting("prediction_type", kind, ["flow_prediction"])
        return Linear(), "velocity"
    kind = settings.get("prediction_type", "epsilon")
    check_setting("prediction_type", kind, PREDICTIONS)
    return _tabulated(settings), PREDICTIONS[kind]


def _tabulated(settings: Mapping[str, Any]) -> Tabulated:
    given = {name: settings[name] for name in _BETAS if name in settings}
    make = library().DDPMScheduler
    try:
        betas = make(**given).betas.double()
    except (NotImplementedError, TypeError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"diffusers cannot build a noise schedule from these sampler settings: {error}."
        ) from error
    if len(betas) > 1 and betas[-1] == 1:
        before = float(torch.prod(1 - betas[:-1]))
        # log-SNR must fall from level to level, also if the last but one is below `_LEAST`
        betas[-1] = 1 - min(_LEAST, before / 4) / before
    return Tabulated(betas.tolist())


class DiffusersUNet(nn.Module):
    """diffusers' UNet2DModel as a network of x, t and a condition.

    It calls its UNet2DModel with the timestep ``levels * t - offset``, not rounded, and the label
    as the class. Train it on data in diffusers' units: ``pf.recipes.ddpm(space,
    network=DiffusersUNet(unet))`` starts from new weights. To continue from trained weights, use
    `Denoising` with the denoiser from `from_diffusers`.

    Args:
        config: UNet2DModel, or its configuration, from which one is built with new weights.
        levels: Number T of timesteps.
        offset: 1 for a discrete schedule, whose first level is at t = 1 / T; 0 for flow matching.
        null: Number of the unconditional class; None if there is none. Label dropout, the default
            of training, requires one: with 10 classes, num_class_embeds=11 and null=10.

    Raises:
        UsageError: If the network is different, or its time, classes or channels are not supported.
    """

    def __init__(
        self,
        config: nn.Module | Mapping[str, Any],
        levels: int = 1000,
        offset: int = 1,
        null: int | None = None,
    ) -> None:
        super().__init__()
        self.unet = network_of("UNet2DModel", config)
        self.config = config_of(self.unet)
        check_setting("out_channels", self.config["out_channels"], [self.config["in_channels"]])
        check_setting("time_embedding_type", self.config["time_embedding_type"], ["positional"])
        check_setting("class_embed_type", self.config["class_embed_type"], [None])
        self.levels = levels
        self.offset = offset
        self.null = null
        if null is not None:
            check_setting("null", null, range(self.embedded))

    @property
    def embedded(self) -> int:
        """Return the number of embedded classes including the unconditional class."""
        return self.config["num_class_embeds"] or 0

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        _check_images(self.config, tuple(x.shape[1:]))
        assert t is not None
        # in float64, since float32 would round a timestep of 1,000 by more than the time itself is
        timestep = (t.double() * self.levels - self.offset).to(x.dtype)
        label = self._labels(len(x), x.device, condition)
        (output,) = self.unet(x, timestep, class_labels=label, return_dict=False)
        return output

    def _labels(self, n: int, device: torch.device, condition: Condition) -> Tensor | None:
        kinds = {"label": Label.numbered(self.embedded)} if self.embedded else {}
        check_condition(condition, kinds, n)
        if not self.embedded:
            return None
        given = condition or {}
        label = given.get("label")
        masked = given.get("label_null")
        if self.null is None and (label is None or masked is not None):
            raise UsageError(
                f"This DiffusersUNet embeds {self.embedded} classes, and none of them is "
                "unconditional. Pass a label for each example, or build the network with "
                f"num_class_embeds={self.embedded + 1} and null={self.embedded}."
            )
        null = self.null or 0
        if label is None:
            return torch.full((n,), null, dtype=torch.int64, device=device)
        if masked is None:
            return label.long()
        return torch.where(masked, null, label.long())


def from_diffusers(folder: str | Path, *, space: Space | None = None) -> Denoiser:
    """Load a diffusers pipeline with a UNet2DModel, as written by ``DDPMPipeline.save_pretrained``.

    The path comes from the settings of its sampler: `Tabulated` betas or `Linear`. How diffusers
    would sample (spacing, clipping, thresholding, shift, order) is not read: those are settings of
    `Flow`. A discrete schedule that ends at pure noise (``rescale_betas_zero_snr``) ends at alpha^2
    = 2^-24, or a quarter of the level before it. Model units are images in [-1, 1].

    Args:
        folder: Folder with ``model_index.json``, ``unet/`` and ``scheduler/``, and weights as
            safetensors, whole or sharded.
        space: Space of the data with class names, and a mean and standard deviation of 0.5 in every
            channel; None for images of the network's size in [0, 1]. If the network embeds one
            class more than the space has, the last class is unconditional; otherwise `Guided`
            cannot be used.

    Raises:
        CheckpointError: If a file is missing or damaged.
        UsageError: If weights are pickled, classes are not supported, or the space does not fit.
        MissingExtra: If diffusers is not installed.
    """
    folder = Path(folder)
    name = _sampler(folder)
    settings = _read_settings(folder / "scheduler" / "scheduler_config.json")
    path, prediction = trained_on(name, settings)
    unet = load_network(folder / "unet")
    classes = unet.config["num_class_embeds"] or 0
    space = _space(unet, space, classes)
    null = None
    if 0 < len(space.classes) == classes - 1:
        null = classes - 1
    levels = settings.get("num_train_timesteps", 1000)
    offset = 0
    if isinstance(path, Tabulated):
        levels = path.levels
        offset = 1
    denoiser = Denoiser(
        DiffusersUNet(unet, levels, offset, null),
        path,
        prediction,
        space,
        preconditioning=Preconditioning(scale_input=False),
        unconditional=not classes or null is not None,
    )
    return denoiser.eval()


def _sampler(folder: Path) -> str:
    parts = {}
    for part, value in _public(_read_settings(folder / "model_index.json")).items():
        if isinstance(value, list) and any(value):
            parts[part] = [str(word) for word in value]
    unet = ["diffusers", "UNet2DModel"]
    for name in SAMPLERS:
        if parts == {"unet": unet, "scheduler": ["diffusers", name]}:
            return name
    raise UsageError(
        f"{folder} is a pipeline with {parts!s:.300}; only diffusers' own UNet2DModel with one of "
        f"the samplers {', '.join(SAMPLERS)} is supported."
    )


def _images(shape: tuple[int, ...], conditions: Mapping[str, Label] | None = None) -> ImageSpace:
    channels = shape[0]
    half = (0.5,) * channels
    low = (0.0,) * channels
    high = (1.0,) * channels
    return ImageSpace(shape, half, half, low, high, dict(conditions or {}))


def _space(unet: Any, given: Space | None, classes: int) -> Space:
    channels = unet.config["in_channels"]
    if given is None:
        side = unet.config["sample_size"]
        if side is None:
            raise UsageError(
                "This UNet2DModel lacks a sample_size: from_diffusers(..., space=...)."
            )
        sides = (side, side) if isinstance(side, int) else side
        conditions = {"label": Label.numbered(classes)} if classes else {}
        return _images((channels, *sides), conditions)
    _check_units(given)
    extra = classes - len(given.classes)  # one for an unconditional class
    if given.shape[0] != channels or not (extra == 0 or (extra == 1 and given.classes)):
        raise UsageError(f"The UNet2DModel has {channels} channels and {classes} classes.")
    return given


def _check_units(space: Space) -> None:
    mean = space.units.get("mean", ())
    std = space.units.get("std", ())
    if not space.has_pixels or {*mean, *std} != {0.5}:
        raise UsageError(
            "diffusers networks take images in [-1, 1], so the space needs a mean and a standard "
            f"deviation of 0.5 in every channel; got {mean} and {std}."
        )


def to_diffusers(model: Any, folder: str | Path) -> None:
    """Save a model with a `DiffusersUNet` as a folder for ``DDPMPipeline.from_pretrained``.

    ``model`` is a `Denoiser`, or a run or flow (without guidance) that has one.

    Raises:
        UsageError: If the folder exists, or diffusers does not support the model.
        CheckpointError: If writing fails.
        MissingExtra: If diffusers is not installed.
    """
    folder = Path(folder)
    denoiser = getattr(model, "denoiser", model)
    if not isinstance(denoiser, Denoiser):
        raise UsageError(
            "to_diffusers needs a denoiser, or a run or flow with a denoiser (without guidance); "
            f"got a {type(denoiser).__name__}."
        )
    network = denoiser.network
    if not isinstance(network, DiffusersUNet):
        raise UsageError(
            f"diffusers does not support the network {type(network).__name__}. Train with "
            "network=DiffusersUNet(...)."
        )
    _check_units(denoiser.space)
    if denoiser.source is not None:
        raise UsageError("diffusers samplers start from noise, but this model from other data.")
    preconditioning = denoiser.preconditioning
    check_setting("clock", preconditioning.clock, ["t"])
    if not isinstance(denoiser.path, Tabulated):  # on which hypot(alpha, sigma) is 1
        check_setting("scale_input", preconditioning.scale_input, [False])
    sampler = _sampler_for(denoiser, network)
    if folder.exists():
        raise UsageError(f"{folder} already exists. Choose another folder.")
    from safetensors import SafetensorError

    pipeline = library().DDPMPipeline(network.unet, sampler)
    with replacing(folder) as temporary:
        try:
            pipeline.save_pretrained(str(temporary), safe_serialization=True)
        except SafetensorError as error:
            raise OSError(str(error)) from error


def _sampler_for(denoiser: Denoiser, network: DiffusersUNet) -> Any:
    path = denoiser.path
    if type(path) is Linear:
        check_setting("prediction", denoiser.output, ["velocity"])
        _check_clock(network, network.levels, 0)
        return library().FlowMatchEulerDiscreteScheduler(num_train_timesteps=network.levels)
    if type(path) is not Tabulated:
        raise UsageError(f"diffusers does not support the path {type(path).__name__}.")
    names = {ours: theirs for theirs, ours in PREDICTIONS.items()}
    check_setting("prediction", denoiser.output, names)
    _check_clock(network, path.levels, 1)
    return library().DDPMScheduler(
        num_train_timesteps=path.levels,
        trained_betas=list(path.betas),
        prediction_type=names[denoiser.output],
    )


def _check_clock(network: DiffusersUNet, levels: int, offset: int) -> None:
    check_setting("levels", network.levels, [levels])
    check_setting("offset", network.offset, [offset])


def _check_images(config: Mapping[str, Any], shape: tuple[int, ...]) -> None:
    channels = config["in_channels"]
    multiple = 2 ** (len(config["block_out_channels"]) - 1)
    if len(shape) != 3 or shape[0] != channels or shape[1] % multiple or shape[2] % multiple:
        raise UsageError(
            f"This network takes images with {channels} channels and sides that are multiples of "
            f"{multiple}; got examples of shape {shape}. Resize the images: `resize=N`."
        )


class DiffusersEncoder(nn.Module):
    """Encoder of diffusers' AutoencoderKL: images in [-1, 1] to moments of latents."""

    def __init__(self, config: nn.Module | Mapping[str, Any]) -> None:
        super().__init__()
        model = network_of("AutoencoderKL", config)
        self.config = config_of(model)
        self.encoder = model.encoder
        self.leave = model.quant_conv

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        moments = self.encoder(x)
        if self.leave is not None:
            moments = self.leave(moments)
        mean, log_variance = moments.chunk(2, dim=1)
        return torch.cat([mean, log_variance.clamp(-30.0, 20.0)], dim=1)


class DiffusersDecoder(nn.Module):
    """Decoder of diffusers' AutoencoderKL: latents to images in [-1, 1]."""

    def __init__(self, config: nn.Module | Mapping[str, Any]) -> None:
        super().__init__()
        model = network_of("AutoencoderKL", config)
        self.config = config_of(model)
        self.enter = model.post_quant_conv
        self.decoder = model.decoder

    def forward(self, z: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        if self.enter is not None:
            z = self.enter(z)
        return self.decoder(z)


def autoencoder_from_diffusers(
    folder: str | Path, data: Space
) -> tuple[DiffusersEncoder, DiffusersDecoder, Space]:
    """Load an AutoencoderKL (``vae/`` in a pipeline folder): encoder, decoder, and their space.

    Its scaling (``scaling_factor``, ``shift_factor``) is not used: the scale of the latents is
    measured on the data.

    Raises:
        CheckpointError: If a file is missing or damaged.
        UsageError: If weights are pickled, or the network or the data is not supported.
    """
    model = load_network(Path(folder), "AutoencoderKL")
    shape = tuple(data.shape)
    _check_images(model.config, shape)
    check_setting("out_channels", model.config["out_channels"], [model.config["in_channels"]])
    return DiffusersEncoder(model), DiffusersDecoder(model), _images(shape)


def network_of(name: str, config: nn.Module | Mapping[str, Any]) -> Any:
    """Return a diffusers network, or build it from its configuration with new weights."""
    kind = getattr(library(), name)
    network = config
    if isinstance(config, Mapping):
        try:
            network = kind.from_config(_public(config))
        except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
            raise UsageError(
                f"diffusers cannot build a {name} with this configuration: {error}."
            ) from error
    if not isinstance(network, kind):
        raise UsageError(f"Expected a {name} or its configuration, got a {type(network).__name__}.")
    return network
