"""What the command line writes of samples."""

import os
from pathlib import Path

import numpy as np
from PIL import Image
from programs.command_line import run


def test_sample_writes_by_the_ending(here, capsys):
    for out in ("a.png", "a.npz", "a.gif", "folder"):
        code, said, _ = run(capsys, "sample", "flow", "--n", "9", "--steps", "3", "--out", out)
        assert (code, said.strip()) == (0, out)
    with np.load("a.npz") as file:
        assert file["x"].shape == (9, 8, 8, 1)
        assert file["x"].dtype == np.uint8
        assert file["label"].shape == (9,)
    assert len(os.listdir("folder")) == 9
    assert Image.open("a.gif").n_frames > 3


def test_existing_output_is_kept_unless_told(here, capsys):
    assert run(capsys, "sample", "flow", "--n", "4", "--out", "kept.npz")[0] == 0
    before = open("kept.npz", "rb").read()
    assert run(capsys, "sample", "flow", "--n", "4", "--seed", "9", "--out", "kept.npz")[0] == 2
    assert open("kept.npz", "rb").read() == before
    assert run(capsys, "sample", "flow", "--n", "4", "--seed", "9", "--out", "kept.npz", "--overwrite")[0] == 0
    assert open("kept.npz", "rb").read() != before


def test_only_a_folder_of_samples_is_overwritten(here, capsys):
    words = ["sample", "flow", "--steps", "2", "--out", "pngs"]
    assert run(capsys, *words, "--n", "12")[0] == 0
    assert run(capsys, *words, "--n", "3", "--overwrite")[0] == 0
    assert len(os.listdir("pngs")) == 3
    open("pngs/notes.txt", "w").close()
    code, _, err = run(capsys, *words, "--n", "3", "--overwrite")
    assert code == 2
    assert "more than an earlier sampling" in err
    assert "notes.txt" in os.listdir("pngs")
    assert len(os.listdir("pngs")) == 4
    assert not [name for name in os.listdir() if name.startswith((".tmp-", ".old-"))]


def test_labels_by_number_and_name(here, capsys):
    for label, index in (("3", 3), ("7", 7)):
        assert run(capsys, "sample", "flow", "--n", "5", "--label", label, "--scale", "1.5", "--out", f"l{label}.npz")[0] == 0
        assert (np.load(f"l{label}.npz")["label"] == index).all()
    assert run(capsys, "sample", "rows", "--n", "5", "--label", "y", "--out", "y.csv")[0] == 0
    assert all(line.endswith(",y") for line in open("y.csv").read().split()[1:])


def test_a_table_keeps_names_and_whole_columns(here, capsys):
    assert run(capsys, "sample", "rows", "--n", "6", "--out", "rows.csv")[0] == 0
    lines = open("rows.csv").read().split()
    assert lines[0].split(",")[:3] == ["height", "weight", "count"]
    assert all(line.split(",")[2].lstrip("-").isdigit() for line in lines[1:])


def test_samples_in_parts_are_the_samples(here, capsys):
    for batch in ("7", "256"):
        assert run(capsys, "sample", "rows", "--n", "20", "--batch", batch, "--out", f"b{batch}.npz")[0] == 0
    np.testing.assert_allclose(np.load("b7.npz")["x"], np.load("b256.npz")["x"], atol=1e-4, rtol=1e-4)
    assert run(capsys, "sample", "flow", "--n", "5", "--steps", "1", "--batch", "2", "--out", "numbered")[0] == 0
    assert sorted(name[0] for name in os.listdir("numbered")) == list("01234")


def test_small_images_are_enlarged_in_pictures_and_kept_as_data(here, capsys):
    def size(n, *words, out="zoomed.png", inside=""):
        assert run(capsys, "sample", "flow", "--n", n, "--steps", "1", "--overwrite", "--out", out, *words)[0] == 0
        return Image.open(Path(out) / inside).size

    assert size("9") == (3 * 64 + 2 * 2,) * 2
    assert size("9", "--zoom", "2") == (3 * 16 + 2,) * 2
    small = np.asarray(Image.open("zoomed.png"))[::2, ::2]
    assert size("9", "--zoom", "1") == (3 * 8 + 2,) * 2
    assert (np.asarray(Image.open("zoomed.png"))[:8, :8] == small[:8, :8]).all(), "every pixel is repeated"
    assert size("1") == (8, 8)
    assert size("2", "--label", "3", out="tiles", inside="0-3.png") == (8, 8)
