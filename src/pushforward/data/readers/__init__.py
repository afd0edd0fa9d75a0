"""Readers of files and folders: a format is one file, which defines a `Reader`."""

from pushforward.data.readers.names import described, examples_in, left_out, read, register
from pushforward.data.readers.reader import FOLDER, Examples, Reader

__all__ = ["FOLDER", "Examples", "Reader", "described", "examples_in", "left_out", "read", "register"]
