"""What a report says of a map that was finished, beside the map that it starts from."""

import pytest
from programs.rungs import content, points

from pushforward.report.findings import findings


def said(comparison):
    return [finding.text for finding in findings(comparison) if finding.link == "ladder" and finding.kind == "verdict"]


@pytest.mark.parametrize(
    ("values", "than"), [((0.015, 0.02), "nowhere"), ((0.015, 0.026, 0.026), "measurably worse in 2 calls, 4")]
)
def test_a_finished_map_is_compared_in_as_many_calls(values, than):
    """Samplings agree, so that the spread of real data counts, .002: 2.4 times that, as three points are compared."""
    (claim,) = said(content(points(0.02)[0], rungs=points(*values)))
    assert "its teacher in 1 call" in claim
    assert than in claim


def test_of_a_finish_that_ended_with_the_weights_of_its_start_nothing_is_said_to_be_gained():
    (claim,) = said(content(points(0.02)[0], rungs=points(0.02, 0.02), weights_step=0))
    assert claim == "The finish of student gained nothing: its weights are those of its start."
