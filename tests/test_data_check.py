"""What `data check` reports of image files, also of those that training refuses, and which files changed since."""

import json
import os
import shutil

import numpy as np
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


def copies(folder):
    """Copies of a training example, of a held-out one, and many of a third."""
    data = pf.data.load(folder, stream=True)
    names = data.train.x.store.names
    train, held_out = names[data.train.x.places[4]], names[data.held_out.x.places[0]]
    shutil.copy(folder / train, folder / "cats" / "x.png")
    shutil.copy(folder / held_out, folder / "cats" / "y.png")
    for number in range(24):
        Image.fromarray(picture(500)).save(folder / "dogs" / f"z{number:02}.png")
    return sorted([train, "cats/x.png"]), sorted([held_out, "cats/y.png"])


def test_files_are_counted_by_size_mode_and_copies(folder):
    in_train, in_held_out = copies(folder)
    for stream in (False, True):
        report = check(folder, stream=stream)
        assert report["files"] == 89
        assert report["sizes"] == {"6 x 5": 88}
        assert report["modes"] == {"RGB": 65, "L": 15, "RGBA": 7, "P": 1}
        assert report["duplicates"] == [
            {"files": [f"dogs/z{number:02}.png" for number in range(5)], "copies": 24, "split": "both"},
            {"files": ["cats/001.png", "dogs/copy.png"], "copies": 2, "split": "train"},
            *sorted(
                [
                    {"files": in_train, "copies": 2, "split": "train"},
                    {"files": in_held_out, "copies": 2, "split": "held out"},
                ],
                key=lambda row: row["files"],
            ),
        ]
        assert report["repeats"] == 26
        assert report["skipped"] == [{"file": "cats/empty.png", "reason": "empty file"}]
        assert report["range"] == [0.0, 1.0]
        assert report["refused"] is report["changes"] is None
        assert json.loads(json.dumps(report)) == report
    assert report["fingerprint"] == pf.data.load(folder).fingerprint


def test_images_in_several_classes_are_reported(folder, tmp_path, capsys):
    report = check(folder)
    assert report["in_several_classes"] == [
        {"files": ["cats/001.png", "dogs/copy.png"], "copies": 2, "classes": ["cats", "dogs"]}
    ]
    assert any("1 image is in several classes" in warning for warning in report["warnings"])
    for number in range(6):
        shutil.copy(folder / "dogs" / f"{3 * number:03}.png", folder / "cats" / f"other{number}.png")
    shutil.copy(folder / "dogs" / "000.png", folder / "dogs" / "same.png")
    shutil.copy(folder / "cats" / "002.png", folder / "cats" / "again.png")
    assert check(folder, labelled=False)["in_several_classes"] == []
    report = check(folder)
    assert (len(report["in_several_classes"]), report["more_in_several_classes"]) == (5, 2)
    assert report["in_several_classes"][0]["files"] == ["cats/other0.png", "dogs/000.png", "dogs/same.png"]
    assert main(["data", "check", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "cats/other0.png, dogs/000.png, dogs/same.png (cats, dogs)" in printed
    assert "7 images are in several classes each" in printed
    x, label = np.stack([picture(number % 40) for number in range(42)]).transpose(0, 3, 1, 2), np.arange(42) // 40
    np.savez(tmp_path / "x.npz", x=x, label=label)
    assert any("2 images are in several classes" in warning for warning in check(tmp_path / "x.npz")["warnings"])


def test_groups_of_copies_that_are_not_listed_are_counted(folder, capsys):
    for number in range(7):
        shutil.copy(folder / "cats" / "002.png", folder / "cats" / f"a{number}.png")
        Image.fromarray(picture(700 + number)).save(folder / "cats" / f"b{number}.png")
        shutil.copy(folder / "cats" / f"b{number}.png", folder / "dogs" / f"b{number}.png")
    report = check(folder)
    assert (len(report["duplicates"]), report["more_duplicates"]) == (5, 4)
    assert main(["data", "check", str(folder)]) == 0
    assert "and 4 more groups of copies" in capsys.readouterr().out


def test_what_training_refuses_is_reported_too(folder, capsys):
    for number in range(20):
        (folder / "cats" / f"bad{number}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="more than 10%") as caught:
        pf.data.load(folder)
    report = check(folder)
    assert report["refused"] == str(caught.value)
    assert [row["file"] for row in report["skipped"]] == [file for file, _ in caught.value.skipped]
    assert len(report["skipped"]) == 21
    assert report["classes"] == {"cats": 40, "dogs": 22}
    assert (report["files"], report["repeats"]) == (83, 1)
    assert report["duplicates"][0]["files"] == ["cats/001.png", "dogs/copy.png"]
    assert main(["data", "check", str(folder)]) == 3
    printed = capsys.readouterr()
    assert all(f"bad{number}.png: no image that can be read" in printed.out for number in range(20))
    assert "L 15" in printed.out
    assert "21 of 83 image files" in printed.err


def test_sizes_that_differ_are_counted(folder, capsys):
    for number in range(3):
        Image.fromarray(picture(number, (9, 7, 3))).save(folder / "cats" / f"large{number}.png")
    report = check(folder)
    assert report["sizes"] == {"6 x 5": 62, "9 x 7": 3}
    assert "differ in size" in report["refused"]
    assert main(["data", "check", str(folder), "--json"]) == 3
    assert "--resize 5" in json.loads(capsys.readouterr().out)["refused"]
    report = check(folder, resize=4)
    assert (report["sizes"], report["refused"]) == ({"6 x 5": 62, "9 x 7": 3}, None)


def test_files_that_changed_are_named(folder, tmp_path, capsys):
    known = str(tmp_path / "known.json")
    assert main(["data", "check", str(folder), "--out", known]) == 0
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
    assert "1 added, 1 removed, 1 changed" in printed.err
    assert list(json.loads(printed.out)["differs"]) == ["fingerprint"]


def test_other_differences_are_named(folder, tmp_path, capsys):
    known, others = str(tmp_path / "known.json"), [f"cats/new{number}.png" for number in range(7)]
    check(folder, out=known, resize=5)
    folder = folder.rename(tmp_path / "moved")
    report = check(folder, against=known, resize=5)
    assert report["differs"] == {"source": [str(tmp_path / "photos"), str(tmp_path / "moved")]}
    assert main(["data", "check", str(folder), "--against", known, "--resize", "5"]) == 0, "a folder may move"
    for name in others:
        shutil.copy(folder / "cats" / "002.png", folder / name)
    capsys.readouterr()
    assert main(["data", "check", str(folder), "--against", known]) == 3
    printed = capsys.readouterr()
    lines = [line.strip() for line in printed.out.splitlines()]
    at = lines.index(others[0])
    assert lines[at : at + 6] == [*others[:5], "and 2 more"]
    assert any(line.split(maxsplit=2)[:2] == ["another", "resize"] and "was [5, 5], is none" in line for line in lines)
    assert "7 added of its files; another fingerprint and resize" in printed.err
    check("digits", out=tmp_path / "digits.json")
    assert main(["data", "check", "moons", "--against", str(tmp_path / "digits.json")]) == 3


def test_files_of_other_sources(folder, tmp_path):
    np.savez(tmp_path / "x.npz", x=picture(0, (30, 4)))
    pf.data.pack(folder, tmp_path / "packed", per_tar=40)
    for source, names in (
        ("x.npz", ["x.npz"]),
        ("packed", ["held-out-000000.tar", "train-000000.tar", "train-000001.tar"]),
    ):
        (tmp_path / "out.json").unlink(missing_ok=True)
        assert check(tmp_path / source, out=tmp_path / "out.json")["written"] == str(tmp_path / "out.json")
        assert list(json.loads((tmp_path / "out.json").read_text())["files"]) == names
        assert check(tmp_path / source, against=tmp_path / "out.json")["changes"] == {"added": [], "removed": [], "changed": []}
    assert check(tmp_path / "packed")["modes"] == {"RGBA": 62}
    for content in ("", "[]", '{"format": "pushforward-files-1"}', '{"format": "x"}', "[" * 100_000):
        (tmp_path / "out.json").write_text(content)
        with pytest.raises(DataError, match="holds no files of a data set"):
            check(tmp_path / "x.npz", against=tmp_path / "out.json")


def test_what_is_too_little_to_train_on_is_reported(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    for name in (b"a\xff.png", b"b.png"):
        shutil.copy(photos(tmp_path / "others", 3) / "cats" / "001.png", os.path.join(os.fsencode(tmp_path / "photos"), name))
    assert main(["data", "check", str(tmp_path / "photos")]) == 3
    printed = capsys.readouterr()
    assert "a\\udcff.png, b.png" in printed.out
    assert "All 2 examples are the same" in printed.err


def test_a_file_that_is_there_is_not_replaced(folder, tmp_path, capsys):
    for number in range(20):
        (folder / "cats" / f"bad{number}.png").write_bytes(b"no image")
    known = str(tmp_path / "known.json")
    assert main(["data", "check", str(folder), "--out", known]) == 3
    assert f"{known}, without a fingerprint" in capsys.readouterr().out
    content = (tmp_path / "known.json").read_bytes()
    assert main(["data", "check", str(folder), "--out", known, "--against", known]) == 2
    assert f"{known} is there already. Choose another --out" in capsys.readouterr().err
    assert (tmp_path / "known.json").read_bytes() == content


def test_a_packed_tar_with_another_sha256_is_refused(folder, tmp_path):
    manifest = pf.data.pack(folder, tmp_path / "packed")
    file = tmp_path / "packed" / "train-000000.tar"
    file.write_bytes(file.read_bytes()[:-1] + b"x")  # behind the images, which are the same
    assert pf.data.load(tmp_path / "packed").fingerprint == manifest["fingerprint"]
    assert "train-000000.tar" in check(tmp_path / "packed")["refused"]


def test_progress_counts_every_file(folder):
    counts = []
    check(folder, progress=lambda done, total: counts.append((done, total)))
    assert counts[-1] == (63, 63)


def test_a_check_compares_the_manifest_and_the_indices_with_the_tars(folder, tmp_path, capsys):
    packed = tmp_path / "packed"
    pf.data.pack(folder, packed, per_tar=20)
    wrong = [
        ("manifest.json", lambda m: m | {"train": 1}, "counts 1 examples of train"),
        ("manifest.json", lambda m: m | {"shards": [m["shards"][0] | {"images": 7}, *m["shards"][1:]]}, "counts 7 images in"),
        ("manifest.json", lambda m: m | {"fingerprint": "0"}, "another fingerprint"),
        ("train-000000.json", lambda index: index | {"names": index["names"][::-1]}, "other names than train-000000.tar"),
        (
            "train-000000.json",
            lambda index: index | {"labels": ["1", *index["labels"][1:]]},
            "other labels than train-000000.tar",
        ),
    ]
    for file, change, words in wrong:
        before = (packed / file).read_text()
        (packed / file).write_text(json.dumps(change(json.loads(before))))
        assert main(["data", "check", str(packed)]) == 3
        assert words in capsys.readouterr().err
        (packed / file).write_text(before)
    assert check(packed)["refused"] is None
    assert check(packed, limit=9)["refused"] is None, "the fingerprint is that of all images"
