"""Which pixels of a prediction become pseudo-labels.

A selector looks at every image's scores as often as it needs to (:attr:`Selector.looks`), then labels image by image.
The scores come from a cache, so a look costs no forward pass. Images are spread over processes: in each look a process
observes its own, then :meth:`Selector.merge` unites what was observed, by sums or by gathering summaries of single
images and putting them in the order of their numbers. After that :meth:`Selector.select` is a pure function of the
image, so that labels depend neither on the number of processes nor on who labels what.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmuda.datasets.classes import IGNORE
from mmuda.offline.predictions import Scores
from mmuda.offline.quantiles import ClassQuantiles
from mmuda.offline.regions import areas_by_frequency, drop_small_regions

_BAND = 8192  # pixels: what a CPU computes of so many stays in its cache; a multiple of every vector length


class Selector:
    """One way to choose pixels. Sub-classes are data classes whose fields are the settings."""

    looks: int = 0
    """How often :meth:`observe` must see every image before the first is labelled."""

    def start(self, num_classes: int, device: torch.device | str) -> None:
        """Make ready for the images of one data set.

        Args:
            num_classes: Of the network.
            device: Where the scores are.
        """

    def observe(self, scores: Scores) -> None:
        """Take note of one image."""

    def merge(self) -> None:
        """End a look: unite what all processes have observed. Called on every process."""

    def select(self, scores: Scores) -> Tensor:
        """Label one image: (H, W) uint8 on the scores' device, at label size, 255 = not selected."""
        raise NotImplementedError

    def finish(self, label: np.ndarray) -> np.ndarray:
        """What is left to do to a selected label (H, W) uint8, on the host; called in the threads that write."""
        return label

    def settings(self) -> dict[str, Any]:
        """The selector's config."""
        return {'type': type(self).__name__, **asdict(self)}

    def report(self) -> dict[str, Any]:
        """What was found out in the looks, in plain types, for the manifest."""
        return {}


@dataclass(kw_only=True)
class FixedThreshold(Selector):
    """Selects pixels of at least one confidence, the same for all classes.

    Args:
        threshold: Smallest probability that is selected.
        at: Size of the labels: ``'labels'``, that of the image file, or ``'network'``, that of the network's input.
        min_area: Fewest pixels of a region, for each class, below which none of its pixels is selected (Depth
            Distribution spec 6.2); or ``dict(frequency=[of each class], low=, high=)`` for
            :func:`areas_by_frequency`. None keeps all regions.
    """

    threshold: float = 0.9
    at: str = 'labels'
    min_area: Sequence[int] | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        _check_share('threshold', self.threshold)
        if self.at not in ('labels', 'network'):
            raise ValueError(f"selector.at={self.at!r}: choose 'labels' or 'network'")
        if isinstance(self.min_area, Mapping):
            if self.min_area.keys() != {'frequency', 'low', 'high'}:
                raise ValueError(f'selector.min_area has {sorted(self.min_area)}: give frequency, low and high')
            self.min_area = areas_by_frequency(**self.min_area)

    def start(self, num_classes: int, device: torch.device | str) -> None:
        """See the base class."""
        if self.min_area is not None and len(self.min_area) != num_classes:
            raise ValueError(f'selector.min_area has {len(self.min_area)} numbers, the network {num_classes} classes')

    def select(self, scores: Scores) -> Tensor:
        """See the class."""
        conf, label = confidence(scores.at_label() if self.at == 'labels' else scores.at_input())
        return label.masked_fill_(conf < self.threshold, IGNORE)

    def finish(self, label: np.ndarray) -> np.ndarray:
        """Drop small regions."""
        return label if self.min_area is None else drop_small_regions(label, self.min_area)


@dataclass(kw_only=True)
class ClassBalanced(Selector):
    """Selects the most confident pixels of each class, the same share of every class (CBST, Zou et al. 2018).

    The threshold of a class is the confidence that a share ``prop`` of the pixels predicted as it reach, over the whole
    data set at network-input size. Pixels that equal it are selected, too.

    Args:
        prop: Share of each class, in (0, 1].
        stride: Only every ``stride``-th confidence of an image and class, in ascending order, counts.
        histogram_only: Take the thresholds from 65536 bins, at most 1/65536 too high, instead of looking at every image
            once more for the exact ones.
    """

    prop: float
    stride: int = 1
    histogram_only: bool = False

    def __post_init__(self) -> None:
        _check_share('prop', self.prop)
        if self.stride < 1:
            raise ValueError(f'selector.stride={self.stride}: give a number above 0')

    @property
    def looks(self) -> int:
        """One for the histogram, one for the exact value."""
        return 1 if self.histogram_only else 2

    def start(self, num_classes: int, device: torch.device | str) -> None:
        """Start counting."""
        self.quantiles = ClassQuantiles(num_classes, device, self.stride)
        self.thresholds: Tensor | None = None  # (C,) float32

    def observe(self, scores: Scores) -> None:
        """Count one image's confidences."""
        self.quantiles.observe(*confidence(scores.at_input()))

    def merge(self) -> None:
        """Find the thresholds."""
        self.quantiles.merge()
        if self.thresholds is None:
            self.totals = self.quantiles.totals()
            self.thresholds = self.quantiles.narrow([self.rank(count) for count in self.totals])
        else:
            self.thresholds = self.quantiles.values()

    def rank(self, count: int) -> int:
        """Ascending rank, from 0, of the smallest of the top share of ``count`` values."""
        return max(count - max(int(count * self.prop), 1), 0)

    def select(self, scores: Scores) -> Tensor:
        """See the class."""
        conf, label = confidence(scores.at_label())
        return label.masked_fill_(conf < self.thresholds[label.int()], IGNORE)

    def report(self) -> dict[str, Any]:
        """Thresholds, and from how many confidences each was taken; None for a class that is never predicted."""
        found = [value if value < float('inf') else None for value in self.thresholds.tolist()]
        return {'thresholds': found, 'counted': self.totals}


@dataclass(kw_only=True)
class GlobalLocal(ClassBalanced):
    """LDBE's rule: above a threshold of the whole data set, or among the best of its own image (LDBE spec 6).

    Global: the probability of any class exceeds that class's threshold (6.1). Local: the confidence exceeds the one at
    the share ``prop`` of this image. Both strictly, so ties are out (T14).

    Args:
        prop: Share for both rules, in (0, 1].
        stride: As in :class:`ClassBalanced`; the reference takes every fifth.
        histogram_only: As in :class:`ClassBalanced`.
        rank_zero: What a share of less than one value means: ``'min'`` takes the smallest one as the threshold, as the
            reference's index does (T12, T14), ``'clip'`` the largest.
        cap: Thresholds above it are set to it, in float32, where the reference's 0.999999999 is 1 (T13).
        rule: ``'any_class'`` as the reference, or ``'own_class'``: only the threshold of the predicted class (T11).
    """

    stride: int = 5
    rank_zero: str = 'min'
    cap: float = 0.999999999
    rule: str = 'any_class'

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, choices in (('rank_zero', ('min', 'clip')), ('rule', ('any_class', 'own_class'))):
            if getattr(self, name) not in choices:
                raise ValueError(f'selector.{name}={getattr(self, name)!r}: choose one of {", ".join(choices)}')

    def merge(self) -> None:
        """Find the thresholds and cap them; a class that is never predicted keeps infinity."""
        super().merge()
        found = self.thresholds
        self.thresholds = torch.where(found.isinf(), found, found.clamp(max=self.cap))

    def rank(self, count: int) -> int:
        """As in :class:`ClassBalanced`, but for ``rank_zero``."""
        if self.rank_zero == 'min' and int(count * self.prop) == 0:
            return 0
        return super().rank(count)

    def select(self, scores: Scores) -> Tensor:
        """See the class."""
        logits = scores.at_label()  # (C, H, W)
        conf, label = _empty_maps(logits)
        keep = torch.empty_like(label, dtype=torch.bool)
        limit = self.thresholds[:, None]
        for band, prob in probabilities(logits):
            conf[band], label[band] = top_class(prob)
            keep[band] = (prob - limit).amax(0) > 0  # several times faster than (prob > limit).any(0)
        if self.rule == 'own_class':
            keep = conf > self.thresholds.index_select(0, label.int())
        keep |= conf > conf.kthvalue(self.rank(conf.numel()) + 1).values
        return label.masked_fill_(~keep, IGNORE).view(logits.shape[1:])


SELECTORS = {selector.__name__: selector for selector in (FixedThreshold, ClassBalanced, GlobalLocal)}


def build_selector(config: dict) -> Selector:
    """Make a selector from its config, ``{'type': name, setting: value, ...}``.

    Raises:
        ValueError: There is no such selector, or it has no such setting, or lacks one.
    """
    settings = dict(config)
    name = settings.pop('type', None)
    if name not in SELECTORS:
        raise ValueError(f'selector.type={name!r}: choose one of {", ".join(SELECTORS)}')
    try:
        return SELECTORS[name](**settings)
    except TypeError as error:
        raise ValueError(f'selector {name}: {str(error).partition(") ")[2] or error}') from error


# ---------------------------------------------------------------------------------------------- probabilities


def bands(logits: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Logits (C, H, W) in bands of pixels on a CPU, at once elsewhere.

    Yields:
        The band, a slice of the H * W pixels in row-major order, and its logits (C, n).
    """
    pixels = logits.flatten(1)  # (C, H * W)
    count = pixels.shape[1]
    step = _BAND if logits.device.type == 'cpu' else count
    for start in range(0, count, step):
        band = slice(start, start + step)
        yield band, pixels[:, band]


def probabilities(logits: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Soft-max of logits (C, H, W) over the classes; each of the :func:`bands` and its probabilities (C, n)."""
    for band, pixels in bands(logits):
        yield band, pixels.softmax(0)


def top_class(prob: Tensor) -> tuple[Tensor, Tensor]:
    """Largest probability (n,) of (C, n), C < 255, and its class (n,) uint8, the first one if several share it.

    The same as ``prob.max(0)``, in a fifth of its time on a CPU, which compares to bools one by one, to floats many at
    a time.
    """
    classes = len(prob)
    conf = prob.amax(0)
    places = torch.arange(classes, 0, -1, dtype=prob.dtype, device=prob.device)[:, None]
    own = torch.eq(prob, conf, out=torch.empty_like(prob))  # (C, n), 1 or 0
    return conf, (classes - own.mul_(places).amax(0)).to(torch.uint8)


def confidence(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Confidence (H, W) and class (H, W) uint8 of logits (C, H, W)."""
    conf, label = _empty_maps(logits)
    for band, prob in probabilities(logits):
        conf[band], label[band] = top_class(prob)
    return conf.view(logits.shape[1:]), label.view(logits.shape[1:])


def _empty_maps(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Memory for confidence and class, (H * W,)."""
    count, device = logits[0].numel(), logits.device
    return torch.empty(count, device=device), torch.empty(count, dtype=torch.uint8, device=device)


def _check_share(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise ValueError(f'selector.{name}={value}: give a share above 0 and up to 1')
