"""Order statistics of the confidences of every class over a whole data set, exact and in bounded memory."""

import numpy as np
import torch
from mmengine.dist import all_reduce
from torch import Tensor

BINS = 65536
HALF_VALUES = 15361
"""How many numbers from 0 to 1 half precision has. Their bit patterns, from 0 on, are in their order."""


class ClassQuantiles:
    """Values at given ranks of each class's confidences, from two integer histograms that merge by summation.

    .. code:: text

     observe() every image, merge()   65536 equal bins per class
     narrow(ranks)                    the bin that holds each class's rank: right to 1/65536
     observe() every image, merge()   every float32 value inside that bin
     values()                         exactly the float32 that sorting all confidences would find

    Neither histogram depends on the order of the images or on who has seen them. Memory: 8 bytes per class and bin
    (10 MB at 19 classes), whatever the number of images.

    Args:
        num_classes: Number of classes, C.
        device: Where the confidences are.
        stride: Of each image and class, only every ``stride``-th of the ascending confidences counts, from the smallest
            one on (LDBE spec 6.1).
    """

    def __init__(self, num_classes: int, device: torch.device | str, stride: int = 1) -> None:
        self.stride = stride
        self.lowest: Tensor | None = None  # (C,) int32: bit pattern of the lower edge of each class's bin
        self.ranks: Tensor | None = None  # (C, 1)
        self.upto = torch.zeros(num_classes, BINS + 2, dtype=torch.int64, device=device)  # cumulative counts

    def observe(self, conf: Tensor, label: Tensor) -> None:
        """Count one image.

        Args:
            conf: Largest probability of each pixel (H, W), float32 in [1 / C, 1].
            label: Its class (H, W), integers below C.
        """
        classes, slots = self.upto.shape
        label = label.flatten().int()
        # The first and the last slot of a class take what lies below and above the window of keys.
        slot = (self._keys(conf.flatten(), label) + 1).clamp_(0, slots - 1).add_(label, alpha=slots)
        upto = slot.bincount(minlength=classes * slots).view(classes, slots).cumsum(1, dtype=torch.int32)
        # Of the ranks 0, 1, 2, ... of this image those divisible by the stride: ceil(n / stride) among the first n.
        self.upto += (upto + (self.stride - 1)) // self.stride

    def merge(self) -> None:
        """Add up what all processes have counted."""
        all_reduce(self.upto, op='sum')

    def totals(self) -> list[int]:
        """How many confidences count per class."""
        return self.upto[:, -1].tolist()

    def narrow(self, ranks: list[int]) -> Tensor:
        """Find each class's bin, and make ready for a second look at the images.

        Args:
            ranks: Wanted rank of each class among its confidences in ascending order, from 0.

        Returns:
            Upper edge of each bin (C,) float32: at least the value at that rank, by 1/65536 at most. A class without
            confidences has infinity.
        """
        self.ranks = torch.tensor(ranks, device=self.upto.device)[:, None]
        bins, self.empty = self._window_key().clamp_(0, BINS - 1), self.upto[:, -1] == 0
        edges = torch.stack([bins, bins + 1]).float() / BINS  # (2, C), exact: a power of two divides
        self.lowest, highest = edges.view(torch.int32)
        width = int((highest - self.lowest).max()) + 1  # 256 values in a bin above 1/2, twice as many with each halving
        self.upto = self.upto.new_zeros(len(bins), width + 2)
        return edges[1].masked_fill(self.empty, torch.inf)

    def values(self) -> Tensor:
        """Return the values at the ranks (C,) float32, after the second look; infinity for a class without any."""
        value = (self.lowest + self._window_key()).int().view(torch.float32)
        return value.masked_fill(self.empty, torch.inf)

    def _keys(self, conf: Tensor, label: Tensor) -> Tensor:
        """Integers (n,) int32 in the order of the confidences, from 0 at the window's start."""
        if self.lowest is None:
            return (conf * BINS).int().clamp_(max=BINS - 1)
        # Positive floats are ordered like their bit patterns.
        return conf.view(torch.int32) - self.lowest.index_select(0, label)

    def _window_key(self) -> Tensor:
        """Key of the value at each class's rank (C,)."""
        return (self.upto <= self.ranks).sum(1) - 1


def half_counts(conf: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """How often each class takes each half-precision value: all that exact quantiles of such values need.

    Args:
        conf: Confidences of any shape, float32 in [0, 1]; rounded to nearest.
        label: Their classes, of the same shape, integers below ``num_classes``.
        num_classes: C.

    Returns:
        (C, :data:`HALF_VALUES`) int32.
    """
    key = conf.flatten().half().view(torch.int16).int().add_(label.flatten().int(), alpha=HALF_VALUES)
    counts = torch.zeros(num_classes * HALF_VALUES, dtype=torch.int32, device=conf.device)
    return counts.index_add_(0, key, torch.ones_like(key)).view(num_classes, HALF_VALUES)


def half_quantiles(counts: np.ndarray, share: np.ndarray, extra: np.ndarray | None = None) -> np.ndarray:
    """``np.quantile(values, share)`` of every class, bit by bit, from the counts of its values.

    Args:
        counts: (C, :data:`HALF_VALUES`), see :func:`half_counts`.
        share: Wanted quantile of each class, (C,) float64.
        extra: One more value of each class, (C,) float64 of any precision.

    Returns:
        (C,) float64; infinity for a class without any value.
    """
    values = np.arange(HALF_VALUES, dtype=np.uint16).view(np.float16).astype(np.float64)
    upto = counts.cumsum(1)
    total = upto[:, -1]
    if extra is not None:
        smaller = np.take_along_axis(upto, np.searchsorted(values, extra)[:, None] - 1, 1)[:, 0]  # of the values
        smaller = np.where(extra <= 0, 0, smaller)
        total = total + 1

    def at(rank: np.ndarray) -> np.ndarray:
        own = rank if extra is None else rank - (rank > smaller)
        found = values[np.minimum((upto <= own[:, None]).sum(1), HALF_VALUES - 1)]
        return found if extra is None else np.where(rank == smaller, extra, found)

    position = share * np.maximum(total - 1, 0)
    below = np.floor(position).astype(np.int64)
    low, high = at(below), at(np.minimum(below + 1, np.maximum(total - 1, 0)))
    weight = position - below
    found = np.where(weight >= 0.5, high - (high - low) * (1 - weight), low + (high - low) * weight)  # as numpy rounds
    return np.where(total == 0, np.inf, found)
