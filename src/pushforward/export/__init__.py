"""Samplers for use without this library: as ONNX files, pages and programs of torch."""

from pushforward.registries import exports

__getattr__ = exports(__name__, __file__)
