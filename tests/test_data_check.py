"""What `data check` reports of image files, also of those that training refuses, and which files changed since."""

import json
import shutil

import pytest
from PIL import Image
from programs.photos import photos, picture

import pushforward as pf
from pushforward.cli import main
from pushforward.data import check
from pushforward.errors import DataError


@pytest.fixture
def folder(tmp_path):
    return photos(tmp_path / "photos")


def test_files_and_their_copies_are_counted(folder):
    shutil.copy(folder / "cats" / "002.png", folder / "cats" / "x.png")
    for number in range(24):
        Image.fromarray(picture(500)).save(folder / "dogs" / f"z{number:02}.png")
    for stream in (False, True):
        report = check(folder, stream=stream)
        assert report["files"] == 88
        assert report["duplicates"] == [
            {"files": [f"dogs/z{number:02}.png" for number in range(5)], "copies": 24},
            {"files": ["cats/001.png", "dogs/copy.png"], "copies": 2},
            {"files": ["cats/002.png", "cats/x.png"], "copies": 2},
        ]
        assert report["skipped"] == [{"file": "cats/empty.png", "reason": "empty file"}]
        assert report["range"] == [0.0, 1.0]
        assert any("in several classes: 1" in warning for warning in report["warnings"])
        assert report["refused"] is report["changes"] is None
        assert json.loads(json.dumps(report)) == report
    assert report["fingerprint"] == pf.data.load(folder).fingerprint


def test_what_training_refuses_is_reported_too(folder, capsys):
    for number in range(20):
        (folder / "cats" / f"bad{number}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="more than 10%") as caught:
        pf.data.load(folder)
    report = check(folder)
    assert report["refused"] == str(caught.value)
    assert [row["file"] for row in report["skipped"]] == [file for file, _ in caught.value.skipped]
    assert len(report["skipped"]) == 21
    assert main(["data", "check", str(folder)]) == 3
    printed = capsys.readouterr()
    assert all(f"bad{number}.png; reason: no image that can be read" in printed.out for number in range(20))
    assert "21 of 83 image files" in printed.err


def test_files_that_changed_are_named(folder, tmp_path, capsys):
    known = str(tmp_path / "known.json")
    assert main(["data", "check", str(folder), "--out", known]) == 0
    assert main(["data", "check", str(folder), "--out", known]) == 2, "it is there already"
    content = json.loads((tmp_path / "known.json").read_text())
    assert content["fingerprint"] == pf.data.load(folder).fingerprint
    assert len(content["files"]) == 63
    assert main(["data", "check", str(folder), "--against", known]) == 0
    (folder / "cats" / "001.png").unlink()
    shutil.copy(folder / "cats" / "002.png", folder / "cats" / "999.png")
    png = (folder / "dogs" / "003.png").read_bytes()
    (folder / "dogs" / "003.png").write_bytes(png + b"\0")  # the pixels are the same, the file is not
    (folder / "cats" / "004.png").touch()
    capsys.readouterr()
    assert main(["data", "check", str(folder), "--against", known, "--json"]) == 3
    printed = capsys.readouterr()
    assert json.loads(printed.out)["changes"] == {
        "added": ["cats/999.png"],
        "removed": ["cats/001.png"],
        "changed": ["dogs/003.png"],
    }
    assert "added: 1, removed: 1, changed: 1, another fingerprint" in printed.err


def test_a_packed_tar_with_another_sha256_is_refused(folder, tmp_path):
    manifest = pf.data.pack(folder, tmp_path / "packed")
    file = tmp_path / "packed" / "train-000000.tar"
    file.write_bytes(file.read_bytes()[:-1] + b"x")  # behind the images, which are the same
    assert pf.data.load(tmp_path / "packed").fingerprint == manifest["fingerprint"]
    assert "train-000000.tar" in check(tmp_path / "packed")["refused"]
