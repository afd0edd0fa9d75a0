"""Samples of edits, with the unconditional model by default."""

from pushforward.editing import edited_condition, inpainting, super_resolution, variations


def vary(flow, x, strength, n, condition=None, **options):
    varied, given = variations(flow, x, strength, condition)
    return varied.sample(n, given, **options)


def inpaint(flow, x, mask, n, condition=None, seed=0, batch=256, **leading):
    filler = inpainting(flow, x, mask, **leading)
    return filler.sample(n, edited_condition(filler, condition), seed=seed, batch=batch)


def super_resolve(flow, low, n, condition=None, seed=0, batch=256, **leading):
    enlarger = super_resolution(flow, low, **leading)
    return enlarger.sample(n, edited_condition(enlarger, condition), seed=seed, batch=batch)
