"""Readers of files and folders: each format is one file that defines a `Reader`."""

from pushforward.data.readers.reader import (
    FOLDER,
    Examples,
    Reader,
    described,
    examples_in,
    read,
    register,
)

__all__ = ["FOLDER", "Examples", "Reader", "described", "examples_in", "read", "register"]
