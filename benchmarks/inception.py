"""Inception features as torch-fidelity's own: names and shapes of the weights, features, and the
Fréchet distance.

    python benchmarks/inception.py [--n 64] [--weights weights-inception-2015-12-05-6726825d.pth]

Without a file of weights the whole network has random ones, scaled as at the start of a training,
so that every layer counts; they are written, and read again as `features=inception:FILE`. The
images are uint8 of several sizes and channels, and both sides see the same. The Fréchet distance is
between two sets of images, from torch-fidelity's features by torch-fidelity's own function, and by
ours.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from protocol import benchmark, parsed, table, write

import torch
from torch import Tensor
from torch_fidelity import feature_extractor_inceptionv3 as theirs, metric_fid

from pushforward.data import ImageSpace
from pushforward.extractors.pretrained import Inception
from pushforward.metrics.two_sample import frechet_distance

FILE = "weights-inception-2015-12-05-6726825d.pth"
TOLERANCE = 1e-6
"""Relative, of the Fréchet distance."""


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=64, help="images on either side")
    parser.add_argument("--weights", type=Path, help=f"such as {FILE}")
    parser.add_argument(
        "--columns", type=int, default=2048, help="features that the distance is of, the first ones"
    )
    given = parsed(parser, words, n=2, columns=16)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        file = given.weights or random_weights(Path(folder) / FILE)
        state = torch.load(file, weights_only=True)
        inner = theirs.FeatureExtractorInceptionV3("inception", ["2048"], str(file))
        same = {name: tuple(part.shape) for name, part in state.items()} == {
            name: tuple(part.shape) for name, part in inner.state_dict().items()
        }
        shapes = ((1, 28, 28),) if given.smoke else ((3, 32, 32), (1, 28, 28), (3, 40, 24))
        rows = [compared(shape, given, file, inner) for shape in shapes]
    report(rows, len(state), same, given)


def random_weights(path: Path) -> Path:
    """The weights of a network that keeps the width of what goes through it, written as
    torch-fidelity's file is.
    """
    with (
        torch.device("meta"),
        mock.patch.object(theirs, "load_state_dict_from_url", return_value={}),
        untaught(),
    ):
        network = theirs.FeatureExtractorInceptionV3("inception", ["2048"])
    draw = torch.Generator().manual_seed(0)
    torch.save(
        {name: random_part(name, part, draw) for name, part in network.state_dict().items()}, path
    )
    return path


def random_part(name: str, part: Tensor, draw: torch.Generator) -> Tensor:
    """Weights that keep the width of what goes through, and normalisation that is not the
    identity.
    """
    if not part.dtype.is_floating_point:
        return torch.zeros(part.shape, dtype=part.dtype)
    noise = torch.randn(part.shape, generator=draw)
    if name.endswith(("conv.weight", "fc.weight")):
        return noise * (2 / part[0].numel()) ** 0.5
    around = 1.0 if name.endswith(("bn.weight", "running_var")) else 0.0
    return around + 0.1 * noise.clamp(-2, 2)


@contextlib.contextmanager
def untaught() -> Any:
    """Within this context the network keeps the weights that it was built with."""
    with mock.patch.object(
        theirs.FeatureExtractorInceptionV3, "load_state_dict", return_value=None
    ):
        yield


def images(shape: tuple[int, ...], n: int, seed: int) -> Tensor:
    """Smooth random images, uint8; the second set is darker and rougher."""
    draw = torch.Generator().manual_seed(10 * seed + sum(shape))
    coarse = torch.rand(n, shape[0], 5, 5, generator=draw)
    x = torch.nn.functional.interpolate(coarse, size=shape[1:], mode="bilinear")
    x = x * (1 - 0.3 * seed) + 0.2 * seed * torch.rand(x.shape, generator=draw)
    return (255 * x.clamp(0, 1)).round().to(torch.uint8)


def compared(
    shape: tuple[int, ...], given: argparse.Namespace, file: Path, inner: Any
) -> dict[str, Any]:
    """The features and the distance of one kind of images by both."""
    space = ImageSpace(shape, (0.0,) * shape[0], (1.0,) * shape[0])
    network = Inception(file).network(space)
    both = []
    for seed in (0, 1):
        x = images(shape, given.n, seed)
        with torch.no_grad():
            (wanted,) = inner(x.expand(-1, 3, -1, -1) if shape[0] == 1 else x)
            both.append((network(x / 255), wanted))
    gap = max(float((ours - wanted).abs().max() / wanted.abs().max()) for ours, wanted in both)
    few = slice(given.columns)
    first, second = (
        metric_fid.fid_features_to_statistics(wanted[:, few].double()) for _, wanted in both
    )
    known = metric_fid.fid_statistics_to_metric(first, second, False)["frechet_inception_distance"]
    ours = frechet_distance(*(part[:, few].double().numpy() for part, _ in both))
    return {
        "shape": shape,
        "gap": gap,
        "distance": ours,
        "known": float(known),
        "off": abs(ours / known - 1),
    }


def report(rows: list[dict[str, Any]], tensors: int, same: bool, given: argparse.Namespace) -> None:
    """The table, and whether the bar is met."""
    head = [
        "images",
        "features differ by",
        "Fréchet distance",
        "torch-fidelity's",
        "relative difference",
    ]
    body = [
        [
            " x ".join(map(str, row["shape"])),
            f"{row['gap']:.1e}",
            f"{row['distance']:.8g}",
            f"{row['known']:.8g}",
            f"{row['off']:.1e}",
        ]
        for row in rows
    ]
    met = same and all(row["gap"] == 0 and row["off"] < TOLERANCE for row in rows)
    text = table(head, body)
    text += (
        f"\n\n{given.n} images on either side, {given.columns} features, "
        f"{'the given' if given.weights else 'random'} weights. "
    )
    text += (
        f"{tensors} tensors of the file have the names and shapes of the network: "
        f"{'yes' if same else 'no'}. Features differ by "
    )
    text += "the greatest difference over the greatest feature."
    text += (
        f"\n\nBar: equal features, and {TOLERANCE:g} relative of the distance "
        f"({'met' if met else 'missed'})."
    )
    write(
        "inception",
        "Inception features beside torch-fidelity's",
        text,
        rows,
        n=given.n,
        columns=given.columns,
        tensors=tensors,
        same=same,
    )
    if not met:
        raise SystemExit("Features or distances differ from torch-fidelity's.")


if __name__ == "__main__":
    main()
