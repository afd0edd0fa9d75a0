"""Where a run comes from: its settings, the command and the commit of its training, and the hash of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pushforward import spec
from pushforward.errors import CheckpointError
from pushforward.safe_files import read_json
from pushforward.training import Run
from pushforward.training.checkpoint import weights_hash

__all__ = ["config_of", "origin_of"]

SETTINGS = ("recipe", "training", "data", "budget", "augment", "asked", "init", "method")
"""Entries of a run's spec that say how it was trained."""


def config_of(run: Run) -> dict[str, Any]:
    """The settings of a run as its ``spec.json`` holds them; the space, which is the data's, is left out."""
    return {name: _without_space(run.spec[name]) for name in SETTINGS if run.spec.get(name) not in (None, {}, [])}


def _without_space(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_space(inner) for name, inner in value.items() if name not in ("space", "conditions")}
    return [_without_space(inner) for inner in value] if isinstance(value, list) else value


def origin_of(run: Run) -> dict[str, str]:
    """Command, commit, versions and machine of a training, hashes of its data and weights, and whether it samples as trained.

    Weights are those that the run was read with, the averaged ones by default. What a folder does not say is left out.
    """
    manifest = _read(run, "manifest.json")
    latest = _read(run, "checkpoints/latest.json")
    weights = _read(run, f"checkpoints/{_named(latest)}/MANIFEST.json").get("files", {})
    packages, machine = manifest.get("packages") or {}, manifest.get("machine") or {}
    known = {
        "Command": manifest.get("command"),
        "Commit": manifest.get("commit"),
        "Packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
        "Machine": ", ".join(str(machine[name]) for name in ("processor", "accelerator") if machine.get(name)),
        "Data sha256": run.spec.get("fingerprint"),
        "Weights sha256": run.weights or weights_hash(weights),
        "Sampling": None if _samples_as_trained(run) else "with other options than the run's own",
    }
    return {name: str(value) for name, value in known.items() if value}


def _samples_as_trained(run: Run) -> bool:
    return bool(spec.describe(run.transport) == spec.describe(run.method.transport()))


def _named(latest: Mapping[str, Any]) -> str:
    """The folder of the newest checkpoint."""
    return next((str(value) for value in latest.values() if isinstance(value, str)), "")


def _read(run: Run, name: str) -> dict[str, Any]:
    """A JSON object of a run's folder; empty where there is none."""
    try:
        content = read_json(run.folder / name)
    except CheckpointError:
        return {}
    return content if isinstance(content, dict) else {}
