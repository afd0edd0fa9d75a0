"""Looking into the latent space of a run: what `pushforward interpolate --show` draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pushforward.cli.groups import Placing
from pushforward.cli.sampling import enlarged, free_name, save_picture, target_of
from pushforward.cli.terminal import say, show
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

    from pushforward.data import Space
    from pushforward.training import Run
    from pushforward.transports import Autoencoder

__all__ = ["coder_of", "show_latent_space"]


def coder_of(run: Run) -> Autoencoder | None:
    """The encoder and decoder of a run, where it has them."""
    from pushforward.methods.method import HasAutoencoder

    return run.method.autoencoder().eval() if isinstance(run.method, HasAutoencoder) else None


def show_latent_space(
    run: Run, what: str, groups: str | None, frames: int, out: str | None, placing: Placing, as_json: bool
) -> None:
    """Draw reconstructions, arithmetic between groups, or a map of the codes.

    Raises:
        UsageError: For a run without codes, vectors where images are drawn, or groups that are none.
    """
    from pushforward.evaluation.models import data_of
    from pushforward.evaluation.pictures import arithmetic, labelled, strip

    coder = coder_of(run)
    if coder is None:
        raise UsageError(
            f"--show {what}: {run.folder} holds a {run.spec['recipe']}, which has no codes. Runs of autoencoder, vae, hvae and "
            "vqvae have some, and models in their latent spaces."
        )
    if what != "map" and not run.space.has_pixels:
        raise UsageError(f"--show {what} draws images; this is a model of {run.space.noun}s. Its codes are drawn by --show map.")
    data, zoom = labelled(data_of(run)), placing.zoom
    if what == "map" and zoom is not None:
        raise UsageError("--zoom enlarges images; a map of codes is drawn at its size: leave it out.")
    pair = _groups(data.space, groups) if what == "arithmetic" else None
    stem = f"{what}-{pair[0]}-{pair[1]}" if pair else what
    target = target_of(run, out or str(free_name(run, stem, "png")), stem, 1, placing, (".png",))
    facts: dict[str, Any] = {"out": str(target), "show": what}
    if what == "map":
        picture, facts["share"] = _map(coder, data)
        say(f"the plane holds {facts['share']:.0%} of the codes' variance")
    elif what == "reconstructions":
        both = strip(coder, data, frames)
        picture = enlarged(data.space.quantise(both.flatten(0, 1)), both.shape[1], zoom)
    else:
        assert pair is not None
        images = arithmetic(coder, data, *pair, frames=frames)
        picture = enlarged(data.space.quantise(images.flatten(0, 1)), frames, zoom)
        facts["groups"] = [data.space.classes[label] for label in pair]
    save_picture(picture, target)
    show(facts, as_json, lambda r: r["out"])


def _groups(space: Space, text: str | None) -> tuple[int, int]:
    words = [] if text is None else [word.strip() for word in text.split(",")]
    if len(words) != 2:
        raise UsageError("--show arithmetic moves images of one class towards another: name both, --groups 4,9.")
    return space.label_index(words[0]), space.label_index(words[1])


def _map(coder: Autoencoder, data: Any) -> tuple[Image.Image, float]:
    from pushforward.evaluation.pictures import code_map
    from pushforward.scatter import groups_picture

    plane = code_map(coder, data)
    if plane is None:
        raise UsageError("These codes are single numbers: there is no plane to draw them on.")
    return groups_picture(plane.points, plane.labels, data.space.classes, size=720), plane.share
