"""Prompt lengths in bins: 500 tokens wide, finer where prompts are short, wider where bins would be too many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["bin_label", "edges_of", "width_of"]

USUAL = 500
_FINER = (200, 100, 50, 20, 10, 5, 2, 1)
_WIDER = (500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000)
_MOST_BOXES, _FEWEST_BARS = 16, 12


def width_of(lengths: NDArray[np.float64]) -> int:
    """The width for the box plots: 500 tokens; finer where all are shorter than 1,000 or alike, wider where bins are over 16.

    Args:
        lengths: The prompts' lengths; at least one.
    """
    spread = float(lengths.max() - lengths.min())
    if lengths.max() < 2 * USUAL or spread < USUAL:
        return next((width for width in _FINER if spread >= 3 * width), USUAL)
    fit = (width for width in _WIDER if len({int(length) // width for length in lengths}) <= _MOST_BOXES)
    return next(fit, _WIDER[-1])


def bin_label(length: float, width: int) -> str:
    """The bin that a length falls into: ``<500``, ``500-1000`` …, each without its upper end."""
    start = int(length) // width * width
    return f"<{width}" if start == 0 else f"{start}-{start + width}"


def edges_of(lengths: Mapping[str, NDArray[np.float64]], width: int | None) -> list[float]:
    """The edges of a histogram's bars: at least a dozen bars, unless a width is given or there are not so many lengths."""
    low = min(float(values.min()) for values in lengths.values())
    high = max(float(values.max()) for values in lengths.values())
    step = width or next((w for w in (*reversed(_WIDER), *_FINER) if (high - low) / w >= _FEWEST_BARS), 1)
    first = int(low // step)
    return [float(step * index) for index in range(first, int(high // step) + 2)]
