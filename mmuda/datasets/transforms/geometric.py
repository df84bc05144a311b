"""Resizing and cropping, pixel for pixel as the reference codes do it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from mmcv import imresize
from mmcv.transforms import BaseTransform
from mmseg.datasets.transforms import Resize

from mmuda.datasets.transforms.photometric import change_colours, draw_colour_change
from mmuda.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PillowResize(Resize):
    """Resize without keeping the aspect ratio: image bicubic, label nearest, both by Pillow's rules.

    Pillow's bicubic is anti-aliased and its nearest picks other pixels than OpenCV's (EHTDI spec 2.3: up to 54 grey
    levels between the two).

    Args:
        scale: (width, height) of the result.
        labels: True resizes the label map along and declares the new size the original one (``ori_shape``), so that
            predictions stay at it and are scored at it; without a label map predictions get the size of the image
            file. False leaves the label map as it is; mmseg then resizes predictions to the size of the image file.
    """

    def __init__(self, scale: tuple[int, int], labels: bool = True) -> None:
        super().__init__(scale=tuple(scale), keep_ratio=False, backend='pillow', interpolation='bicubic')
        self.labels = labels

    def transform(self, results: dict) -> dict:
        """Resize one item."""
        results = super().transform(results)
        if self.labels and 'gt_seg_map' in results:
            results['ori_shape'] = results['img_shape']
        return results

    def _resize_seg(self, results: dict) -> None:
        if self.labels:
            super()._resize_seg(results)


class Crop(NamedTuple):
    """A box in pixels."""

    top: int
    left: int
    height: int
    width: int


@TRANSFORMS.register_module()
class ShortSideRandomScaleCrop(BaseTransform):
    """Scale an image at random, cut out a square and bring it to one size, by Pillow's rules (LDBE spec 2.4, 1 to 3).

    Image bicubic, labels nearest. The shorter side becomes ``short_side`` times a factor drawn from ``ratios``. If the
    image is then too small for the square, its largest one is enlarged: nothing is ever padded. A label map of another
    size than its image is brought to the image's new size, as in the reference.

    Args:
        short_side: length of the shorter side at factor 1, in pixels.
        ratios: factors to draw from.
        crop: side of the result, in pixels.
    """

    def __init__(
        self, short_side: int = 720, ratios: Sequence[float] = (0.5, 0.75, 1.0, 1.25, 1.5), crop: int = 600
    ) -> None:
        self.short_side, self.ratios, self.crop = short_side, tuple(ratios), crop

    def transform(self, results: dict) -> dict:
        """Scale and crop one item."""
        height, width = results['img'].shape[:2]
        factor = self.short_side / min(height, width) * np.random.choice(self.ratios)
        height, width = int(height * factor), int(width * factor)
        top, left, side, _ = draw_square(height, width, self.crop)
        for key in ('img', *results.get('seg_fields', ())):
            how = dict(interpolation='bicubic' if key == 'img' else 'nearest', backend='pillow')
            scaled = imresize(results[key], (width, height), **how)
            results[key] = imresize(scaled[top : top + side, left : left + side], (self.crop, self.crop), **how)
        results['img_shape'] = results['img'].shape[:2]
        return results


def draw_square(height: int, width: int, side: int) -> Crop:
    """Draw a square within an image of ``height`` x ``width``, uniformly, from numpy's global generator.

    Its side is ``side``, or the image's shorter one where that is less.
    """
    side = min(side, height, width)
    return Crop(np.random.randint(height - side + 1), np.random.randint(width - side + 1), side, side)


def draw_crop(
    height: int,
    width: int,
    scale: tuple[float, float] = (0.2, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    tries: int = 10,
) -> Crop:
    """Draw a box within an image of ``height`` x ``width``, from numpy's global generator (EHTDI spec 2.4, point 2).

    Args:
        height: of the image.
        width: of the image.
        scale: range of the box's share of the image's area (uniform).
        ratio: range of width / height (log-uniform).
        tries: boxes drawn until one fits; if none does, the largest centred box of an allowed ratio is taken.
    """
    for _ in range(tries):
        area = np.random.uniform(*scale) * height * width
        aspect = math.exp(np.random.uniform(math.log(ratio[0]), math.log(ratio[1])))
        h, w = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < h <= height and 0 < w <= width:
            # the reference's offsets are one lower where they are not 0 (trap T18); these are uniform
            return Crop(np.random.randint(height - h + 1), np.random.randint(width - w + 1), h, w)
    h, w = height, width
    if width / height < ratio[0]:
        h = round(width / ratio[0])
    elif width / height > ratio[1]:
        w = round(height * ratio[1])
    return Crop((height - h) // 2, (width - w) // 2, h, w)


def nearest_index(start: int, length: int, out: int) -> np.ndarray:
    """Return the source index of each of ``out`` pixels when ``length`` pixels from ``start`` on are resized.

    OpenCV's nearest rule with both its divisions in float64 (EHTDI spec 2.4; the integer i * length // out differs).

    Returns:
        Indices (out,) int64.
    """
    step = 1 / (out / length)
    return start + np.minimum((np.arange(out) * step).astype(np.int64), length - 1)


@TRANSFORMS.register_module()
class WeakStrongCrop(BaseTransform):
    """Add two views of one random crop: ``weak`` is only resized, ``strong`` also changes colours (EHTDI spec 2.4).

    Needs ``img`` (H, W, 3) uint8, BGR. Adds ``weak`` and ``strong`` (h, w, 3) uint8, ``rows`` (h,) and ``cols`` (w,)
    int64: the row and column of the full image behind each row and column of the crop, by which
    ``label[rows][:, cols]`` crops any full-size label map. With ``gt_seg_map`` also ``weak_label`` (h, w).

    Args:
        size: (height, width) of the views.
        scale: range of the crop's share of the image's area.
        ratio: range of the crop's width / height.
    """

    def __init__(
        self,
        size: tuple[int, int] = (512, 512),
        scale: tuple[float, float] = (0.2, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
    ) -> None:
        self.size, self.scale, self.ratio = tuple(size), tuple(scale), tuple(ratio)

    def transform(self, results: dict) -> dict:
        """Crop one item."""
        image = results['img']
        top, left, h, w = draw_crop(*image.shape[:2], self.scale, self.ratio)
        out_h, out_w = self.size
        weak = cv2.resize(image[top : top + h, left : left + w], (out_w, out_h), interpolation=cv2.INTER_LINEAR)
        rows, cols = nearest_index(top, h, out_h), nearest_index(left, w, out_w)
        results.update(weak=weak, strong=change_colours(weak, draw_colour_change()), rows=rows, cols=cols)
        if 'gt_seg_map' in results:
            results['weak_label'] = results['gt_seg_map'][rows][:, cols]
        return results
