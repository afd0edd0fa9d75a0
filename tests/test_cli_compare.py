"""Comparisons and evaluations on the command line."""

import json
import os
import re
from pathlib import Path

import pytest
from programs.command_line import TINY, run


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
    assert "the recipe is trained" not in err, "both are compared"
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


def test_compare_trains_in_turns_with_seeds(here, capsys):
    words = ["vae", "flow", "--data", "moons", "--limit", "400", "--steps", "3", "--size", "tiny", "--seeds", "2"]
    code, out, err = run(capsys, "compare", *words, "--repeats", "1", "--n", "50", "--out", "toys", "--json")
    assert code == 0, err
    assert "\n4 models train in turns of 5 s; the time left of each is that of its own training\n" in err
    assert [row["name"] for row in json.loads(out)["models"]] == ["vae", "flow"]
    assert {"vae-0", "vae-1", "flow-0", "flow-1"} <= set(os.listdir("toys"))
