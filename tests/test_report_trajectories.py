"""Trajectories in the report: its tables, charts and drawings of them."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from programs.report_pages import Reader, check_page, of_toys, toy_content
from programs.reporting import comparison, model, report

from pushforward.report import tables
from pushforward.report.path_charts import CROSS
from pushforward.report.sprites import Look


@pytest.fixture(scope="module")
def toy_pictures():
    return of_toys()


def test_trajectories_are_a_table_of_the_models_that_have_any(content):
    table = [[cell.value for cell in row.cells] for row in tables.trajectories(comparison(content)).rows]
    assert table == [["0.125", "250"], ["1.12", "250"]]
    assert "NPE" not in Reader(report(content).to_html()).text, "nobody has one"
    table = tables.trajectories(comparison(toy_content(content)))
    assert [column.label for column in table.columns] == ["Straightness", "NPE", "Trajectories"]
    assert [row.cells[1].value for row in table.rows] == ["0.310", "0.480"]
    read, text = Reader(report(content).to_html()), report(content).to_markdown()
    for rendered in (read.text, text):
        assert "which one step suffices" in rendered
        assert "NPE, the normalised path energy" in rendered
    assert "| ddpm | 1.12 | 0.480 | 250 |" in text


def test_losses_by_noise_level_line_up_by_level(content):
    """The shorter path lacks the noisiest level; the noisier, the further right, and one line for each iterative model."""
    model(content, "flow")["trajectory"]["loss_by_level"].reverse()
    table = tables.levels(comparison(content))
    assert [column.label for column in table.columns] == ["flow", "ddpm"]
    assert [row.name for row in table.rows][::2] == ["0.0111 (log-SNR 9)", "1 (log-SNR 0)", "90.0 (log-SNR −9)"]
    assert [cell.flat for cell in table.rows[0].cells] == ["1.210 ± 0.012", "1.310 ± 0.012"]
    assert [cell.flat for cell in table.rows[-1].cells] == ["1.210 ± 0.012", "–"]
    page = report(content).to_html()
    chart = re.search(r'<svg[^>]*aria-label="Mean squared error in v against.*?</svg>', page, re.S)[0]
    assert re.findall(r"<title>(\w+): ([\d.]+) at ([\d.]+)</title>", chart)[:2] == [
        ("flow", "1.21", "0.0111"),
        ("flow", "0.603", "0.105"),
    ]
    across = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', chart)]
    assert len(across) == 5
    assert across == sorted(across)
    assert chart.count('class="line"') == 2


def test_trajectories_in_the_plane_are_drawn_from_noise_to_sample(content, toy_pictures):
    toy_pictures = {name: dict(parts) for name, parts in toy_pictures.items()}
    lines = toy_pictures["flow"]["paths"] = toy_pictures["flow"]["paths"].copy()
    lines[7, 3] = np.nan
    page = report(toy_content(content), toy_pictures).to_html()
    check_page(page)
    charts = re.findall(r'<svg[^>]*aria-label="Trajectories of (\w+), from noise to data".*?</svg>', page, re.S)
    assert charts == ["flow", "ddpm"]
    chart = re.search(r'<svg[^>]*aria-label="Trajectories of flow.*?</svg>', page, re.S)[0]
    assert chart.count('class="way"') == 59, "a line that is not finite is left out"
    limits = Look(comparison({}, toy_pictures).pictures).paths_limits()
    assert limits[0] < lines[:, 0, 0].min()
    assert lines[:, 0, 1].max() < limits[3]
    corner = rf'd="M([-\d.]+) ([-\d.]+){CROSS}"'
    for sign, place, off, at in (("from", corner, 2.4, 0), ("to", r'cx="([-\d.]+)" cy="([-\d.]+)"', 0.0, -1)):
        x, y = (float(number) + off for number in re.search(f'class="{sign}" {place}', chart).groups())
        assert limits[0] + x / 320 * (limits[1] - limits[0]) == pytest.approx(lines[0, at, 0], abs=0.02)
        assert limits[3] - y / 320 * (limits[3] - limits[2]) == pytest.approx(lines[0, at, 1], abs=0.02)


def test_reports_made_before_trajectories_still_open(content, toy_pictures):
    for entry in content["models"]:
        del entry["trajectory"]
    older = {name: {key: part for key, part in parts.items() if key != "paths"} for name, parts in toy_pictures.items()}
    page = report(json.loads(json.dumps(content)), older).to_html()
    read = check_page(page)
    assert "trajectories" not in read.ids
    assert "Loss by noise level" not in read.text
    assert "rajector" not in report(content).to_markdown()
