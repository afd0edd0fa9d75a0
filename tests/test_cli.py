"""The command line as a person meets it: exit codes, messages, files."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from programs import forking

import pushforward as pf
from pushforward.cli import main
from pushforward.errors import Diverged, UsageError
from pushforward.evaluation.results import Comparison, ModelResult, Score, Settings
from pushforward.metrics import describe
from pushforward.outputs import write_samples
from pushforward.report.text import text as as_text
from pushforward.training import load

TINY = ["--size", "tiny", "--steps", "4", "--batch", "64"]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder to work in, with one finished run of each kind."""
    folder = tmp_path_factory.mktemp("cli")
    before = os.getcwd()
    os.chdir(folder)
    rows = np.random.default_rng(0).normal(size=(60, 3))
    text = "height,weight,count,kind\n" + "".join(
        f"{a:.3f},{b:.3f},{int(c * 5)},{'xy'[i % 2]}\n" for i, (a, b, c) in enumerate(rows)
    )
    (folder / "table.csv").write_text(text)
    (folder / "plain").write_text("a file without an ending")
    assert main(["train", "flow", "--out", "flow", *TINY]) == 0
    assert main(["train", "gan", "--out", "gan", *TINY]) == 0
    assert main(["train", "flow", "--data", "table.csv", "--target", "kind", "--out", "rows", *TINY]) == 0
    yield folder
    os.chdir(before)


def run(capsys, *words):
    code = main(list(words))
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["train", "flow", "--stepz", "5"], 2, "--steps"),
        (["train", "flwo"], 2, 'Did you mean "flow"'),
        (["finish", "run"], 2, "pushforward train finish --teacher RUN"),
        (["train", "flow", "--data", "digit"], 2, "digits"),
        (["train", "flow", "--data", "./none.csv"], 3, "none.csv"),
        (["train", "./none.py"], 2, "none.py"),
        (["train", "flow", "--size", "smal"], 2, "small"),
        (["train", "flow", "--network", "dti"], 2, "dit"),
        (["train", "flow", "--data", "moons", "--network", "unet"], 2, "needs images"),
        (["train", "flow", "--data", "moons", "--condition", "label", "--target", "x"], 2, "target"),
        (["train", "flow", "--data", "moons", "--augment", "flip"], 2, "for images"),
        (["train", "flow", "--augment", "flop"], 2, "flip"),
        (["train", "flow", "--steps", "many"], 2, "no count"),
        (["train", "flow", "--steps", "5", "--budget", "5s"], 2, "only one budget"),
        (["train", "flow", "--batch", "96", "--accumulate", "2"], 2, "multiple of"),
        (["train", "flow", "--out", "flow"], 2, "exists already"),
        (["train", "gan", "--latent-size", "many"], 2, "needs a number"),
        (["train", "gan", "--latent-size", "0"], 2, "at least one number"),
        (["train", "flow", "--device", "tpu"], 2, "device"),
        (["train", "flow", "--data", "table.csv", "--table", "no"], 3, "kind"),
        (["resume", "nothing"], 2, "There is no folder nothing."),
        (["sample", "nothing"], 2, "There is no folder nothing."),
        (["sample", "flow", "--solver", "hein"], 2, "heun"),
        (["sample", "flow", "--steps", "0"], 2, "at least 1"),
        (["sample", "flow", "--out", "x.jpg"], 2, ".png"),
        (["sample", "flow", "--n", "0"], 2, "at least 1"),
        (["sample", "flow", "--label", "eleven"], 2, "eleven"),
        (["sample", "flow", "--grid", "karas"], 2, "karras"),
        (["sample", "gan", "--steps", "5"], 2, "in one call"),
        (["data", "check", "digits", "--given", ""], 2, "--given names no column"),
        (["sample", "gan", "--solver", "heun"], 2, "in one call"),
        (["sample", "gan", "--out", "x.gif"], 2, "no steps"),
        (["sample", "flow", "--checkpoint", "step_9"], 2, "step_9"),
        (["sample", "flow", "--batch", "0"], 2, "batch must be at least 1"),
        (["sample", "flow", "--batch", "-1", "--out", "x.npz"], 2, "batch must be at least 1"),
        (["sample", "flow", "--out", "."], 2, "no name"),
        (["sample", "flow", "--out", ".."], 2, "no name"),
        (["sample", "flow", "--out", ".png"], 2, "no name"),
        (["sample", "flow", "--out", "table.csv/x.png"], 2, "is a file"),
        (["sample", "flow", "--out", "gan", "--overwrite"], 2, "not overwritten"),
        (["sample", "flow", "--out", "plain", "--overwrite"], 2, "is a file"),
        (["sample", "flow", "--grid", "shifted:nan"], 2, "between 0.001 and"),
        (["sample", "flow", "--grid", "shifted:abc"], 2, "no number"),
        (["sample", "flow", "--grid", "karras:0"], 2, "between 0.001 and"),
        (["sample", "flow", "--scale", "nan"], 2, "finite"),
        (["train", "gan", "--gamma", "nan"], 2, "gamma"),
        (["train", "gan", "--gamma-end", "inf"], 2, "gamma"),
        (["train", "vae", "--beta", "nan"], 2, "beta"),
        (["evaluate", "flow", "--n", "100000"], 2, "held"),
        (["evaluate", "flow", "--metrics", "frechett"], 2, "frechet"),
        (["compare"], 2, ""),
        (["compare", "gann"], 2, 'Did you mean "gan"'),
        (["compare", "./flow", "./rows"], 2, "examples of shape"),
        (["compare", "vae", "./rows", "--data", "digits"], 2, "examples of shape"),
        (["compare", "flow", "flow"], 2, "named twice"),
        (["compare", "./flow", "flow/"], 2, "named twice"),
        (["compare", "vae", "--n", "100000"], 2, "held-out examples"),
        (["compare", "vae", "--repeats", "0"], 2, "--repeats"),
        (["compare", "vae", "--seeds", "0"], 2, "--seeds"),
        (["compare", "vae", "--lr", "inf"], 2, "learning rate"),
        (["compare", "vae", "flow", "--batch", "0"], 2, "at least 1"),
        (["compare", "./flow", "--steps", "5", "--size", "tiny"], 2, "--steps, --size cannot be used here"),
        (["compare", "./flow", "--limit", "50"], 2, "--limit cannot be used here"),
        (["compare", "./flow", "--out", "flow"], 2, "Choose another --out for the report"),
        (["train", "flow", "--out", "plain"], 2, "Choose another --out."),
        (["train", "flow", "digits"], 2, "--data digits"),
        (["train", "--stpes", "5"], 2, 'Did you mean "--steps"'),
        (["tune", "flow", "--rows", "10"], 2, "tune calls it --examples now"),
        (["tune", "--rows=10"], 2, "tune calls it --examples now"),
        (["train", "flow", "--budget", "3s,6s"], 2, "Only pushforward compare takes several"),
        (["compare", "flow", "--budget", "3s,", "6s"], 2, "no space after a comma"),
        (["compare", "vae", "--budget", "3s", ",1.5h"], 2, "no space after a comma"),
        (["train"], 2, "needs a recipe"),
        (["sample"], 2, "needs a run"),
        (["train", "flow", "--data", "none.csv", "--stpes", "5"], 2, 'Did you mean "--steps"'),
        (["train", "flwo", "--data", "none.csv"], 2, 'Did you mean "flow"'),
        (["train", "flow", "--device", "meta"], 2, "no device"),
        (["train", "flow", "--lr", "inf"], 2, "learning rate"),
        (["train", "gan", "--init", "flow", "--size", "tiny"], 2, "recipe flow there and gan here"),
        (["train", "ddpm", "--init", "flow", "--size", "tiny"], 2, "prediction velocity there and noise here"),
        (["train", "flow", "--init", "flow", "--size", "small"], 2, "size tiny there and small here"),
        (["train", "flow", "--init", "flow", "--data", "moons", "--size", "tiny"], 2, "shape 1x8x8 there and 2 here"),
        (["train", "flow", "--steps", "2m"], 2, "write 2M for 2 million; minutes are a budget: --budget 120"),
        (["train", "flow", "--init", "flow", "--plugin", "./mnie.py"], 2, "no file ./mnie.py"),
        (["sample", "flow", "--plugin", "./mnie.py"], 2, "no file ./mnie.py"),
        (["resume", "flow", "--plugin", "./mnie.py"], 2, "no file ./mnie.py"),
        (["evaluate", "flow", "--plugin", "./mnie.py"], 2, "no file ./mnie.py"),
        (["compare", "./flow", "--plugin", "./mnie.py"], 2, "no file ./mnie.py"),
        (["evaluate", "gan", "--steps", "3"], 2, "in one call"),
        (["evaluate", "flow", "--checkpoint", "step_9"], 2, "step_9"),
        (["evaluate", "flow", "--batch", "0"], 2, "batch must be at least 1"),
        (["nonsense"], 2, ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_gets_one_clear_message(here, capsys, words, code, says):
    before = sorted(os.listdir(here))
    exit_code, out, err = run(capsys, *words)
    assert (exit_code, out) == (code, ""), err
    assert says in err
    assert sorted(os.listdir(here)) == before, "a refused command leaves nothing behind"


def alone(commands, *absent):
    """Run commands in a process of their own, none of which imports these modules."""
    lines = ["import sys", "from pushforward.cli import main"]
    for words in commands:
        lines += [f"main({words})", f"assert not {set(absent)} & set(sys.modules), {words}"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_is_fast_to_import_and_complete(here):
    alone([["--help"], ["train", "--help"], [], ["list", "--help"]], "torch", "numpy")
    done = subprocess.run([sys.executable, "-m", "pushforward", "train", "--help"], capture_output=True, text=True)
    for option in ("--data", "--budget", "--size", "--condition", "--augment", "--precision", "--seed"):
        assert option in done.stdout
    assert len(done.stdout.splitlines()) <= 86


def test_bare_call_shows_five_examples(capsys):
    code, out, _ = run(capsys)
    assert code == 0
    assert out.count("\n  pushforward") >= 5


def test_recipe_help_adds_its_settings(capsys):
    code, out, _ = run(capsys, "train", "gan", "--help")
    assert code == 0
    for option in ("--latent-size", "--loss", "--gamma"):
        assert option in out


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


def test_a_folder_stays_when_its_replacement_fails(here, capsys, monkeypatch):
    words = ["sample", "flow", "--steps", "2", "--n", "3", "--out", "stays"]
    assert run(capsys, *words)[0] == 0
    before = {name: open(f"stays/{name}", "rb").read() for name in os.listdir("stays")}
    moved = os.rename

    def fail_second(source, target):
        if str(target) == "stays" and ".tmp-" in str(source):
            raise OSError(5, "Input/output error")
        moved(source, target)

    monkeypatch.setattr("os.rename", fail_second)
    assert run(capsys, *words, "--seed", "5", "--overwrite")[0] == 4
    assert {name: open(f"stays/{name}", "rb").read() for name in os.listdir("stays")} == before


def test_a_file_with_other_rows_than_promised_is_not_kept(here):
    space = load("flow").space
    parts = [(torch.zeros(3, *space.shape), None)]
    for name in ("short.npz", "short"):
        with pytest.raises(UsageError, match="3 came"):
            write_samples(Path(name), space, 5, parts)
        assert not os.path.exists(name)


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


def test_json_is_one_object_and_nothing_else(here, capsys):
    code, out, _ = run(capsys, "evaluate", "flow", "--repeats", "1", "--json")
    assert code == 0
    content = json.loads(out)
    assert content["models"][0]["scores"]["frechet"]["value"] > 0
    assert content["floors"]["frechet"]["value"] > 0
    assert "frechet" in content["baseline"]["scores"]


def test_compare_finished_runs(here, capsys):
    code, out, _ = run(capsys, "compare", "./flow", "./gan", "--repeats", "1", "--out", "both", "--json")
    assert code == 0
    assert [row["name"] for row in json.loads(out)["models"]] == ["flow", "gan"]
    assert {"report.html", "report.json", "report.md"} <= set(os.listdir("both"))
    page = open("both/report.html").read()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert len(page) < 8e6


def test_compare_gives_names_of_their_own_and_takes_the_runs_data(here, capsys):
    words = ["flow", "./flow", "--steps", "2", "--size", "tiny", "--batch", "64", "--repeats", "1", "--n", "50", "--out", "a b"]
    code, out, err = run(capsys, "compare", *words, "--json")
    assert code == 0, err
    assert "taken for the recipe" not in err, "both are compared"
    content = json.loads(out)
    assert sorted(row["name"] for row in content["models"]) == ["./flow", "flow"]
    assert content["commands"] == ["pushforward compare " + " ".join(words[:-1]) + " 'a b' --json"]
    code, out, err = run(capsys, "compare", "vae", "./rows", "--steps", "2", "--size", "tiny", "--repeats", "1", "--out", "t")
    assert code == 0, err
    assert json.loads(Path("t/report.json").read_text())["data"]["name"] == "table"
    assert out.startswith("- ")
    assert re.search(r"^vae +[0-9]", out, re.MULTILINE)
    assert out.splitlines()[-1] == "t/report.html"


def test_compare_takes_the_data_that_says_most(here, capsys):
    assert run(capsys, "train", "flow", "--condition", "none", "--out", "unlabelled", *TINY)[0] == 0
    words = ["./unlabelled", "./flow", "--repeats", "1", "--n", "50", "--out", "informed", "--json"]
    code, out, err = run(capsys, "compare", *words)
    assert code == 0, err
    assert json.loads(out)["data"]["classes"]


def test_a_comparison_that_cannot_start_leaves_no_folder(here, capsys, monkeypatch):
    prepared = []

    def fail(*args, **options):
        prepared.append(options["out"])
        options["out"].mkdir(parents=True)
        if len(prepared) == 2:
            raise UsageError("no")

    monkeypatch.setattr("pushforward.training.start.prepare", fail)
    os.mkdir("vae")
    code, _, err = run(capsys, "compare", "vae", "ddpm", "flow", "--steps", "2", "--out", "gone")
    assert code == 2
    assert err.count("taken for the recipe") == 2, "there are folders flow and vae, and none of the name ddpm"
    assert "vae is taken for the recipe, which is trained; the folder vae is empty" in err
    os.rmdir("vae")
    assert "to compare what is in the folder flow, write ./flow" in err
    assert len(prepared) == 2
    assert not os.path.exists("gone")
    assert run(capsys, "train", "flow", "--out", "gone")[0] == 1
    assert not os.path.exists("gone")


def test_evaluate_samples_as_it_is_told(here, capsys):
    few = ["evaluate", "flow", "--n", "50", "--repeats", "1", "--json"]
    usual, with_options = (
        json.loads(run(capsys, *few, *more)[1])["models"][0] for more in ([], ["--solver", "heun", "--steps", "3"])
    )
    assert (with_options["sampling"]["solver"], with_options["sampling"]["calls"]) == ("Heun", 5)
    same, other = (json.loads(run(capsys, *few, *more)[1])["models"][0] for more in (["--batch", "13"], ["--seed", "7"]))
    frechet = [model["scores"]["frechet"]["value"] for model in (usual, same, with_options, other)]
    assert frechet[1] == pytest.approx(frechet[0], rel=1e-4)
    assert abs(frechet[2] / frechet[0] - 1) > 3e-4
    assert abs(frechet[3] / frechet[0] - 1) > 3e-4


def test_evaluate_warns_as_reports_do(here, capsys):
    code, out, _ = run(capsys, "evaluate", "flow", "--n", "25", "--repeats", "2")
    assert code == 0
    assert re.search(r"^KID ↓ .* \[\S+, \S+\]$", out, re.MULTILINE), "the no-network column has its interval"
    out = " ".join(out.split())
    assert "- These features have 2 dimensions (n = 25) and cannot see" in out
    assert (
        "- Only 25 samples are compared with 25 real ones: take every score with care." in out.split("what to keep in mind:")[1]
    )
    warnings = json.loads(run(capsys, "evaluate", "flow", "--n", "25", "--repeats", "1", "--json")[1])["warnings"]
    assert any(warning.startswith("Only 25 samples") for warning in warnings)


def test_changed_data_is_refused(here, capsys):
    assert run(capsys, "train", "vae", "--data", "table.csv", "--target", "kind", "--out", "older", *TINY)[0] == 0
    text = (here / "table.csv").read_text()
    (here / "table.csv").write_text(text.replace("\n", "\n0.5,0.5,1,x\n", 1))
    try:
        for words in (["evaluate", "older"], ["compare", "./older"]):
            code, _, err = run(capsys, *words)
            assert (code, "has changed since" in err) == (3, True)
    finally:
        (here / "table.csv").write_text(text)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_comparison_is_readable_at_any_width(width):
    names = {"frechet": "Fréchet distance", "kid": "KID", "coverage": "Coverage", "sharpness": "Sharpness"}
    rows = [
        ModelResult(name, scores=dict.fromkeys(names, Score(value, 0.001)))
        for name, value in (("flow", 0.2), ("a run with a name that is far too long for any line of a terminal", 0.4))
    ]
    metrics = {metric: replace(describe()[metric], label=label) for metric, label in names.items()}
    floors = dict.fromkeys(names, Score(0.1, 0.001))
    text = as_text(Comparison(models=rows, metrics=metrics, floors=floors, settings=Settings(500)), width)
    assert max(map(len, text.splitlines())) <= width
    assert "best Fréchet distance" in text
    for label in names.values():
        assert label in text
    assert re.search(r"flow +0.2000 ± 0.0010 [*]", text)


def test_small_images_are_enlarged_in_pictures_and_kept_as_data(here, capsys):
    def size(*words, inside=""):
        target = words[words.index("--out") + 1]
        code, _, err = run(capsys, *words, "--steps", "1", "--overwrite")
        assert code == 0, err
        return Image.open(Path(target) / inside).size

    sample = ("sample", "flow", "--n", "9", "--out", "zoomed.png")
    assert size(*sample) == (3 * 64 + 2 * 2,) * 2
    assert size(*sample, "--zoom", "2") == (3 * 16 + 2,) * 2
    small = np.asarray(Image.open("zoomed.png"))[::2, ::2]
    assert size(*sample, "--zoom", "1") == (3 * 8 + 2,) * 2
    assert (np.asarray(Image.open("zoomed.png"))[:8, :8] == small[:8, :8]).all(), "every pixel is repeated"
    assert size("sample", "flow", "--n", "9", "--out", "zoomed.gif") == (3 * 64 + 2 * 2,) * 2
    assert size("sample", "flow", "--n", "1", "--out", "one.png") == (8, 8)
    assert size("sample", "flow", "--n", "1", "--out", "one.png", "--zoom", "3") == (24, 24)
    folder = ("sample", "flow", "--n", "2", "--label", "3", "--out", "tiles")
    assert size(*folder, inside="0-3.png") == (8, 8)
    assert size(*folder, "--zoom", "4", inside="0-3.png") == (32, 32)
    assert size("interpolate", "flow", "--frames", "3", "--out", "strip.png") == (3 * 64 + 2 * 2, 64)
    assert size("inpaint", "flow", "one.png", "--resize", "--box", "0,0,4,8", "--n", "4", "--out", "filled.png") == (130, 130)
    assert run(capsys, "sample", "flow", "--n", "2", "--out", "t.npz", "--zoom", "2")[0] == 2
    assert "--zoom 2 enlarges pictures" in run(capsys, "sample", "rows", "--zoom", "2")[2]
    assert "--zoom must be from 1" in run(capsys, "sample", "flow", "--zoom", "0", "--out", "z.png")[2]


def test_pictures_of_training_are_enlarged(here, pictured):
    assert main(["train", "vae", "--data", "digits", "--out", "drawn", *TINY]) == 0
    assert Image.open(sorted(Path("drawn/samples").glob("step_*.png"))[-1]).size == (2 * 64 + 2,) * 2


def test_listings_do_not_import_torch(here):
    alone([["list", "runs", "."], ["data", "list"], ["--help"]], "torch")


def test_a_damaged_run_is_a_row_of_the_list(here, capsys):
    for name, text in (("torn", '{"recipe": "fl'), ("odd", "[1, 2]"), ("old", '{"recipe": "flow", "data": 3}')):
        (here / "broken" / name).mkdir(parents=True)
        (here / "broken" / name / "spec.json").write_text(text)
    code, out, _ = run(capsys, "list", "runs", ".")
    assert code == 0
    assert out.count("cannot be read") == 3
    assert "gan" in out
    assert len(json.loads(run(capsys, "list", "runs", "broken", "--json")[1])) == 3
    shutil.rmtree("broken")


def test_data_check_lists_every_skipped_file(here, capsys):
    folder = here / "photos"
    folder.mkdir()
    for i in range(20):
        Image.fromarray(np.full((4, 4), i, dtype=np.uint8)).save(folder / f"{i}.png")
    for i in range(9):
        (folder / f"bad{i}.png").write_bytes(b"no image")
    for more in ([], ["--json"]):
        code, out, err = run(capsys, "data", "check", "photos", *more)
        assert code == 3
        assert "9 of 29" in err
        assert all(f"bad{i}.png" in out for i in range(9))
    content = json.loads(out)
    assert [row["file"] for row in content["skipped"]] == [f"bad{i}.png" for i in range(9)]
    assert all(row["reason"] for row in content["skipped"])
    code, out, _ = run(capsys, "data", "check", "none.csv", "--json")
    assert code == 3
    assert "none.csv" in json.loads(out)["error"]


def test_help_is_a_verb(capsys):
    assert run(capsys, "help") == run(capsys, "--help")
    assert run(capsys, "help", "sample") == run(capsys, "sample", "--help")


def test_an_error_closes_the_bar(here, capsys, monkeypatch):
    closed = []
    monkeypatch.setattr("pushforward.training.Progress.close", lambda self: closed.append(self))

    def fail(self, *args):
        raise Diverged("it did")

    monkeypatch.setattr("pushforward.training.Trainer.advance", fail)
    assert run(capsys, "train", "flow", "--out", "shut", *TINY)[0] == 5
    assert closed


@pytest.mark.parametrize(("error", "code"), [(MemoryError(), 6), (RuntimeError(), 1), (OSError(28, "No space"), 4)])
def test_every_error_has_a_line_and_a_code(here, capsys, monkeypatch, error, code):
    def fail(*args):
        raise error

    monkeypatch.setattr("pushforward.training.load", fail)
    monkeypatch.setattr("pushforward.data.listing", fail)
    exit_code, _, err = run(capsys, "data", "list")
    assert exit_code == code
    assert err.startswith("error: ")


def test_output_that_cannot_be_written_or_spelled(here, monkeypatch):
    call = [sys.executable, "-m", "pushforward"]
    with open("/dev/full", "w") as full:
        done = subprocess.run([*call, "data", "list"], stdout=full, stderr=subprocess.PIPE, text=True)  # imports no torch
    assert done.returncode == 4
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert main(["list", "metrics"]) == 0
    assert b"Fr?chet" in written.getvalue()


def signalled(code):
    """Exit code and stderr of ``run(name)`` for each signal, in processes forked from one that has loaded torch."""
    forks = """
for name in ("SIGINT", "SIGTERM"):
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
        os.dup2(os.open(name + ".txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 2)
        sys.exit(run(name))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    head = (
        "import os, signal, sys, threading, time\nfrom pushforward.cli import main\nfrom pushforward import recipes, training\n"
    )
    done = forking.run(head + code + forks)
    assert done.returncode == 0, done.stderr
    return [
        (int(code), Path(f"{name}.txt").read_text())
        for code, name in zip(done.stdout.split(), ("SIGINT", "SIGTERM"), strict=True)
    ]


def test_a_signal_ends_sampling_and_leaves_nothing(here):
    code = """
from pushforward import transports
drawn = transports.Transport._begun
def cut(self, start, *args):
    if start == 20:
        assert [name for name in os.listdir() if name.startswith(".tmp-")]
        os.kill(os.getpid(), getattr(signal, transports.name))
    return drawn(self, start, *args)
transports.Transport._begun = cut
def run(name):
    transports.name = name
    return main(["sample", "flow", "--n", "400", "--batch", "10", "--steps", "2", "--out", f"cut-{name}.npz"])
"""
    for (exit_code, err), wanted, says in zip(signalled(code), (130, 143), ("interrupted", ""), strict=True):
        assert exit_code == wanted, err
        assert says in err
        assert "Traceback" not in err
    assert not [name for name in os.listdir() if "cut-SIG" in name]


def test_compare_trains_in_turns_with_seeds(here, capsys):
    words = ["vae", "flow", "--data", "moons", "--limit", "400", "--steps", "3", "--size", "tiny", "--seeds", "2"]
    code, out, err = run(capsys, "compare", *words, "--repeats", "1", "--n", "50", "--out", "toys", "--json")
    assert code == 0, err
    assert [row["name"] for row in json.loads(out)["models"]] == ["vae", "flow"]
    assert {"vae-0", "vae-1", "flow-0", "flow-1"} <= set(os.listdir("toys"))


def test_resume_says_a_finished_run_is_finished_and_extends_it(here, capsys):
    assert main(["train", "vae", "--data", "moons", "--out", "long", *TINY]) == 0
    code, _, err = run(capsys, "resume", "long")
    assert code == 0
    assert "finished" in err
    code, out, _ = run(capsys, "resume", "long", "--steps", "6", "--json")
    assert (code, json.loads(out)["step"]) == (0, 6)


def test_a_damaged_checkpoint_is_refused_and_an_older_one_taken(here, capsys):
    assert main(["train", "vae", "--data", "moons", "--out", "hurt", "--checkpoint-every", "2", *TINY]) == 0
    path = here / "hurt" / "checkpoints" / "step_000004" / "method.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    few = ["--n", "50", "--repeats", "1"]
    cases = (
        (["sample", "hurt", "--out", "hurt.csv"], "--checkpoint"),
        (["evaluate", "hurt", *few], "--checkpoint"),
        (["resume", "hurt", "--steps", "6"], "--from"),
    )
    for words, option in cases:
        code, _, err = run(capsys, *words)
        assert code == 4
        assert "The checkpoint before it: step_000002" in err
        assert f"ake it with {option} step_000002" in err
        assert run(capsys, *words, option, "step_000002")[0] == 0


def test_ctrl_c_saves_and_resume_goes_on(here):
    code = """
import torch._dynamo  # which optimisers import
def soon(name):
    while not os.path.exists(f"cut-{name}/metrics.jsonl"): time.sleep(.02)
    os.kill(os.getpid(), getattr(signal, name))
def run(name):
    threading.Thread(target=soon, args=[name], daemon=True).start()
    words = ["--data", "moons", "--size", "tiny", "--steps", "1000000", "--batch", "64", "--out", f"cut-{name}"]
    return main(["train", "vae", *words])
"""
    for (exit_code, err), wanted, folder in zip(signalled(code), (130, 75), ("cut-SIGINT", "cut-SIGTERM"), strict=True):
        assert exit_code == wanted, err
        assert f"next: pushforward resume {folder}" in err
        assert os.listdir(f"{folder}/checkpoints")
        step = int(max(os.listdir(f"{folder}/checkpoints")).removeprefix("step_").removesuffix(".json"))
        assert main(["resume", folder, "--steps", str(step + 1), "--json"]) == 0
        shutil.rmtree(folder)


def test_lists(here, capsys, monkeypatch):
    for words, name in (
        (["list", "recipes"], "edm"),
        (["list", "solvers"], "heun"),
        (["list", "metrics"], "frechet"),
        (["list", "runs", "."], "flow"),
        (["data", "list"], "swissroll"),
    ):
        code, out, _ = run(capsys, *words)
        assert code == 0
        assert name in out
        assert json.loads(run(capsys, *words, "--json")[1])
    assert run(capsys, "data", "check", "table.csv", "--target", "kind")[0] == 0
    facts = json.loads(run(capsys, "doctor", "--json")[1])
    assert facts["threads"] == torch.get_num_threads()
    assert facts["cores"] == (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    extras = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = [f'{package} ; extra == "{name}"' for name, packages in extras.items() for package in packages]
    others = ["no-such-package>=1; extra == 'other'", "torch>=2 ; extra == 'here'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: ["torch>=2", *others, *wanted])
    facts = json.loads(run(capsys, "doctor", "--json")[1])
    assert {name for name in facts if name.startswith("extra ")} == {f"extra {name}" for name in [*extras, "other", "here"]}
    assert facts["extra other"] == "missing no-such-package: pip install 'pushforward[other]'"
    assert facts["extra here"] == "installed"
    assert re.search(r"^cores: \d+\n+threads: \d+$", run(capsys, "doctor")[1], re.MULTILINE)


def test_data_check_counts_copies_of_rows(tmp_path, capsys):
    (tmp_path / "rows.csv").write_text("a,b\n" + "".join(f"{i},{i % 7}\n" for i in range(40)) * 3)
    assert json.loads(run(capsys, "data", "check", str(tmp_path / "rows.csv"), "--json")[1])["repeats"] == 80
    assert re.search(r"^repeats +80 examples$", run(capsys, "data", "check", str(tmp_path / "rows.csv"))[1], re.MULTILINE)


def test_names_of_given_columns_hold_spaces(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("a,net income,b\n" + "".join(f"{i},{i % 7},{i % 9}\n" for i in range(40)))
    words = ["data", "check", str(tmp_path / "t.csv"), "--given", " net income, b ", "--json"]
    assert len(json.loads(run(capsys, *words)[1])["mean"]) == 1
    words[-2] = "net incom"
    assert run(capsys, *words)[0] != 0


def test_an_autoencoder_is_followed_by_a_model_in_its_latent_space(here, capsys):
    code, _, err = run(capsys, "train", "autoencoder", "--limit", "200", "--out", "coder", "--size", "tiny", "--steps", "1")
    assert code == 0
    assert err.splitlines()[-1] == "next: pushforward train flow --data digits --limit 200 --latent coder"


def test_the_next_weights_are_named(here, capsys):
    assert "again: weights from flow, step 4" in run(capsys, "train", "flow", "--init", "flow", "--out", "again", *TINY)[2]


def test_a_run_on_arrays_is_evaluated_in_python(here, capsys):
    data = pf.data.from_arrays(np.random.default_rng(0).random((60, 2)))
    pf.fit("flow", data, steps=1, out="arrays")
    for words in (["evaluate", "arrays"], ["compare", "./arrays"]):
        assert "Evaluate it in Python and give the data: pf.evaluate(run, data)" in run(capsys, *words)[2]
