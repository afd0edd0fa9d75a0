"""Read and write diffusers folders of denoisers and autoencoders, without running their code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pushforward import paths
from pushforward.conditions.label import Label
from pushforward.data.spaces import ImageSpace, Space
from pushforward.denoisers import Condition, Denoiser, Preconditioning
from pushforward.errors import CheckpointError, UsageError, did_you_mean, imported
from pushforward.files import check_tensors, parse_json, read_whole, replacing
from pushforward.networks.blocks import check_condition
from pushforward.paths import Linear, Tabulated

WEIGHTS = "diffusion_pytorch_model"  # The file names of diffusers for a network's weights


def library() -> Any:
    """Import the module diffusers.

    Raises:
        MissingExtra: If diffusers is not installed.
    """
    return imported("diffusers", "This needs diffusers", "diffusers")


def from_config(name: str, config: Mapping[str, Any]) -> Any:
    """Build a diffusers network from its configuration, with new weights.

    Raises:
        UsageError: If diffusers cannot build the network.
    """
    kind = getattr(library(), name)
    try:
        return kind.from_config(
            {key: value for key, value in config.items() if not key.startswith("_")}
        )
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise UsageError(
            f"diffusers cannot build a {name} with this configuration: {error}."
        ) from error


def config_of(network: Any) -> dict[str, Any]:
    """Return the configuration of a diffusers network as plain data."""
    settings = {name: value for name, value in network.config.items() if not name.startswith("_")}
    return dict(json.loads(json.dumps(settings)))


def read_json(path: Path) -> dict[str, Any]:
    """Read the settings in a file.

    Raises:
        CheckpointError: If the file is missing or damaged.
    """
    try:
        content = parse_json(read_whole(path.resolve()), infinite=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {error}. Expected a folder written by save_pretrained of a diffusers pipeline "
            "with a UNet2DModel."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} is damaged: it contains no settings. Restore the file, or save the pipeline again."
        )
    return content


def load_network(folder: Path, kind: str = "UNet2DModel") -> Any:
    """Load the network in a folder with all its weights.

    Args:
        folder: Folder with config.json and weights as safetensors.
        kind: Required class.

    Returns:
        The network, in float32, laid out channels_last.

    Raises:
        CheckpointError: If a file is missing or damaged.
        UsageError: If weights are pickled or quantised, or the class is different.
    """
    config = read_json(folder / "config.json")
    if config.get("_class_name", kind) != kind:
        raise UsageError(
            f"{folder}/config.json describes a {config['_class_name']}; only {kind} is supported."
        )
    if config.get("quantization_config"):
        raise UsageError(
            f"The weights in {folder} are quantised, which is not supported. Save the pipeline in float32."
        )
    if not any((folder / f"{WEIGHTS}.safetensors{end}").is_file() for end in ("", ".index.json")):
        raise UsageError(
            f"{folder / WEIGHTS}.safetensors is missing. Pickled weights (.bin, .pt) can run code and are never "
            "opened. If you trust them, save them again with diffusers: pipeline.save_pretrained(NEW, "
            "safe_serialization=True)."
        )
    for path in sorted(folder.glob("*.safetensors")):
        check_tensors(path.resolve())  # a folder of a cache of downloads holds links
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
        if loading[what]:
            raise CheckpointError(
                f"The weights in {folder} do not fit its config.json ({what.replace('_', ' ')}: {loading[what][0]}, "
                f"{len(loading[what])} in all). Restore both files."
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
PREDICTIONS = {
    "epsilon": "noise",
    "sample": "data",
    "v_prediction": "v",
}  # The names of predictions in diffusers, and here
_BETAS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
)
_LEAST = (
    2.0**-24
)  # The alpha^2 that takes the place of 0 at the last level, as in several of diffusers' own samplers


def trained_on(name: str, settings: Mapping[str, Any]) -> tuple[paths.Path, str]:
    """Return path and prediction from a sampler's settings.

    Raises:
        UsageError: If no path supports the settings.
    """
    kind = settings.get("prediction_type", "flow_prediction" if name in FLOW else "epsilon")
    flow = name in FLOW or bool(settings.get("use_flow_sigmas"))
    if settings.get("invert_sigmas") or settings.get("timestep_type", "discrete") != "discrete":
        raise UsageError(
            "Samplers with invert_sigmas or continuous timesteps are not supported: they count time in another way."
        )
    if flow != (kind == "flow_prediction") or (not flow and kind not in PREDICTIONS):
        known = "flow_prediction" if flow else ", ".join(PREDICTIONS)
        raise UsageError(
            f'The prediction_type "{kind}" is not supported for this {name}; supported: {known}.'
        )
    if flow:
        return Linear(), "velocity"
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
        # log-SNR must fall from level to level, and the last but one may lie below what diffusers puts at the last
        betas[-1] = 1 - min(_LEAST, before / 4) / before
    return Tabulated(betas.tolist())


def settings_of(betas: tuple[float, ...]) -> dict[str, Any]:
    """Return the diffusers settings for these betas, by name if they have one."""
    wanted = torch.tensor(betas, dtype=torch.float64)
    levels: dict[str, Any] = {"num_train_timesteps": len(betas)}
    ends = {"beta_start": float(f"{betas[0]:.6g}"), "beta_end": float(f"{betas[-1]:.6g}")}
    for name in ("linear", "scaled_linear", "squaredcos_cap_v2"):
        settings = {"beta_schedule": name, **ends, **levels}
        rebuilt = library().DDPMScheduler(**settings).betas.double()
        if torch.allclose(rebuilt, wanted, rtol=1e-6, atol=1e-7 * max(betas)):
            return settings
    return {"trained_betas": list(betas), **levels}


class DiffusersUNet(nn.Module):
    """diffusers' UNet2DModel as a network of x, t and a condition.

    It calls its UNet2DModel with the timestep ``levels * t - offset``, not rounded, and the label as the class.

    Train it like any network, on data in diffusers' units: ``pf.recipes.ddpm(space,
    network=DiffusersUNet(unet))`` starts from new weights. To continue from trained weights, use
    `Denoising` with the denoiser from `from_diffusers`.

    Args:
        config: UNet2DModel, used unchanged, or its configuration, from which one is built with new
            weights.
        levels: Number T of timesteps, at least 1.
        offset: The timestep at t = 0, with its sign changed: 1 for a discrete schedule, whose first level is at t = 1 / T and
            is counted as 0; 0 for flow matching.
        null: Number of the unconditional class, usually the last; None if there is none. Label
            dropout, the default of training, requires one: with 10 classes, num_class_embeds=11 and null=10.

    Raises:
        UsageError: If the network is different, or its time, classes or channels are not supported.
        MissingExtra: If diffusers is not installed.
    """

    def __init__(
        self,
        config: nn.Module | Mapping[str, Any],
        levels: int = 1000,
        offset: int = 1,
        null: int | None = None,
    ) -> None:
        super().__init__()
        if offset not in (0, 1):
            raise UsageError(
                f"offset must be 1 (a discrete schedule) or 0 (flow matching), got {offset!r}."
            )
        self.unet: nn.Module = (
            config if isinstance(config, nn.Module) else from_config("UNet2DModel", config)
        )
        if not isinstance(self.unet, library().UNet2DModel):
            raise UsageError(
                f"DiffusersUNet needs a UNet2DModel or its configuration, got a {type(self.unet).__name__}."
            )
        self.config = config_of(self.unet)
        wanted = {
            "out_channels": self.config["in_channels"],
            "time_embedding_type": "positional",
            "class_embed_type": None,
        }
        for name, value in wanted.items():
            if self.config[name] != value:
                raise UsageError(
                    f"This UNet2DModel has {name}={self.config[name]!r}; expected {value!r}. Networks that output a variance, "
                    "take an image as a condition, or embed times or classes in other ways are not supported."
                )
        self.levels = levels
        self.offset = offset
        self.null = null
        if null is not None and not 0 <= null < self.embedded:
            raise UsageError(
                f"null must be one of the {self.embedded} classes that the UNet2DModel embeds, got {null}."
            )

    @property
    def embedded(self) -> int:
        """Return the number of embedded classes including the unconditional class; 0 without classes."""
        return self.config["num_class_embeds"] or 0

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        """Apply the network.

        Args:
            x: Images (n, channels, height, width); both sides must be divisible by 2 for each
                halving inside.
            t: Times (n,), in [0, 1].
            condition: None, or {"label": int64 (n,), optionally "label_null": bool (n,)}.

        Returns:
            Tensor with the shape of x.

        Raises:
            UsageError: If a shape does not fit, or a time or label is missing or unexpected.
        """
        channels = self.config["in_channels"]
        multiple = 2 ** (len(self.config["block_out_channels"]) - 1)
        if x.ndim != 4 or x.shape[1] != channels or x.shape[2] % multiple or x.shape[3] % multiple:
            raise UsageError(
                f"This UNet2DModel got x of shape {tuple(x.shape)}; expected (n, {channels}, height, width), with height "
                f"and width multiples of {multiple}. Choose suitable images, or another network."
            )
        if t is None or t.shape != (len(x),):
            got = "no t" if t is None else f"t of shape {tuple(t.shape)}"
            raise UsageError(
                f"This UNet2DModel got {got}; expected ({len(x)},), one time per example."
            )
        # in float64, since float32 would round a timestep of 1,000 by more than the time itself is
        timestep = (t.double() * self.levels - self.offset).to(x.dtype)
        return self.unet(
            x, timestep, class_labels=self._labels(len(x), x.device, condition), return_dict=False
        )[0]

    def _labels(self, n: int, device: torch.device, condition: Condition) -> Tensor | None:
        check_condition(
            condition, {"label": Label.numbered(self.embedded)} if self.embedded else {}, n
        )
        if not self.embedded:
            return None
        given = condition or {}
        label = given.get("label")
        masked = given.get("label_null")
        if self.null is None and (label is None or masked is not None):
            raise UsageError(
                f"This DiffusersUNet embeds {self.embedded} classes, and none of them is unconditional. Pass a label for "
                "each example, and train it in pf.Denoiser(..., unconditional=False). If the last class is the "
                f"unconditional one, use DiffusersUNet(..., null={self.embedded - 1}); to add one, build the network with "
                f"num_class_embeds={self.embedded + 1} and null={self.embedded}."
            )
        if label is None:
            return torch.full((n,), self.null or 0, dtype=torch.int64, device=device)
        if masked is None:
            return label.long()
        return torch.where(masked, self.null or 0, label.long())


def from_diffusers(folder: str | Path, *, space: Space | None = None) -> Denoiser:
    """Load a diffusers pipeline with a UNet2DModel, as written by ``DDPMPipeline.save_pretrained``.

    The path comes from the settings of its sampler: the betas of a discrete schedule as `Tabulated`, flow matching as `Linear`.
    How diffusers would sample (spacing, clipping, thresholding, shift, order) is not read: those are settings of `Flow`. A
    discrete schedule that ends at pure noise (``rescale_betas_zero_snr``) ends at alpha^2 = 2^-24, or a quarter of the level
    before it, as no path here reaches a log-SNR of minus infinity.

    Args:
        folder: Folder with ``model_index.json``, ``unet/`` and ``scheduler/``, and weights as
            safetensors, whole or sharded.
        space: Space of the data with class names, and a mean and standard deviation of 0.5 in every
            channel; None for images of the network's size in [0, 1], with numbers as class names.
            If the network embeds one class more than the space has, the last class is
            unconditional; otherwise there is no unconditional branch, and `Guided` cannot be used.

    Returns:
        A denoiser in evaluation mode, with float32 weights in channels_last format. Its model units
        are images in [-1, 1], whose variance is not 1.

    Raises:
        CheckpointError: If a file is missing or damaged.
        UsageError: If weights are pickled, classes are not supported, or the space does not fit.
        MissingExtra: If diffusers is not installed.
    """
    folder = Path(folder)
    name = _sampler(folder)
    settings = read_json(folder / "scheduler" / "scheduler_config.json")
    path, prediction = trained_on(name, settings)
    unet = load_network(folder / "unet")
    classes = unet.config["num_class_embeds"] or 0
    space = _space(unet, space, classes)
    null = classes - 1 if 0 < len(space.classes) == classes - 1 else None
    levels, offset = (
        (path.levels, 1)
        if isinstance(path, Tabulated)
        else (settings.get("num_train_timesteps", 1000), 0)
    )
    unscaled = Preconditioning(scale_input=False)
    network = DiffusersUNet(unet, levels, offset, null)
    unconditional = not classes or null is not None
    return Denoiser(
        network, path, prediction, space, preconditioning=unscaled, unconditional=unconditional
    ).eval()


def _sampler(folder: Path) -> str:
    index = read_json(folder / "model_index.json")
    parts = {
        name: value
        for name, value in index.items()
        if not name.startswith("_") and isinstance(value, list) and any(value)
    }
    known = (*DISCRETE, *FLOW)
    module, name = [*map(str, parts.get("scheduler", ())), "", ""][:2]
    if (
        parts.keys() != {"unet", "scheduler"}
        or parts["unet"] != ["diffusers", "UNet2DModel"]
        or module != "diffusers"
    ):
        raise UsageError(
            f"{folder} is a pipeline with {parts!s:.300}; only diffusers' own UNet2DModel with a sampler is supported."
        )
    if name not in known:
        raise UsageError(
            f"The sampler in {folder} is {name}; supported: {', '.join(known)}.{did_you_mean(name, known)}"
        )
    return name


def _space(unet: Any, given: Space | None, classes: int) -> Space:
    channels = unet.config["in_channels"]
    side = unet.config["sample_size"]
    if given is None:
        if side is None:
            raise UsageError(
                "This UNet2DModel has no sample_size. Pass the shape: from_diffusers(..., space=...)."
            )
        height, width = (side, side) if isinstance(side, int) else side
        half = (0.5,) * channels
        low = (0.0,) * channels
        high = (1.0,) * channels
        conditions = {"label": Label.numbered(classes)} if classes else {}
        return ImageSpace((channels, height, width), half, half, low, high, conditions)
    _check_units(given)
    if given.shape[0] != channels or len(given.classes) not in (
        {classes, classes - 1} - {0} if classes else {0}
    ):
        raise UsageError(
            f"The space has {given.shape[0]} channels and {len(given.classes)} classes, but the UNet2DModel has "
            f"{channels} channels and {classes} classes. Expected equal numbers."
        )
    return given


def _check_units(space: Space) -> None:
    mean, std = (space.units.get(name, ()) for name in ("mean", "std"))
    if not space.has_pixels or any(value != 0.5 for value in (*mean, *std)):
        raise UsageError(
            "diffusers networks take images in [-1, 1], so the space needs a mean and a standard deviation of 0.5 in "
            f"every channel; got {mean} and {std} for examples of shape {space.shape}. Before training: space = "
            "dataclasses.replace(data.space, mean=(0.5,) * C, std=(0.5,) * C), data = dataclasses.replace(data, "
            "space=space)."
        )


def to_diffusers(model: Any, folder: str | Path) -> None:
    """Save a model with a `DiffusersUNet` as a folder for ``DDPMPipeline.from_pretrained``.

    The sampler is a DDPMScheduler for a discrete schedule, with its name if diffusers has one and
    with all betas otherwise, or a FlowMatchEulerDiscreteScheduler for flow matching. On an error,
    no folder is left behind.

    Args:
        model: `Denoiser`, or a run or flow (without guidance) that has one.
        folder: Output folder, which must not exist.

    Raises:
        UsageError: If the folder exists, or diffusers does not support the model's network, path,
            prediction or units.
        CheckpointError: If writing fails; nothing is left behind.
        MissingExtra: If diffusers is not installed.
    """
    folder = Path(folder)
    denoiser = model if isinstance(model, Denoiser) else getattr(model, "denoiser", None)
    if not isinstance(denoiser, Denoiser):
        kind = type(model if denoiser is None else denoiser).__name__
        raise UsageError(
            f"to_diffusers needs a denoiser, or a run or flow with a denoiser (without guidance); got a {kind}."
        )
    network = _expressible(denoiser)
    sampler = _sampler_for(denoiser, network)
    if folder.exists():
        raise UsageError(f"{folder} already exists. Choose another folder.")
    from safetensors import SafetensorError

    with replacing(folder) as temporary:
        try:
            library().DDPMPipeline(network.unet, sampler).save_pretrained(
                str(temporary), safe_serialization=True
            )
        except SafetensorError as error:
            raise OSError(str(error)) from error


def _expressible(denoiser: Denoiser) -> DiffusersUNet:
    network = denoiser.network
    if not isinstance(network, DiffusersUNet):
        raise UsageError(
            f"diffusers does not support the network {type(network).__name__}. Train with network=DiffusersUNet(...)."
        )
    _check_units(denoiser.space)
    if denoiser.source is not None:
        raise UsageError(
            "The model was trained from other data instead of noise, but diffusers samplers start from noise."
        )
    # on a discrete schedule hypot(alpha, sigma) is 1
    scaled = denoiser.preconditioning.scale_input and not isinstance(denoiser.path, Tabulated)
    if scaled or denoiser.preconditioning.clock != "t":
        raise UsageError(
            f'The network takes a scaled input or the time "{denoiser.preconditioning.clock}", but diffusers networks '
            "take an unscaled input and t. Train with preconditioning=Preconditioning(scale_input=False)."
        )
    return network


def _sampler_for(denoiser: Denoiser, network: DiffusersUNet) -> Any:
    path = denoiser.path
    prediction = denoiser.output
    names = {ours: theirs for theirs, ours in PREDICTIONS.items()}
    if type(path) is Linear and prediction == "velocity":
        _check_clock(network, network.levels, 0)
        return library().FlowMatchEulerDiscreteScheduler(num_train_timesteps=network.levels)
    if type(path) is Tabulated and prediction in names:
        _check_clock(network, path.levels, 1)
        return library().DDPMScheduler(**settings_of(path.betas), prediction_type=names[prediction])
    raise UsageError(
        f'diffusers has no sampler for the prediction "{prediction}" on the path {type(path).__name__}. It '
        f"supports velocity on Linear, and {', '.join(names)} on Tabulated."
    )


def _check_clock(network: DiffusersUNet, levels: int, offset: int) -> None:
    if (network.levels, network.offset) != (levels, offset):
        raise UsageError(
            f"The network's time is {network.levels} t - {network.offset}, but diffusers uses {levels} t - {offset} "
            f"on this path. Train with DiffusersUNet(..., levels={levels}, offset={offset})."
        )


def _autoencoder(config: nn.Module | Mapping[str, Any]) -> Any:
    model = config if isinstance(config, nn.Module) else from_config("AutoencoderKL", config)
    if not isinstance(model, library().AutoencoderKL):
        raise UsageError(
            f"Expected an AutoencoderKL or its configuration, got a {type(model).__name__}."
        )
    return model


class DiffusersEncoder(nn.Module):
    """Encoder of diffusers' AutoencoderKL: images in [-1, 1] to means and log-variances of latents."""

    def __init__(self, config: nn.Module | Mapping[str, Any]) -> None:
        super().__init__()
        model = _autoencoder(config)
        self.config = config_of(model)
        self.encoder = model.encoder
        self.leave = model.quant_conv

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        """Apply the network.

        Args:
            x: Images (n, channels, height, width); both sides must be divisible by 2 for each
                halving inside.
            t: None, because encoders have no time.
            condition: None, because labels are not supported.

        Returns:
            (n, 2 c, height / f, width / f); log-variances within [-30, 20], as diffusers holds them.
        """
        moments = self.encoder(x)
        mean, log_variance = (moments if self.leave is None else self.leave(moments)).chunk(
            2, dim=1
        )
        return torch.cat([mean, log_variance.clamp(-30.0, 20.0)], dim=1)


class DiffusersDecoder(nn.Module):
    """Decoder of diffusers' AutoencoderKL: latents to images in [-1, 1]."""

    def __init__(self, config: nn.Module | Mapping[str, Any]) -> None:
        super().__init__()
        model = _autoencoder(config)
        self.config = config_of(model)
        self.enter = model.post_quant_conv
        self.decoder = model.decoder

    def forward(self, z: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        return self.decoder(z if self.enter is None else self.enter(z))


def autoencoder_from_diffusers(
    folder: str | Path, data: Space
) -> tuple[DiffusersEncoder, DiffusersDecoder, Space]:
    """Load an AutoencoderKL (``config.json`` and weights as safetensors), as written by ``save_pretrained``.

    Its scaling (``scaling_factor``, ``shift_factor``) is not used: the scale of the latents is
    measured on the data.

    Args:
        folder: Folder of the AutoencoderKL itself (``vae/`` in a pipeline folder).
        data: Space of the data to encode.

    Returns:
        Encoder, decoder, and their space: the shape of the data in [-1, 1], without labels.

    Raises:
        CheckpointError: If a file is missing or damaged.
        UsageError: If weights are pickled, the network is different, or the data is not supported.
        MissingExtra: If diffusers is not installed.
    """
    model = load_network(Path(folder), "AutoencoderKL")
    channels = model.config["in_channels"]
    multiple = 2 ** (len(model.config["block_out_channels"]) - 1)
    shape = tuple(data.shape)
    same = len(shape) == 3 and shape[0] == channels == model.config["out_channels"]
    if not same or shape[1] % multiple or shape[2] % multiple:
        raise UsageError(
            f"{folder} takes images with {channels} channels and sides that are multiples of {multiple}, and outputs "
            f"{model.config['out_channels']} channels; got examples of shape {shape}. Resize the images: `resize=N`."
        )
    half = (0.5,) * channels
    space = ImageSpace(shape, half, half, (0.0,) * channels, (1.0,) * channels)
    return DiffusersEncoder(model), DiffusersDecoder(model), space
