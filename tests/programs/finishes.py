"""Finishes of a small map."""

import pushforward as pf
from pushforward.testing import recipe_for, space_data
from pushforward.training.api import prepare

DATA = space_data((2,), labels=False, n=200)


def finishing(data=DATA, **options):
    def recipe(space, size="small", *, teacher: pf.FlowMap):
        return pf.recipes.finish(space, size, teacher=teacher, **options)

    return recipe_for(recipe, data)


def begun(recipe, data, folder, **options):
    return prepare(recipe, data, out=folder, seed=1, **options)
