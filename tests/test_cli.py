"""The command line as a person meets it: exit codes, messages, lists, runs, comparisons and
samples.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from programs import forking
from programs.command_line import TINY, run

from pushforward.cli import main


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["train", "flow", "--stepz", "5"], 2, "--steps"),
        (["train", "flow", "--stepz"], 2, 'Unknown option --stepz. Did you mean "--steps"?'),
        (["train", "flow", "--foo", "--data", "moons", "--bar"], 2, "Unknown option --foo."),
        (
            ["distil", "flow", "--trajectoriez"],
            2,
            'Unknown option --trajectoriez. Did you mean "--trajectories"?',
        ),
        (["train", "flow", "--coupling", "--data", "moons"], 2, "--coupling needs a value."),
        (["train", "flwo"], 2, 'Did you mean "flow"'),
        (["finish", "run"], 2, "pushforward train finish --help"),
        (["train", "flow", "--data", "digit"], 2, "digits"),
        (["train", "flow", "--data", "moons", "--network", "unet"], 2, "needs images"),
        (["train", "flow", "--steps", "5", "--budget", "5s"], 2, "exactly one budget"),
        (["train", "gan", "--latent-size", "many"], 2, "needs a number"),
        (["train", "flow", "--data", "table.csv", "--table", "no"], 3, "kind"),
        (["sample", "nothing"], 2, "There is no folder nothing."),
        (["sample", "flow", "--solver", "hein"], 2, "heun"),
        (["sample", "flow", "--out", "x.jpg"], 2, ".png"),
        (["sample", "flow", "--n", "0"], 2, "Must be >= 1"),
        (["sample", "gan", "--steps", "5"], 2, "in one call"),
        (["data", "check", "digits", "--given", ""], 2, "--given"),
        (["sample", "flow", "--out", "gan", "--overwrite"], 2, "not overwritten"),
        (["train", "gan", "--gamma", "nan"], 2, "gamma"),
        (["evaluate", "flow", "--n", "100000"], 2, "held"),
        (["evaluate", "flow", "--metrics", "frechett"], 2, "frechet"),
        (["compare", "gann"], 2, 'Did you mean "gan"'),
        (["compare", "./flow", "./rows"], 2, "examples of shape"),
        (["compare", "flow", "flow"], 2, "--seeds"),
        (
            ["compare", "./flow", "--steps", "5", "--size", "tiny"],
            2,
            "--steps, --size cannot be used here",
        ),
        (["train", "flow", "--out", "plain"], 2, "Choose another --out."),
        (["train", "flow", "digits"], 2, "digits"),
        (["train"], 2, "recipe"),
        (["train", "flow", "--data", "none.csv", "--stpes", "5"], 2, 'Did you mean "--steps"'),
        (["train", "gan", "--init", "flow", "--size", "tiny"], 2, "recipe flow there and gan here"),
        (["train", "flow", "--steps", "2m"], 2, '"2m" is not a count'),
        (["evaluate", "flow", "--plugin", "./mnie.py"], 2, "./mnie.py"),
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
    lines = ["import sys", "from pushforward.cli import main"]
    for words in commands:
        lines += [f"main({words})", f"assert not {set(absent)} & set(sys.modules), {words}"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_is_fast_to_import_and_complete(here):
    alone([["--help"], ["train", "--help"], [], ["list", "--help"]], "torch", "numpy")
    alone([["list", "runs", "."], ["data", "list"]], "torch")
    done = subprocess.run(
        [sys.executable, "-m", "pushforward", "train", "--help"], capture_output=True, text=True
    )
    for option in (
        "--data",
        "--budget",
        "--size",
        "--condition",
        "--augment",
        "--precision",
        "--seed",
    ):
        assert option in done.stdout


def test_a_damaged_run_is_a_row_of_the_list(here, capsys):
    for name, text in (
        ("torn", '{"recipe": "fl'),
        ("odd", "[1, 2]"),
        ("old", '{"recipe": "flow", "data": 3}'),
    ):
        (here / "broken" / name).mkdir(parents=True)
        (here / "broken" / name / "spec.json").write_text(text)
    code, out, _ = run(capsys, "list", "runs", ".")
    assert (code, out.count("cannot be read")) == (0, 3)
    shutil.rmtree("broken")


@pytest.mark.parametrize(
    ("error", "code"), [(MemoryError(), 6), (RuntimeError(), 1), (OSError(28, "No space"), 4)]
)
def test_every_error_has_a_line_and_a_code(here, capsys, monkeypatch, error, code):
    def fail(*args):
        raise error

    monkeypatch.setattr("pushforward.training.load", fail)
    monkeypatch.setattr("pushforward.data.listing", fail)
    exit_code, _, err = run(capsys, "data", "list")
    assert exit_code == code
    assert err.startswith("error: ")


def test_output_that_cannot_be_written_or_spelled(here, monkeypatch):
    monkeypatch.delenv(
        "PYTHONUNBUFFERED", raising=False
    )  # what is buffered is written once more at the end
    call = [sys.executable, "-m", "pushforward"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*call, "data", "list"], stdout=full, stderr=subprocess.PIPE, text=True
        )  # imports no torch
    assert done.returncode == 4
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert main(["list", "metrics"]) == 0
    assert b"Fr?chet" in written.getvalue()


def test_lists(here, capsys):
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
    facts = json.loads(run(capsys, "doctor", "--json")[1])
    assert facts["threads"] == torch.get_num_threads()
    assert facts["numpy"] == np.__version__


def test_compare_finished_runs(here, capsys):
    code, out, _ = run(
        capsys, "compare", "./flow", "./gan", "--repeats", "1", "--out", "both", "--json"
    )
    assert code == 0
    assert [row["name"] for row in json.loads(out)["models"]] == ["flow", "gan"]
    assert {"report.html", "report.json", "report.md"} <= set(os.listdir("both"))
    page = open("both/report.html").read()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert len(page) < 8e6


def test_compare_gives_names_of_their_own_and_takes_the_runs_data(here, capsys):
    words = [
        "flow",
        "./flow",
        "--steps",
        "2",
        "--size",
        "tiny",
        "--batch",
        "64",
        "--repeats",
        "1",
        "--n",
        "50",
        "--out",
        "a b",
    ]
    code, out, err = run(capsys, "compare", *words, "--json")
    assert code == 0, err
    assert "write ./" not in err, "both are compared"
    content = json.loads(out)
    names = sorted(row["name"] for row in content["models"])
    assert names == ["./flow", "flow"]
    assert content["commands"] == ["pushforward compare " + " ".join(words[:-1]) + " 'a b' --json"]
    code, out, err = run(
        capsys,
        "compare",
        "vae",
        "./rows",
        "--steps",
        "2",
        "--size",
        "tiny",
        "--repeats",
        "1",
        "--out",
        "t",
    )
    assert code == 0, err
    name = json.loads(Path("t/report.json").read_text())["data"]["name"]
    assert name == "table"
    assert out.startswith("Best ")
    assert re.search(r"^vae +[0-9]", out, re.MULTILINE)
    assert out.splitlines()[-1] == "t/report.html"


def test_compare_takes_the_data_that_says_most(here, capsys):
    actual = run(capsys, "train", "flow", "--condition", "none", "--out", "unlabelled", *TINY)[0]
    assert actual == 0
    words = ["./unlabelled", "./flow", "--repeats", "1", "--n", "50", "--out", "informed", "--json"]
    code, out, err = run(capsys, "compare", *words)
    assert code == 0, err
    assert json.loads(out)["data"]["classes"]


def test_evaluate_samples_as_it_is_told(here, capsys):
    few = ["evaluate", "flow", "--n", "50", "--repeats", "1", "--json"]
    usual, with_options = (
        json.loads(run(capsys, *few, *more)[1])["models"][0]
        for more in ([], ["--solver", "heun", "--steps", "3"])
    )
    assert (with_options["sampling"]["solver"], with_options["sampling"]["calls"]) == ("Heun", 5)
    same, other = (
        json.loads(run(capsys, *few, *more)[1])["models"][0]
        for more in (["--batch", "13"], ["--seed", "7"])
    )
    frechet = [model["scores"]["frechet"]["value"] for model in (usual, same, with_options, other)]
    assert frechet[1] == pytest.approx(frechet[0], rel=1e-4)
    difference = abs(frechet[2] / frechet[0] - 1)
    assert difference > 3e-4
    difference = abs(frechet[3] / frechet[0] - 1)
    assert difference > 3e-4


def test_compare_trains_in_turns_with_seeds(here, capsys):
    words = [
        "vae",
        "flow",
        "--data",
        "moons",
        "--limit",
        "400",
        "--steps",
        "3",
        "--size",
        "tiny",
        "--seeds",
        "2",
    ]
    code, out, err = run(
        capsys,
        "compare",
        *words,
        "--repeats",
        "1",
        "--n",
        "50",
        "--out",
        "toys",
        "--json",
        "--live",
    )
    assert code == 0, err
    assert "4 models" in err
    names = sorted(row["name"] for row in json.loads(out)["models"])
    assert names == ["flow", "vae"]
    assert {"vae-0", "vae-1", "flow-0", "flow-1"} <= set(os.listdir("toys"))
    assert '<a href="live.html">' in Path("toys/report.html").read_text()
    best_first = re.findall(r"^\| (flow|vae) \|", Path("toys/report.md").read_text(), re.MULTILINE)[
        :2
    ]
    assert shown(Path("toys/live.html")) == best_first
    assert '<a href="report.html">' in Path("toys/live.html").read_text()
    here_and_there = [
        signs(Path("toys", name).read_text()) for name in ("report.html", "live.html")
    ]
    assert here_and_there[0] == here_and_there[1], "one colour and sign for each model"
    code, _, err = run(capsys, "compare", "toys", "--live")
    assert (code, "--live" in err) == (2, True), "a report holds no models"


def signs(page):
    """The picture that stands before each model's name."""
    found = re.findall(r"(<svg class=.sign .*?</svg>)(?:<strong>)?(vae|flow)", page)
    assert len({*found}) == 2, "the same wherever it stands"
    return {name: sign for sign, name in found}


def shown(page):
    """The names of the models that a page runs."""
    return [
        about["name"]
        for about in json.loads(re.search('id="descriptions">(.*?)</script>', page.read_text())[1])
    ]


def test_a_live_page_is_refused_before_anything_is_trained(here, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, _, err = run(
        capsys, "compare", "vae", "--data", "moons", "--steps", "3", "--out", "none", "--live"
    )
    assert code == 7
    assert "pip install 'pushforward[onnx]'" in err
    assert not Path("none").exists()


def signalled(code):
    """Exit code and stderr of ``run(name)`` for each signal, in processes forked from one that has
    loaded torch.
    """
    forks = """
for name in ("SIGINT", "SIGTERM"):
    child = os.fork()
    if child == 0:
        # background jobs of a shell inherit that SIGINT is ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(os.open(name + ".txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 2)
        sys.exit(run(name))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    head = (
        "import os, signal, sys, threading, time\nfrom pushforward.cli import main\nfrom "
        "pushforward import recipes, training\n"
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
drawn = transports.Transport.part
def cut(self, start, *args):
    if start == 20:
        assert [name for name in os.listdir() if name.startswith(".tmp-")]
        os.kill(os.getpid(), getattr(signal, transports.name))
    return drawn(self, start, *args)
transports.Transport.part = cut
def run(name):
    transports.name = name
    words = ["--n", "400", "--batch", "10", "--steps", "2", "--out", f"cut-{name}.npz"]
    return main(["sample", "flow", *words])
"""
    for (exit_code, err), wanted, says in zip(
        signalled(code), (130, 143), ("interrupted", ""), strict=True
    ):
        assert exit_code == wanted, err
        assert says in err
        assert "Traceback" not in err
    assert not [name for name in os.listdir() if "cut-SIG" in name]


def test_resume_says_a_finished_run_is_finished_and_extends_it(here, capsys):
    actual = main(["train", "vae", "--data", "moons", "--out", "long", *TINY])
    assert actual == 0
    code, _, err = run(capsys, "resume", "long")
    assert code == 0
    assert "finished" in err
    code, out, _ = run(capsys, "resume", "long", "--steps", "6", "--json")
    assert (code, json.loads(out)["step"]) == (0, 6)


def _seconds(text):
    number, unit = re.fullmatch(r"([\d.,]+) (\S+)", text).groups()
    return (
        float(number.replace(",", ""))
        * {"min": 60, "s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}[unit]
    )


def test_training_says_how_long_it_takes_and_what_the_rest_was(here, capsys, monkeypatch):
    monkeypatch.setattr("pushforward.cli.training.SHORTEST", 0)
    words = ["--data", "ring", "--size", "tiny", "--batch", "16", "--out", "timed"]
    _, _, first = run(capsys, "train", "flow", "--budget", "3s", *words)
    began = time.perf_counter()
    _, _, second = run(capsys, "resume", "timed", "--budget", "4s")
    passed = time.perf_counter() - began
    for err, ahead in ((first, 3), (second, 1)):
        assert "training takes about" in err
        total, parts = re.search("training took (.*?): (.*)", err).groups()
        spent = {}
        for part in parts.split(", "):
            number, unit, what = part.split(" ", 2)
            spent[what] = _seconds(f"{number} {unit}")
        assert spent["in training steps"] == pytest.approx(ahead, rel=0.2)
        assert sum(spent.values()) == pytest.approx(_seconds(total), rel=0.1)
    assert _seconds(total) < passed + 1


def test_ctrl_c_saves_and_resume_goes_on(here):
    code = """
import torch._dynamo  # which optimisers import
def soon(name):
    while not os.path.exists(f"cut-{name}/metrics.jsonl"): time.sleep(.02)
    os.kill(os.getpid(), getattr(signal, name))
def run(name):
    threading.Thread(target=soon, args=[name], daemon=True).start()
    words = ["--data", "moons", "--size", "tiny", "--steps", "1000000", "--batch", "64"]
    return main(["train", "vae", *words, "--out", f"cut-{name}"])
"""
    for (exit_code, err), wanted, folder in zip(
        signalled(code), (130, 75), ("cut-SIGINT", "cut-SIGTERM"), strict=True
    ):
        assert exit_code == wanted, err
        assert f"next: pushforward resume {folder}" in err
        assert os.listdir(f"{folder}/checkpoints")
        step = int(
            max(os.listdir(f"{folder}/checkpoints")).removeprefix("step_").removesuffix(".json")
        )
        actual = main(["resume", folder, "--steps", str(step + 1), "--json"])
        assert actual == 0
        shutil.rmtree(folder)


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
    code = run(capsys, "sample", "flow", "--n", "4", "--out", "kept.npz")[0]
    assert code == 0
    before = open("kept.npz", "rb").read()
    code = run(capsys, "sample", "flow", "--n", "4", "--seed", "9", "--out", "kept.npz")[0]
    assert code == 2
    assert open("kept.npz", "rb").read() == before
    code = run(
        capsys, "sample", "flow", "--n", "4", "--seed", "9", "--out", "kept.npz", "--overwrite"
    )[0]
    assert code == 0
    assert open("kept.npz", "rb").read() != before


def test_only_a_folder_of_samples_is_overwritten(here, capsys):
    words = ["sample", "flow", "--steps", "2", "--out", "pngs"]
    assert run(capsys, *words, "--n", "12")[0] == 0
    actual = run(capsys, *words, "--n", "3", "--overwrite")[0]
    assert actual == 0
    assert len(os.listdir("pngs")) == 3
    open("pngs/notes.txt", "w").close()
    code, _, err = run(capsys, *words, "--n", "3", "--overwrite")
    assert code == 2
    assert "is not overwritten" in err
    assert "notes.txt" in os.listdir("pngs")
    assert len(os.listdir("pngs")) == 4
    assert not [name for name in os.listdir() if name.startswith((".tmp-", ".old-"))]


def test_a_table_keeps_names_and_whole_columns(here, capsys):
    code = run(capsys, "sample", "rows", "--n", "6", "--out", "rows.csv")[0]
    assert code == 0
    lines = open("rows.csv").read().split()
    actual = lines[0].split(",")[:3]
    assert actual == ["height", "weight", "count"]
    assert all(line.split(",")[2].lstrip("-").isdigit() for line in lines[1:])


def test_samples_in_parts_are_the_samples(here, capsys):
    for batch in ("7", "256"):
        code = run(
            capsys, "sample", "rows", "--n", "20", "--batch", batch, "--out", f"b{batch}.npz"
        )[0]
        assert code == 0
    actual = np.load("b7.npz")["x"]
    expected = np.load("b256.npz")["x"]
    np.testing.assert_allclose(actual, expected, atol=1e-4, rtol=1e-4)
    code = run(
        capsys, "sample", "flow", "--n", "5", "--steps", "1", "--batch", "2", "--out", "numbered"
    )[0]
    assert code == 0
    names = sorted(name[0] for name in os.listdir("numbered"))
    assert names == list("01234")


def test_small_images_are_enlarged_in_pictures_and_kept_as_data(here, capsys):
    def size(n, *words, out="zoomed.png", inside=""):
        code = run(
            capsys, "sample", "flow", "--n", n, "--steps", "1", "--overwrite", "--out", out, *words
        )[0]
        assert code == 0
        return Image.open(Path(out) / inside).size

    assert size("9") == (3 * 64 + 2 * 2,) * 2
    assert size("9", "--zoom", "2") == (3 * 16 + 2,) * 2
    small = np.asarray(Image.open("zoomed.png"))[::2, ::2]
    assert size("9", "--zoom", "1") == (3 * 8 + 2,) * 2
    assert (np.asarray(Image.open("zoomed.png"))[:8, :8] == small[:8, :8]).all(), (
        "every pixel is repeated"
    )
    assert size("1") == (8, 8)
    assert size("2", "--label", "3", out="tiles", inside="0-3.png") == (8, 8)
