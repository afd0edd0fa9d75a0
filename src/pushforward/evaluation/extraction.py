"""What an extractor gives for examples as files would give them back, and what it must not give."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.data.spaces import Space
from pushforward.errors import DataError, UsageError
from pushforward.metrics.score import check_finite


def quantised(x: Tensor | np.ndarray, space: Space) -> Tensor:
    """Examples as a file would give them back: images rounded to 256 levels, whole columns to whole numbers; float32.

    Args:
        x: (n, *shape), data units; or uint8 images.
        space: The data's shape and units.

    Raises:
        Diverged: If examples hold NaN or infinity.
        DataError: If their shape is not the data's.
    """
    examples = torch.from_numpy(np.ascontiguousarray(x)) if isinstance(x, np.ndarray) else x.detach().cpu()
    if tuple(examples.shape[1:]) != tuple(space.shape) or len(examples) == 0:
        raise DataError(f"Expected at least one example of shape {tuple(space.shape)}, got {tuple(examples.shape)}.")
    if examples.dtype == torch.uint8 and space.levels is not None:
        return examples.float() / (space.levels - 1)
    examples = examples.float()
    check_finite("generated", examples.numpy())
    return space.rounded(examples)


def extracted(x: Tensor | np.ndarray, space: Space, network: nn.Module, name: str) -> np.ndarray:
    """Features before centre, scale and axes, float64 (m, f)."""
    examples = quantised(x, space)
    device = next(network.parameters(), examples).device
    try:
        with torch.no_grad():
            out = network(examples.to(device))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        shape = tuple(examples.shape)
        raise UsageError(f"The features {name} cannot read float32 examples {shape}: {type(error).__name__}: {error}") from error
    if not isinstance(out, Tensor) or out.dim() < 2 or len(out) != len(examples):
        what = f"a tensor {tuple(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
        raise UsageError(
            f"The features {name} gave {what} for {len(examples)} examples: expected a tensor ({len(examples)}, features)."
        )
    features: np.ndarray = out.flatten(1).double().cpu().numpy()
    wrong = int((~np.isfinite(features)).any(1).sum())
    if wrong:
        raise UsageError(
            f"The features {name} are NaN or infinite for {wrong} of {len(examples)} examples, whose values are finite."
        )
    return features
