"""What a report draws of a map in one call beside its teacher."""

import dataclasses

import numpy as np
from programs.rungs import content, points

from pushforward.evaluation.measurements import Pictures
from pushforward.report import Report
from pushforward.report.sprites import Look

OWN = dataclasses.replace(points(0.02)[0], steps=16, calls=16)


def test_differences_of_images_are_enlarged_as_far_as_they_fit():
    own = np.full((40, 9, 7, 1), 100, np.uint8)
    jumped = own.copy()
    jumped[:, 2:5] += 50
    pictures = {"student": Pictures(own, pair=(jumped, own))}
    shown, factor = Look(pictures).pair("student", 0)
    assert (len(shown), factor) == (3, 4)
    assert Look({"student": Pictures(own, pair=(own, own))}).pair("student", 0)[1] == 8
    assert Look({"student": Pictures(own, pair=(own, own[:3]))}).pair("student", 0) == ([], 1)
    page = Report(dataclasses.replace(content(OWN, rungs=points(0.03)), pictures=pictures)).to_html()
    assert "|difference| × 4" in page
    assert Look(pictures).moved("student") is None


def test_points_are_joined_to_the_teachers_points_of_the_same_noise():
    rng = np.random.default_rng(0)
    own, real = rng.normal(size=(30, 2)), rng.normal(size=(50, 2))
    jumped = own + 0.25
    pictures = {"student": Pictures(jumped, pair=(jumped, own)), "real": Pictures(real)}
    look = Look(pictures)
    lines = look.moved("student")
    np.testing.assert_allclose(lines, np.stack([own, jumped], 1))
    assert look.pair("student", 0) == ([], 1)
    page = Report(dataclasses.replace(content(OWN, rungs=points(0.03)), pictures=pictures)).to_html()
    section = page[page.index('<section id="ladder"') :].split("</section>")[0]
    assert section.count('<path class="way"') == 30
