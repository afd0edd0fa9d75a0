"""Checks for parts of your own: each takes a part and raises an `AssertionError` that names the law that it breaks.

    from pushforward.testing import check_solver

    def test_my_solver():
        check_solver(MySolver)

The package's own solvers, paths, metrics, methods and recipes are tested by the same functions. docs/check-your-part.md
explains them. Beside them stand the problems with known answers that they use: denoisers in closed form, and small data sets.
"""

from pushforward.testing.features import check_features
from pushforward.testing.laws import Broken
from pushforward.testing.methods import check_method, check_seeds, moved, stirred
from pushforward.testing.metrics import check_metric, sample_sets
from pushforward.testing.paths import EVERY_PATH, check_path, pairs
from pushforward.testing.problems import PATHS, Correlated, Counting, Mixture, end, error, measured_order, moments, ring, truth
from pushforward.testing.recipes import (
    Trained,
    assert_same,
    check_recipe,
    check_resumed,
    check_sampled,
    check_scored,
    check_stored,
    final_state,
    in_few_steps,
    train_twice,
)
from pushforward.testing.samples import CASES, IDS, IMAGES_ONLY, SHAPES, class_labels, recipe_for, shape_for, space_data
from pushforward.testing.solvers import check_calls, check_moments, check_order, check_solver
from pushforward.testing.spaces import check_space

__all__ = [
    "CASES",
    "EVERY_PATH",
    "IDS",
    "IMAGES_ONLY",
    "PATHS",
    "SHAPES",
    "Broken",
    "Correlated",
    "Counting",
    "Mixture",
    "Trained",
    "assert_same",
    "check_calls",
    "check_features",
    "check_method",
    "check_metric",
    "check_moments",
    "check_order",
    "check_path",
    "check_recipe",
    "check_resumed",
    "check_sampled",
    "check_scored",
    "check_seeds",
    "check_solver",
    "check_space",
    "check_stored",
    "class_labels",
    "end",
    "error",
    "final_state",
    "in_few_steps",
    "measured_order",
    "moments",
    "moved",
    "pairs",
    "recipe_for",
    "ring",
    "sample_sets",
    "shape_for",
    "space_data",
    "stirred",
    "train_twice",
    "truth",
]
