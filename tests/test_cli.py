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
from programs.command_line import TINY, answer, run
from programs.text_tables import cases

import pushforward as pf
from pushforward.cli import main
from pushforward.cli.comparison import write_live_page


@cases("""
    command                                      code  says
    train flow --stepz 5                         2     --steps
    train flow --stepz                           2     option --stepz. Did you mean "--steps"?
    train flow --foo --data moons --bar          2     Unknown option --foo.
    distil flow --trajectoriez                   2     Did you mean "--trajectories"?
    train flow --coupling --data moons           2     --coupling needs a value.
    train flwo                                   2     Did you mean "flow"
    finish run                                   2     pushforward train finish --help
    train flow --data digit                      2     digits
    train flow --data moons --network unet       2     needs images
    train flow --steps 5 --budget 5s             2     exactly one budget
    train gan --latent-size many                 2     needs a number
    train flow --data table.csv --table no       3     kind
    sample nothing                               2     There is no folder nothing.
    sample flow --solver hein                    2     heun
    sample flow --out x.jpg                      2     .png
    sample flow --n 0                            2     Must be >= 1
    sample gan --steps 5                         2     in one call
    data check digits --given ''                 2     --given
    sample flow --out gan --overwrite            2     not overwritten
    train gan --gamma nan                        2     gamma
    evaluate flow --n 100000                     2     held
    evaluate flow --metrics frechett             2     frechet
    compare gann                                 2     Did you mean "gan"
    compare ./flow ./rows                        2     examples of shape
    compare flow flow                            2     --seeds
    compare ./flow --steps 5 --size tiny         2     --steps, --size cannot be used here
    train flow --out plain                       2     Choose another --out.
    train flow digits                            2     digits
    train                                        2     recipe
    train flow --data none.csv --stpes 5         2     Did you mean "--steps"
    train gan --init flow --size tiny            2     recipe flow there and gan here
    train flow --steps 2m                        2     "2m" is not a count
    evaluate flow --plugin ./mnie.py             2     ./mnie.py
""")
def test_a_mistake_gets_one_clear_message(here, capsys, command, code, says):
    before = sorted(os.listdir(here))
    exit_code, out, err = run(capsys, command)
    assert exit_code == code, err
    assert out == ""
    assert says in err
    assert sorted(os.listdir(here)) == before, "a refused command leaves nothing behind"


def python(*words):
    """What Python prints in a process of its own."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@cases("""
    command       absent
    --help        torch numpy
    train --help  torch numpy
    ''            torch numpy
    list --help   torch numpy
    list runs .   torch
    data list     torch
""")
def test_help_and_lists_are_fast_to_import(here, command, absent):
    code = f"""
import sys
from pushforward.cli import main
main({command.split()})
print(sys.modules.keys() & {absent.split()})
"""
    assert python("-c", code).endswith("set()\n")


def test_help_names_every_option(here):
    said = python("-m", "pushforward", "train", "--help")
    options = "--data --budget --size --condition --augment --precision --seed"
    for option in options.split():
        assert option in said


def test_a_damaged_run_is_a_row_of_the_list(here, capsys):
    specs = {"torn": '{"recipe": "fl', "odd": "[1, 2]", "old": '{"recipe": "flow", "data": 3}'}
    for name, text in specs.items():
        folder = here / "broken" / name
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text(text)
    out = answer(capsys, "list runs .")
    assert out.count("cannot be read") == 3
    shutil.rmtree("broken")


def test_output_that_cannot_be_written(here, monkeypatch):
    # what is buffered is written once more at the end
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    words = [sys.executable, "-m", "pushforward", "data", "list"]  # imports no torch
    with open("/dev/full", "w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 4
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_output_that_cannot_be_spelled(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert main(["list", "metrics"]) == 0
    assert b"Fr?chet" in written.getvalue()


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


@cases("""
    command       name
    list recipes  edm
    list solvers  heun
    list metrics  frechet
    list runs .   flow
    data list     swissroll
""")
def test_lists(here, capsys, command, name):
    assert name in answer(capsys, command)
    assert json.loads(answer(capsys, command, "--json"))


def test_the_doctor_names_threads_and_versions(capsys):
    facts = json.loads(answer(capsys, "doctor --json"))
    assert facts["threads"] == torch.get_num_threads()
    assert facts["numpy"] == np.__version__


def names_of(content):
    return sorted(model["name"] for model in content["models"])


def test_compare_finished_runs(here, capsys):
    out = answer(capsys, "compare ./flow ./gan --repeats 1 --out both --json")
    assert names_of(json.loads(out)) == ["flow", "gan"]
    assert {"report.html", "report.json", "report.md"} <= set(os.listdir("both"))
    page = Path("both/report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert len(page) < 8e6


def test_compare_gives_names_of_their_own(here, capsys):
    line = "compare flow ./flow --steps 2 --size tiny --batch 64 --repeats 1 --n 50 --out 'a b'"
    code, out, err = run(capsys, f"{line} --json")
    assert code == 0, err
    assert "write ./" not in err, "both are compared"
    content = json.loads(out)
    assert names_of(content) == ["./flow", "flow"]
    assert content["commands"] == [f"pushforward {line} --json"]


def test_compare_takes_the_runs_data(here, capsys):
    out = answer(capsys, "compare vae ./rows --steps 2 --size tiny --repeats 1 --out t")
    report = json.loads(Path("t/report.json").read_text())
    assert report["data"]["name"] == "table"
    assert out.startswith("Best ")
    assert re.search(r"^vae +[0-9]", out, re.MULTILINE)
    assert out.splitlines()[-1] == "t/report.html"


def test_compare_takes_the_data_that_says_most(here, capsys):
    answer(capsys, "train flow --condition none --out unlabelled", *TINY)
    out = answer(capsys, "compare ./unlabelled ./flow --repeats 1 --n 50 --out informed --json")
    assert json.loads(out)["data"]["classes"]


def test_evaluate_samples_as_it_is_told(here, capsys):
    def evaluated(options=""):
        out = answer(capsys, f"evaluate flow --n 50 --repeats 1 --json {options}")
        return json.loads(out)["models"][0]

    def frechet(model):
        return model["scores"]["frechet"]["value"]

    usual = frechet(evaluated())
    with_heun = evaluated("--solver heun --steps 3")
    assert with_heun["sampling"]["solver"] == "Heun"
    assert with_heun["sampling"]["calls"] == 5
    in_batches = frechet(evaluated("--batch 13"))
    assert in_batches == pytest.approx(usual, rel=1e-4)
    with_other_seed = frechet(evaluated("--seed 7"))
    for other in (frechet(with_heun), with_other_seed):
        assert other != pytest.approx(usual, rel=3e-4)


def test_compare_trains_in_turns_with_seeds(here, capsys):
    code, out, err = run(
        capsys,
        "compare vae flow --data moons --limit 400 --steps 3 --size tiny --seeds 2 "
        "--repeats 1 --n 50 --out toys --json --live",
    )
    assert code == 0, err
    assert "4 models" in err
    assert names_of(json.loads(out)) == ["flow", "vae"]
    assert {"vae-0", "vae-1", "flow-0", "flow-1"} <= set(os.listdir("toys"))
    report = Path("toys/report.html").read_text()
    live = Path("toys/live.html").read_text()
    assert '<a href="live.html">' in report
    assert '<a href="report.html">' in live
    table = Path("toys/report.md").read_text()
    best_first = re.findall(r"^\| (flow|vae) \|", table, re.MULTILINE)
    descriptions = re.search('id="descriptions">(.*?)</script>', live)[1]
    shown = [about["name"] for about in json.loads(descriptions)]
    assert shown == best_first[:2]
    assert signs(report) == signs(live), "one colour and sign for each model"
    code, _, err = run(capsys, "compare toys --live")
    assert code == 2
    assert "--live" in err, "a report holds no models"


def test_a_model_keeps_its_number_on_a_live_page_without_the_others(here, tmp_path):
    run = pf.load("flow")
    comparison = pf.compare({"a": run, "b": run}, n=40, repeats=1)
    _, second = comparison.models
    report = pf.Report(comparison)
    report.save_all(tmp_path)
    write_live_page(report, tmp_path, {second.name: run})
    live = (tmp_path / "live.html").read_text()
    descriptions = re.search('id="descriptions">(.*?)</script>', live)[1]
    (about,) = json.loads(descriptions)
    assert about["name"] == second.name
    assert about["number"] == 1


def signs(page):
    """The picture that stands before each model's name."""
    found = re.findall(r"(<svg class=.sign .*?</svg>)(?:<strong>)?(vae|flow)", page)
    assert len({*found}) == 2, "the same wherever it stands"
    return {name: sign for sign, name in found}


def test_a_live_page_is_refused_before_anything_is_trained(here, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, _, err = run(capsys, "compare vae --data moons --steps 3 --out none --live")
    assert code == 7
    assert "pip install 'pushforward[onnx]'" in err
    assert not Path("none").exists()


HEAD = """
import os, signal, sys, threading, time
from pushforward.cli import main
from pushforward import recipes, training
"""


FORKS = """
for name in ("SIGINT", "SIGTERM"):
    child = os.fork()
    if child == 0:
        # background jobs of a shell inherit that SIGINT is ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(os.open(name + ".txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 2)
        sys.exit(run(name))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def signalled(code):
    """Exit code and stderr of ``run(name)`` for each signal, in processes forked from one that has
    loaded torch.
    """
    done = forking.run(HEAD + code + FORKS)
    assert done.returncode == 0, done.stderr
    interrupted, terminated = map(int, done.stdout.split())
    return {
        "SIGINT": (interrupted, Path("SIGINT.txt").read_text()),
        "SIGTERM": (terminated, Path("SIGTERM.txt").read_text()),
    }


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
    words = f"--n 400 --batch 10 --steps 2 --out cut-{name}.npz"
    return main(["sample", "flow", *words.split()])
"""
    answers = signalled(code)
    for signal, wanted in (("SIGINT", 130), ("SIGTERM", 143)):
        exit_code, err = answers[signal]
        assert exit_code == wanted, err
        assert "Traceback" not in err
    assert "interrupted" in answers["SIGINT"][1]
    assert not list(here.glob("*cut-SIG*"))


def test_resume_says_a_finished_run_is_finished_and_extends_it(here, capsys):
    answer(capsys, "train vae --data moons --out long", *TINY)
    code, _, err = run(capsys, "resume long")
    assert code == 0
    assert "finished" in err
    out = answer(capsys, "resume long --steps 6 --json")
    assert json.loads(out)["step"] == 6


UNITS = {"min": 60, "s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}


def _seconds(text):
    number, unit = re.fullmatch(r"([\d.,]+) (\S+)", text).groups()
    return float(number.replace(",", "")) * UNITS[unit]


def test_training_says_how_long_it_takes_and_what_the_rest_was(here, capsys, monkeypatch):
    monkeypatch.setattr("pushforward.cli.training.SHORTEST", 0)
    options = "--data ring --size tiny --batch 16 --out timed"
    _, _, first = run(capsys, f"train flow --budget 1s {options}")
    began = time.perf_counter()
    _, _, second = run(capsys, "resume timed --budget 4s")
    passed = time.perf_counter() - began
    for err, ahead in ((first, 1), (second, 3)):
        assert "training takes about" in err
        total, parts = re.search("training took (.*?): (.*)", err).groups()
        spent = {}
        for part in parts.split(", "):
            number, unit, what = part.split(" ", 2)
            spent[what] = _seconds(f"{number} {unit}")
        assert spent["in training steps"] == pytest.approx(ahead, rel=0.2)
        assert sum(spent.values()) == pytest.approx(_seconds(total), rel=0.1)
    assert _seconds(total) < passed + 1


def test_ctrl_c_saves_and_resume_goes_on(here, capsys):
    code = """
import torch._dynamo  # which optimisers import
def soon(name):
    while not os.path.exists(f"cut-{name}/metrics.jsonl"): time.sleep(.02)
    os.kill(os.getpid(), getattr(signal, name))
def run(name):
    threading.Thread(target=soon, args=[name], daemon=True).start()
    words = f"--data moons --size tiny --steps 1000000 --batch 64 --out cut-{name}"
    return main(["train", "vae", *words.split()])
"""
    answers = signalled(code)
    for signal, wanted in (("SIGINT", 130), ("SIGTERM", 75)):
        exit_code, err = answers[signal]
        folder = f"cut-{signal}"
        assert exit_code == wanted, err
        assert f"next: pushforward resume {folder}" in err
        last = max(os.listdir(f"{folder}/checkpoints"))
        step = int(re.search(r"\d+", last)[0])
        answer(capsys, f"resume {folder} --steps {step + 1} --json")
        shutil.rmtree(folder)


def test_sample_writes_by_the_ending(here, capsys):
    for name in ("a.png", "a.npz", "a.gif", "folder"):
        out = answer(capsys, f"sample flow --n 9 --steps 3 --out {name}")
        assert out.strip() == name
    with np.load("a.npz") as file:
        assert file["x"].shape == (9, 8, 8, 1)
        assert file["x"].dtype == np.uint8
        assert file["label"].shape == (9,)
    assert len(os.listdir("folder")) == 9
    assert Image.open("a.gif").n_frames > 3


def test_existing_output_is_kept_unless_told(here, capsys):
    file = Path("kept.npz")
    answer(capsys, "sample flow --n 4 --out kept.npz")
    before = file.read_bytes()
    code, _, _ = run(capsys, "sample flow --n 4 --seed 9 --out kept.npz")
    assert code == 2
    assert file.read_bytes() == before
    answer(capsys, "sample flow --n 4 --seed 9 --out kept.npz --overwrite")
    assert file.read_bytes() != before


def test_only_a_folder_of_samples_is_overwritten(here, capsys):
    command = "sample flow --steps 2 --out pngs"
    folder = Path("pngs")
    answer(capsys, f"{command} --n 12")
    answer(capsys, f"{command} --n 3 --overwrite")
    assert len(os.listdir(folder)) == 3
    (folder / "notes.txt").touch()
    code, _, err = run(capsys, f"{command} --n 3 --overwrite")
    assert code == 2
    assert "is not overwritten" in err
    assert (folder / "notes.txt").exists()
    assert len(os.listdir(folder)) == 4
    left = [name for name in os.listdir() if name.startswith((".tmp-", ".old-"))]
    assert left == []


def test_a_table_keeps_names_and_whole_columns(here, capsys):
    answer(capsys, "sample rows --n 6 --out rows.csv")
    header, *lines = Path("rows.csv").read_text().split()
    assert header.startswith("height,weight,count,")
    for line in lines:
        count = line.split(",")[2]
        assert count.lstrip("-").isdigit()


def test_samples_in_parts_are_the_samples(here, capsys):
    for batch in (7, 256):
        answer(capsys, f"sample rows --n 20 --batch {batch} --out b{batch}.npz")
    actual = np.load("b7.npz")["x"]
    expected = np.load("b256.npz")["x"]
    np.testing.assert_allclose(actual, expected, atol=1e-4, rtol=1e-4)


def test_files_of_samples_in_parts_are_numbered_through(here, capsys):
    answer(capsys, "sample flow --n 5 --steps 1 --batch 2 --out numbered")
    numbers = sorted(name[0] for name in os.listdir("numbered"))
    assert "".join(numbers) == "01234"


def test_small_images_are_enlarged_in_pictures(here, capsys):
    def picture(options):
        answer(capsys, f"sample flow --steps 1 --overwrite --out zoomed.png {options}")
        return np.asarray(Image.open("zoomed.png"))

    def side(options):
        height, width = picture(options).shape[:2]
        assert height == width
        return width

    assert side("--n 9") == 3 * 64 + 2 * 2
    twice = picture("--n 9 --zoom 2")
    assert len(twice) == 3 * 16 + 2
    once = picture("--n 9 --zoom 1")
    assert len(once) == 3 * 8 + 2
    assert np.array_equal(once[:8, :8], twice[:16:2, :16:2]), "every pixel is repeated"
    assert side("--n 1") == 8


def test_images_are_kept_as_data(here, capsys):
    answer(capsys, "sample flow --n 2 --steps 1 --label 3 --out tiles")
    assert Image.open("tiles/0-3.png").size == (8, 8)
