"""diffusers' folders: settings as JSON, weights as safetensors; no class that a folder names is ever imported."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from pushforward.errors import CheckpointError, UsageError, imported
from pushforward.safe_files import check_tensors, read_whole
from pushforward.strict_json import parse_json

WEIGHTS = "diffusion_pytorch_model"
"""The file names of diffusers for a network's weights."""


def library() -> Any:
    """The module diffusers.

    Raises:
        MissingExtra: Where it is not installed.
    """
    return imported("diffusers", "This needs diffusers, which", "diffusers")


def from_config(name: str, config: Mapping[str, Any]) -> Any:
    """A network of diffusers from its configuration, with fresh weights.

    Raises:
        UsageError: If diffusers makes none of it.
    """
    kind = getattr(library(), name)
    try:
        return kind.from_config({key: value for key, value in config.items() if not key.startswith("_")})
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise UsageError(f"diffusers makes no {name} of this configuration: {error}.") from error


def config_of(network: Any) -> dict[str, Any]:
    """The configuration of a network of diffusers as plain data."""
    settings = {name: value for name, value in network.config.items() if not name.startswith("_")}
    return dict(json.loads(json.dumps(settings)))


def read_json(path: Path) -> dict[str, Any]:
    """The settings of a file.

    Raises:
        CheckpointError: If it is missing or damaged.
    """
    try:
        content = parse_json(read_whole(path.resolve()), infinite=True)
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} is missing. Expected a folder that a diffusers pipeline of a UNet2DModel was saved to (save_pretrained)."
        ) from None
    except CheckpointError:
        raise
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}. Restore the file, or save the pipeline again.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is damaged: it holds no settings. Restore the file, or save the pipeline again.")
    return content


def load_network(folder: Path, kind: str = "UNet2DModel") -> Any:
    """The network of a folder, every weight of it read.

    Args:
        folder: With config.json and weights as safetensors.
        kind: The class that it must be of.

    Returns:
        The network, in float32, laid out channels_last.

    Raises:
        CheckpointError: If a file is missing or damaged.
        UsageError: For weights as pickle only or quantised, or another class.
    """
    config = read_json(folder / "config.json")
    if config.get("_class_name", kind) != kind:
        raise UsageError(f"{folder}/config.json is of a {config['_class_name']}; only {kind} is read.")
    if config.get("quantization_config"):
        raise UsageError(f"The weights of {folder} are quantised; save the pipeline in float32.")
    if not any((folder / f"{WEIGHTS}.safetensors{end}").is_file() for end in ("", ".index.json")):
        _refuse_missing(folder)
    for path in sorted(folder.glob("*.safetensors")):
        check_tensors(path.resolve())  # a folder of a cache of downloads holds links
    with _readable(folder):
        network, loading = getattr(library(), kind).from_pretrained(
            str(folder), use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False, output_loading_info=True
        )
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if loading[what]:
            raise CheckpointError(
                f"The weights of {folder} do not fit its config.json ({what.replace('_', ' ')}: {loading[what][0]}, "
                f"{len(loading[what])} in all). Restore both files."
            )
    return network.float().to(memory_format=torch.channels_last)


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError, ValueError, RuntimeError, TypeError, KeyError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"The network of {folder} cannot be read: {first} Restore its files, or save it again.") from error


def _refuse_missing(folder: Path) -> None:
    pickles = sorted(path.name for end in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(end))
    if pickles:
        raise UsageError(
            f"{folder} has its weights as pickle only ({pickles[0]}), which can run code and is never opened. Where you trust "
            "it, save it again with diffusers: pipeline.save_pretrained(NEW, safe_serialization=True)."
        )
    raise CheckpointError(f"{folder / WEIGHTS}.safetensors is missing. Restore the file, or save the pipeline again.")
