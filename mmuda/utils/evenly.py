"""A few out of many."""

import numpy as np


def evenly(total: int, count: int) -> np.ndarray:
    """Numbers of so many items, evenly spread from the first to the last, each once: (min(count, total),) int64."""
    return np.linspace(0, total - 1, min(count, total)).round().astype(int)
