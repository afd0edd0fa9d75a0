"""Finishing an untrained map of points."""

import pushforward as pf
from pushforward.testing import recipe_for, space_data
from pushforward.training.api import prepare

DATA = space_data((2,), labels=False, n=200)


def finishing(**options):
    """The recipe that finishes an untrained teacher."""

    def recipe(space, size="small", *, teacher: pf.FlowMap):
        return pf.recipes.finish(space, size, teacher=teacher, **options)

    return recipe_for(recipe, DATA)


def begun(recipe, folder, **options):
    return prepare(recipe, DATA, out=folder, seed=1, **options)
