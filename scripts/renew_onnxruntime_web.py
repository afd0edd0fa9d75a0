"""Renew the files of onnxruntime-web that pages run, or check them against npm.

    python scripts/renew_onnxruntime_web.py [VERSION] [--check]

npm downloads the package and checks its integrity. Two of its files go, compressed, to
src/pushforward/export/web, with a JSON of where they come from and their hashes. With --check
nothing is written: the files there must be those of their version.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "src" / "pushforward" / "export" / "web"
NAME, FACTS = "onnxruntime-web", FOLDER / "onnxruntime-web.json"
FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")


def downloaded(version: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What npm says of a version, and the files by name."""
    with tempfile.TemporaryDirectory() as folder:
        npm = ["npm", "pack", f"{NAME}@{version}", "--json", "--pack-destination", folder]
        (said,) = json.loads(subprocess.run(npm, capture_output=True, text=True, check=True).stdout)
        with tarfile.open(Path(folder) / said["filename"]) as archive:
            members = {name: archive.extractfile(f"package/dist/{name}") for name in FILES}
            return said, {
                name: member.read() for name, member in members.items() if member is not None
            }


def sha256(content: bytes) -> str:
    """The hash of a file in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def renew(version: str) -> None:
    """Write the files and their JSON."""
    said, files = downloaded(version)
    packed = {name: gzip.compress(content, 9, mtime=0) for name, content in files.items()}
    hashes = {
        name: {
            "sha256": sha256(files[name]),
            "packed": f"{name}.gz",
            "packed_sha256": sha256(packed[name]),
        }
        for name in FILES
    }
    facts = {
        "name": NAME,
        "version": said["version"],
        "license": "MIT",
        "source": f"https://registry.npmjs.org/{NAME}/-/{said['filename']}",
        "integrity": said["integrity"],
        "files": hashes,
    }
    for name, content in packed.items():
        (FOLDER / f"{name}.gz").write_bytes(content)
    FACTS.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def differing() -> list[str]:
    """The names of files that are not those of their version on npm."""
    facts = json.loads(FACTS.read_text(encoding="utf-8"))
    _, files = downloaded(facts["version"])
    return [
        name
        for name in FILES
        if gzip.decompress((FOLDER / f"{name}.gz").read_bytes()) != files[name]
    ]


def main() -> None:
    """Renew or check."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("version", nargs="?", default="latest")
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    if not given.check:
        renew(given.version)
    elif names := differing():
        sys.exit(f"{', '.join(names)}: not the file of its version on npm. Renew it.")


if __name__ == "__main__":
    main()
