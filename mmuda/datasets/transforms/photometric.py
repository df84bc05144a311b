"""Changes of colour and sharpness, grey level for grey level as the reference codes make them."""

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
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    if change.kernel:
        image = cv2.GaussianBlur(image, (change.kernel, change.kernel), 0)
    return image


def _change_tone(image: np.ndarray, tone: Tone) -> np.ndarray:
    levels = np.arange(256, dtype=np.float32)
    image = cv2.LUT(image, _to_uint8(levels * np.float32(tone.contrast) + np.float32(tone.brightness * 255)))
    tables = [
        np.mod(levels + tone.hue, 180).astype(np.uint8),
        _to_uint8(levels + tone.saturation),
        _to_uint8(levels + tone.value),
    ]
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), np.stack(tables, axis=1)[None])  # (1, 256, 3)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)  # truncates
