"""Which pixels of a prediction become pseudo-labels.

A selector looks at every image's scores as often as it needs to (:attr:`Selector.looks`), then labels image by image.
The scores come from a cache, so a look costs no forward pass. Images are spread over processes: in each look a process
observes its own, then :meth:`Selector.merge` unites what was observed, by sums or by gathering summaries of single
images and putting them in the order of their numbers. After that :meth:`Selector.select` is a pure function of the
image, so that labels depend neither on the number of processes nor on who labels what.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce
from torch import Tensor

from mmuda.datasets.classes import IGNORE
from mmuda.offline.predictions import Scores
from mmuda.offline.quantiles import HALF_VALUES, ClassQuantiles, half_counts, half_quantiles
from mmuda.offline.regions import areas_by_frequency, drop_small_regions

_BAND = 8192  # pixels: what a CPU computes of so many stays in its cache; a multiple of every vector length


@dataclass(kw_only=True)
class Selector:
    """One way to choose pixels. Sub-classes are data classes whose fields are the settings.

    Args:
        seed: Of the order in which running values follow the images (:meth:`batches`); None is the data set's order.
        batch_size: How many images make one step of such a value.
    """

    seed: int | None = 0
    batch_size: int = 2

    looks = 0
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

    def select(self, scores: Scores) -> tuple[Tensor, Tensor]:
        """Label one image: (H, W) uint8 on the scores' device, 255 = not selected, and the confidences (H, W)."""
        raise NotImplementedError

    def batches(self, count: int) -> list[list[int]]:
        """The images 0 to ``count`` - 1 in the order of running values, in groups of ``batch_size``; the last may be
        smaller."""
        # RandomState: numpy promises its stream never changes
        order = range(count) if self.seed is None else np.random.RandomState(self.seed).permutation(count).tolist()
        return [list(order[start : start + self.batch_size]) for start in range(0, count, self.batch_size)]

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
        threshold: Smallest probability that is selected; 0 selects every pixel.
        at: Size of the labels: ``'labels'``, that of the image file, or ``'network'``, that of the network's input.
        min_area: Fewest pixels of a region, for each class, below which none of its pixels is selected (Depth
            Distribution spec 6.2); or ``dict(frequency=[of each class], low=, high=)`` for
            :func:`areas_by_frequency`. None keeps all regions.
    """

    threshold: float = 0.9
    at: str = 'labels'
    min_area: Sequence[int] | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f'selector.threshold={self.threshold}: give a probability, 0 to 1')
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

    def select(self, scores: Scores) -> tuple[Tensor, Tensor]:
        """See the class."""
        conf, label = confidence(scores.at_label() if self.at == 'labels' else scores.at_input())
        return label.masked_fill_(conf < self.threshold, IGNORE), conf

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

    def select(self, scores: Scores) -> tuple[Tensor, Tensor]:
        """See the class."""
        conf, label = confidence(scores.at_label())
        return label.masked_fill_(conf < self.thresholds[label.int()], IGNORE), conf

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

    def select(self, scores: Scores) -> tuple[Tensor, Tensor]:
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
        shape = logits.shape[1:]
        return label.masked_fill_(~keep, IGNORE).view(shape), conf.view(shape)


@dataclass(kw_only=True)
class InstanceAdaptive(Selector):
    """HIAST's rule: per-class thresholds that follow the images, and select a smaller share of hard classes (spec 6.1).

    With V_c the confidences of a batch's pixels of class c, in half precision, and the threshold itself::

        t_c       = quantile of V_c at 1 - alpha * threshold_c ^ gamma
        threshold = beta * threshold + (1 - beta) * t         (before the first batch 0.9; from 1 on 0.999)

    A batch's pixels are selected by the threshold after that very batch, at network-input size. The paper speaks of
    single images; its numbers are those of batches of two.

    Each process counts its images' half-precision values, of which there are few; the recursion over all images in
    their order is then a matter of seconds, and every process does all of it.

    Args:
        alpha: Largest share of a class that is selected.
        beta: The old threshold's share of the new one.
        gamma: How much smaller the share gets where the threshold is low.
    """

    alpha: float = 0.5
    beta: float = 0.9
    gamma: float = 8.0

    looks = 1

    def __post_init__(self) -> None:
        _check_share('alpha', self.alpha)
        if not 0 <= self.beta < 1:
            raise ValueError(f'selector.beta={self.beta}: give a share of 0 or more, below 1')

    def start(self, num_classes: int, device: torch.device | str) -> None:
        """Start counting."""
        self.device = device
        self.counts: dict[int, bytes] = {}  # image -> its counts, packed: some tens of kB

    def observe(self, scores: Scores) -> None:
        """Count one image's confidences."""
        counts = half_counts(*confidence(scores.at_input()), scores.logits.shape[1])
        self.counts[scores.index] = zlib.compress(counts.cpu().numpy(), level=1)

    def merge(self) -> None:
        """Follow the images."""
        counts = {index: packed for own in all_gather_object(self.counts) for index, packed in own.items()}
        self.trajectory: list[np.ndarray] = []  # after each batch: (C,) float64
        self.floors = torch.empty(len(counts), len(_unpacked(counts[0])), device=self.device)
        threshold = np.full(self.floors.shape[1], 0.9)
        for batch in self.batches(len(counts)):
            threshold = self.step(threshold, sum(_unpacked(counts[index]) for index in batch))
            self.trajectory.append(threshold)
            self.floors[batch] = at_least(threshold).to(self.device)

    def step(self, threshold: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """The thresholds (C,) float64 after a batch with counts (C, V), given those before it."""
        found = half_quantiles(counts, 1 - self.alpha * threshold**self.gamma, threshold).astype(np.float32)
        threshold = self.beta * threshold + (1 - self.beta) * found  # the second product in float32
        return np.where(threshold >= 1, 0.999, threshold)

    def select(self, scores: Scores) -> tuple[Tensor, Tensor]:
        """See the class."""
        conf, label = confidence(scores.at_input())
        return label.masked_fill_(conf < self.floors[scores.index][label.int()], IGNORE), conf

    def report(self) -> dict[str, Any]:
        """The thresholds at the end and after each batch."""
        trajectory = [threshold.tolist() for threshold in self.trajectory]
        return {'thresholds': trajectory[-1], 'threshold_after_batch': trajectory}


@dataclass(kw_only=True)
class HalfClassBalanced(Selector):
    """CBST as HIAST's code has it (spec 6.1): :class:`ClassBalanced` on half-precision values of a part of the pixels.

    The threshold of a class is the interpolated quantile of every ``stride``-th value, counted in row-major order from
    the first pixel of each batch, at network-input size. Rounding can make it 1, which selects nothing.

    Args:
        prop: Share of each class, in (0, 1].
        stride: See above.
    """

    prop: float = 0.2
    stride: int = 4

    looks = 2

    def __post_init__(self) -> None:
        _check_share('prop', self.prop)
        if self.stride < 1:
            raise ValueError(f'selector.stride={self.stride}: give a number above 0')

    def start(self, num_classes: int, device: torch.device | str) -> None:
        """Make ready for the first look, which only counts the pixels of each class."""
        self.device = device
        self.pixels: dict[int, Tensor] = {}  # image -> (C,)
        self.before: dict[int, Tensor] | None = None  # image -> (C,): pixels of its batch that come first
        self.counts = torch.zeros(num_classes, HALF_VALUES, dtype=torch.int64, device=device)

    def observe(self, scores: Scores) -> None:
        """Count one image's pixels or, in the second look, confidences."""
        conf, label = confidence(scores.at_input())
        conf, label, classes = conf.flatten(), label.flatten(), len(self.counts)
        pixels = torch.bincount(label, minlength=classes)
        if self.before is None:
            self.pixels[scores.index] = pixels.cpu()
            return
        label, order = label.sort(stable=True)
        first = pixels.cumsum(0) - pixels - self.before[scores.index].to(self.device)
        number = torch.arange(len(label), device=self.device) - first[label.int()]  # of the pixel among its class's
        counted = number % self.stride == 0
        self.counts += half_counts(conf[order][counted], label[counted], classes)

    def merge(self) -> None:
        """Find where each image begins in its batch; then the thresholds."""
        if self.before is not None:
            all_reduce(self.counts, op='sum')
            found = half_quantiles(self.counts.cpu().numpy(), np.full(len(self.counts), 1 - self.prop))
            self.thresholds = at_least(found).to(self.device)
            return
        pixels = {index: count for own in all_gather_object(self.pixels) for index, count in own.items()}
        self.before = {}
        for batch in self.batches(len(pixels)):
            passed = torch.zeros_like(pixels[0])
            for index in batch:
                self.before[index] = passed
                passed = passed + pixels[index]

    def select(self, scores: Scores) -> tuple[Tensor, Tensor]:
        """See the class."""
        conf, label = confidence(scores.at_input())
        return label.masked_fill_(conf < self.thresholds[label.int()], IGNORE), conf

    def report(self) -> dict[str, Any]:
        """Thresholds; None for a class that is never predicted."""
        return {'thresholds': [value if value < float('inf') else None for value in self.thresholds.tolist()]}


SELECTORS = {
    selector.__name__: selector
    for selector in (FixedThreshold, ClassBalanced, GlobalLocal, InstanceAdaptive, HalfClassBalanced)
}


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
        selector = SELECTORS[name](**settings)
    except TypeError as error:
        raise ValueError(f'selector {name}: {str(error).partition(") ")[2] or error}') from error
    if selector.batch_size < 1:
        raise ValueError(f'selector.batch_size={selector.batch_size}: give a number above 0')
    return selector


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


def at_least(limits: np.ndarray) -> Tensor:
    """The float32 numbers that are not below float64 limits just as float64 numbers are not: rounded up."""
    rounded = limits.astype(np.float32)
    return torch.from_numpy(np.where(rounded < limits, np.nextafter(rounded, np.float32(np.inf)), rounded))


def _unpacked(counts: bytes) -> np.ndarray:
    """Counts (C, V) int32."""
    return np.frombuffer(zlib.decompress(counts), np.int32).reshape(-1, HALF_VALUES)


def _empty_maps(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Memory for confidence and class, (H * W,)."""
    count, device = logits[0].numel(), logits.device
    return torch.empty(count, device=device), torch.empty(count, dtype=torch.uint8, device=device)


def _check_share(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise ValueError(f'selector.{name}={value}: give a share above 0 and up to 1')
