"""Changes of colour and sharpness, grey level for grey level as the reference codes make them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image, ImageFilter

from mmuda.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomGaussianBlur(BaseTransform):
    """Blur ``img`` by Pillow's Gaussian filter with a radius drawn from [0, 1) pixels (EHTDI spec 2.3, step 4).

    Args:
        prob: share of the images that are blurred.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Blur one item, or leave it."""
        if np.random.rand() < self.prob:
            results['img'] = gaussian_blur(results['img'], np.random.rand())
        return results


def gaussian_blur(image: np.ndarray, radius: float) -> np.ndarray:
    """Blur an image (H, W, 3) uint8 by Pillow's Gaussian filter."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(float(radius))))


class Tone(NamedTuple):
    """A change of contrast and brightness, then of hue, saturation and value.

    Attributes:
        contrast: factor on grey levels.
        brightness: added, as a share of 255.
        hue: added to OpenCV's 8-bit hue (0..179), which wraps around.
        saturation: added to the 8-bit saturation.
        value: added to the 8-bit value.
    """

    contrast: float
    brightness: float
    hue: float
    saturation: float
    value: float


class ColourChange(NamedTuple):
    """What the strong view does to the weak one, in this order.

    Attributes:
        tone: None leaves the tone.
        grey: take the colours away.
        kernel: width of the Gaussian blur, 3 or 5; 0 does not blur.
    """

    tone: Tone | None = None
    grey: bool = False
    kernel: int = 0


def draw_colour_change() -> ColourChange:
    """Draw a change from numpy's global generator, as EHTDI's strong view has it (spec 2.4, point 3)."""
    uniform = np.random.uniform
    tone = None
    if np.random.rand() < 0.8:
        tone = Tone(1 + uniform(-0.2, 0.2), uniform(-0.2, 0.2), uniform(-20, 20), uniform(-30, 30), uniform(-20, 20))
    grey = np.random.rand() < 0.2
    kernel = int(np.random.choice((3, 5, 5))) if np.random.rand() < 0.5 else 0
    return ColourChange(tone, grey, kernel)


def change_colours(image: np.ndarray, change: ColourChange) -> np.ndarray:
    """Apply a change of colours.

    Args:
        image: (H, W, 3) uint8, BGR; left as it is.
        change: what to do.

    Returns:
        Image of the same shape.
    """
    if change.tone is not None:
        image = _change_tone(image, change.tone)
    if change.grey:
        image = to_grey(image)
    if change.kernel:
        image = cv2.GaussianBlur(image, (change.kernel, change.kernel), 0)
    return image


def _change_tone(image: np.ndarray, tone: Tone) -> np.ndarray:
    levels = np.arange(256, dtype=np.float32)
    image = change_levels(image, tone.contrast, tone.brightness)
    tables = [
        np.mod(levels + tone.hue, 180).astype(np.uint8),
        _to_uint8(levels + tone.saturation),
        _to_uint8(levels + tone.value),
    ]
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), np.stack(tables, axis=1)[None])  # (1, 256, 3)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)


def change_levels(image: np.ndarray, contrast: float = 1.0, brightness: float = 0.0) -> np.ndarray:
    """Multiply the grey levels of a uint8 image by ``contrast`` and add ``brightness``, a share of 255."""
    levels = np.arange(256, dtype=np.float32)
    return cv2.LUT(image, _to_uint8(levels * np.float32(contrast) + np.float32(brightness * 255)))


def to_grey(image: np.ndarray) -> np.ndarray:
    """Take the colours of a BGR image (H, W, 3) uint8 away; it keeps three channels."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)  # truncates


# ------------------------------------------------------------------------------------- HIAST and IAST (HIAST spec 2.4)


@TRANSFORMS.register_module()
class RandomBrightnessContrast(BaseTransform):
    """Change brightness and contrast of ``img`` at random: IAST's only change of colours.

    Args:
        prob: share of the images that are changed.
        limit: contrast is a factor from 1 - ``limit`` to 1 + ``limit``, brightness a share of 255 up to ``limit``.
    """

    def __init__(self, prob: float = 0.3, limit: float = 0.2) -> None:
        self.prob, self.limit = prob, limit

    def transform(self, results: dict) -> dict:
        """Change one item, or leave it."""
        if np.random.rand() < self.prob:
            contrast, brightness = np.random.uniform(-self.limit, self.limit, 2)
            results['img'] = change_levels(results['img'], 1 + contrast, brightness)
        return results


@TRANSFORMS.register_module()
class StrongView(BaseTransform):
    """Add ``strong``, a view of ``img`` with other colours; ``img`` stays as the weak view.

    Different operations of eight are drawn in random order, and each is then applied with a probability.

    Args:
        num_ops: how many are drawn.
        prob: with which probability each of them is applied.
    """

    def __init__(self, num_ops: int = 3, prob: float = 0.5) -> None:
        self.num_ops, self.prob = num_ops, prob

    def transform(self, results: dict) -> dict:
        """Add the view to one item."""
        image = results['img']
        for operation in draw_operations(self.num_ops, self.prob):
            image = operation(image)
        results['strong'] = image
        return results


def draw_operations(num_ops: int = 3, prob: float = 0.5) -> list[Callable[[np.ndarray], np.ndarray]]:
    """Draw what :class:`StrongView` applies, from numpy's global generator."""
    drawn = np.random.permutation(len(_OPERATIONS))[:num_ops]
    return [_OPERATIONS[number]() for number in drawn if np.random.rand() < prob]


def jitter(image: np.ndarray, changes: Sequence[tuple[str, float]]) -> np.ndarray:
    """Change brightness, contrast and saturation by factors and the hue by a share of the full circle, in any order.

    Args:
        image: (H, W, 3) uint8, BGR; left as it is.
        changes: ``'brightness'``, ``'contrast'``, ``'saturation'`` or ``'hue'``, and how much.
    """
    levels = np.arange(256, dtype=np.float64)
    for name, amount in changes:
        if name == 'brightness':
            image = cv2.LUT(image, _to_uint8(levels * amount))
        elif name == 'contrast':
            mean = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).mean()
            image = cv2.LUT(image, _to_uint8(levels * amount + mean * (1 - amount)))
        elif name == 'saturation':
            image = cv2.addWeighted(image, amount, to_grey(image), 1 - amount, 0)
        else:
            table = np.tile(np.arange(256, dtype=np.uint8)[:, None], 3)
            table[:, 0] = np.mod(levels + 180 * amount, 180).astype(np.uint8)
            image = cv2.cvtColor(cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), table[None]), cv2.COLOR_HSV2BGR)
    return image


def blur(image: np.ndarray, kernel: int) -> np.ndarray:
    """Gaussian blur whose width, odd, gives sigma."""
    return cv2.GaussianBlur(image, (kernel, kernel), 0)


def posterize(image: np.ndarray) -> np.ndarray:
    """Keep the four high bits."""
    return image & np.uint8(0xF0)


def solarize(image: np.ndarray) -> np.ndarray:
    """Invert the levels from 128 on."""
    levels = np.arange(256, dtype=np.uint8)
    return cv2.LUT(image, np.where(levels >= 128, 255 - levels, levels))


def equalize(image: np.ndarray) -> np.ndarray:
    """Equalise each channel's histogram."""
    return cv2.merge([cv2.equalizeHist(channel) for channel in cv2.split(image)])


def _draw_jitter() -> Callable:
    uniform = np.random.uniform
    changes = [(name, uniform(0.8, 1.2)) for name in ('brightness', 'contrast', 'saturation')]
    changes.append(('hue', uniform(-0.2, 0.2)))
    return partial(jitter, changes=[changes[number] for number in np.random.permutation(4)])


_OPERATIONS: tuple[Callable[[], Callable], ...] = (
    _draw_jitter,
    lambda: partial(blur, kernel=np.random.randint(3, 42) | 1),
    lambda: partial(change_levels, contrast=1 + np.random.uniform(0, 3)),
    lambda: partial(change_levels, brightness=np.random.uniform(-0.5, 0.5)),
    lambda: posterize,
    lambda: equalize,
    lambda: solarize,
    lambda: to_grey,
)
