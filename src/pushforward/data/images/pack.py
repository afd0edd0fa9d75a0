"""Pack images of any source into a folder of uncompressed tars with random access."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.arguments import one_of, whole
from pushforward.data.core.dataset import Dataset, Split
from pushforward.data.core.hashes import Pixels
from pushforward.data.core.load import load
from pushforward.data.images.image_store import content_hashes
from pushforward.data.images.tars import FORMAT, MANIFEST, TAR, content_digest
from pushforward.data.readers.reader import Progress
from pushforward.errors import UsageError
from pushforward.files import replacing

ENCODINGS = ("png", "npy")
BLOCK = 1024  # images in memory at a time


def pack(
    name_or_path: str | Path,
    out: str | Path,
    *,
    encoding: str = "png",
    per_tar: int = 10_000,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Write images to uncompressed tars, from which `load` reads exactly the same data set.

    The folder contains tars in the WebDataset layout (``000000001.png`` and ``000000001.cls``), a
    ``.json`` file of hashes for each, and ``manifest.json``.

    Args:
        name_or_path: Data source, as for `load`.
        out: New folder.
        encoding: "png", or "npy" for plain pixels, which are larger and faster to read.
        per_tar: Number of images per tar.
        progress: Function called with the number of images read or written and their total.
        options: Options of `DataOptions`.

    Returns:
        The manifest, as a plain dict.
    """
    per_tar = whole("per_tar", per_tar, 1)
    one_of("encoding", encoding, ENCODINGS)
    folder = Path(out).expanduser()
    if folder.exists() or not folder.name:
        raise UsageError(
            f"{folder} already exists. Choose another `out`, or delete the folder first."
        )
    data = load(name_or_path, progress=progress, **options)
    images = data.space.has_pixels and data.space.shape[0] in (1, 3, 4)
    if not images or data.probabilities is not None or data.train.given:
        raise UsageError(
            f"{data.name} contains {data.space.noun}s of shape {data.space.shape}, which cannot "
            "be packed. Only images with 1, 3 or 4 channels can, without conditions other than "
            "classes, and without random binarisation. Train on the data without packing it."
        )
    with replacing(folder) as temporary:
        temporary.mkdir()
        total = len(data.train) + len(data.held_out)
        shards = []
        done = 0
        for file, split, part in _shards(temporary, data, per_tar):
            for count in _write_tar(file, split, part, encoding):
                done += count
                if progress is not None:
                    progress(done, total)
            hashes = [f"{split.hashes[i]:016x}" for i in part]
            file.with_suffix(".json").write_text(json.dumps({"hashes": hashes}))
            shards.append(
                {
                    "file": file.name,
                    "held_out": split is data.held_out,
                    "images": len(part),
                    "bytes": file.stat().st_size,
                }
            )
        content = [content_hashes(data.train.x), content_hashes(data.held_out.x)]
        manifest = {
            "format": FORMAT,
            "name": data.name,
            "shape": list(data.space.shape),
            "encoding": encoding,
            "train": len(data.train),
            "held_out": len(data.held_out),
            "skipped": len(data.skipped),
            "classes": list(data.space.classes),
            "target": "" if data.space.label is None else data.space.label.target,
            "fingerprint": data.fingerprint,
            "content": content_digest(np.concatenate(content)),
            "shards": shards,
        }
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1))
    return manifest


def _shards(folder: Path, data: Dataset, per_tar: int) -> Iterator[tuple[Path, Split, range]]:
    for name, split in (("train", data.train), ("held-out", data.held_out)):
        examples = range(len(split))
        for number, start in enumerate(examples[::per_tar]):
            file = folder / f"{name}-{number:06}{TAR}"
            yield file, split, examples[start : start + per_tar]


def _write_tar(file: Path, split: Split, examples: range, encoding: str) -> Iterator[int]:
    """Write images to a tar; yields the number of images of each block."""
    with tarfile.open(file, "w", format=tarfile.USTAR_FORMAT) as archive:
        for start in examples[::BLOCK]:
            images = split.x[start : min(start + BLOCK, examples.stop)]
            for i, image in enumerate(images, start):
                _add(archive, f"{i:09}.{encoding}", _encoded(image, encoding))
                if split.labels is not None:
                    _add(archive, f"{i:09}.cls", str(split.labels[i]).encode())
            yield len(images)


def _encoded(image: Pixels, encoding: str) -> bytes:
    from PIL import Image

    pixels = image.transpose(1, 2, 0)
    if len(image) == 1:
        pixels = image[0]
    pixels = np.ascontiguousarray(pixels)
    buffer = io.BytesIO()
    if encoding == "npy":
        np.lib.format.write_array(buffer, pixels, version=(1, 0), allow_pickle=False)
    else:
        Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = 0o644
    archive.addfile(member, io.BytesIO(content))
