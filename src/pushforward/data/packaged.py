"""Tables that other packages hold, read without importing these packages."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["whole_numbers"]


def whole_numbers(package: str, file: str) -> NDArray[np.int64] | None:
    """The rows of a .csv or .csv.gz of whole numbers inside an installed package.

    Args:
        package: Its name.
        file: The path of the file inside it.

    Returns:
        int64 (rows, columns); None where this version of the package has no such file.
    """
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / file
        if path.is_file():
            return np.loadtxt(path, delimiter=",", dtype=np.int64, ndmin=2)
    return None
