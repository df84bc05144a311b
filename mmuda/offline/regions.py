"""Regions of a label map that are too small to be believed (Depth Distribution spec 6.2)."""

from collections.abc import Sequence

import cv2
import numpy as np

from mmuda.datasets.classes import IGNORE


def drop_small_regions(label: np.ndarray, min_area: Sequence[int]) -> np.ndarray:
    """Ignore every 8-connected region of one class that has fewer pixels than the class needs.

    Regions are those of the given map: what is dropped joins no others, and is given to none.

    Args:
        label: (H, W) uint8, classes below ``len(min_area)`` or 255.
        min_area: Fewest pixels of a region, for each class.

    Returns:
        (H, W) uint8.
    """
    kept = label.copy()
    for number in np.flatnonzero(np.bincount(label.ravel(), minlength=IGNORE + 1)[: len(min_area)]):
        mask = (label == number).view(np.uint8)
        _, regions, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        small = stats[:, cv2.CC_STAT_AREA] < min_area[number]
        small[0] = False  # the other classes
        if small.any():
            kept[small[regions]] = IGNORE
    return kept


def areas_by_frequency(frequency: Sequence[float], low: int, high: int) -> list[int]:
    """Fewest pixels of a region: ``low`` for the rarest class, ``high`` for the most frequent, linear between them.

    Args:
        frequency: Of each class, in any unit.
        low: Pixels.
        high: Pixels.

    Raises:
        ValueError: All are equally frequent.
    """
    rarest, most = min(frequency), max(frequency)
    if rarest == most:
        raise ValueError(
            f'selector.min_area.frequency is {most} for every class, so none is the rarest: let selector.min_area be '
            'the pixels of each class'
        )
    return [int(low + (high - low) * (one - rarest) / (most - rarest)) for one in frequency]
