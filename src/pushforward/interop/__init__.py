"""Conversion of models from and to diffusers folders; only safetensors weights are read."""

from pushforward.registries import exports

__getattr__ = exports(__name__, __file__)
