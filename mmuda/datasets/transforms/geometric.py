"""Resizing and cropping, pixel for pixel as the reference codes do it."""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from mmcv import imresize
from mmcv.transforms import BaseTransform
from mmseg.datasets.transforms import Resize
from PIL import Image

from mmuda.datasets.classes import IGNORE
from mmuda.datasets.transforms.photometric import change_colours, draw_colour_change
from mmuda.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PillowResize(Resize):
    """Resize without keeping the aspect ratio: image bicubic, label nearest, both by Pillow's rules.

    Pillow's bicubic is anti-aliased and its nearest picks other pixels than OpenCV's (EHTDI spec 2.3: up to 54 grey
    levels between the two). A depth map is resized by OpenCV's nearest, as in the references (DAF+IDA spec 2.3).

    Args:
        scale: (width, height) of the result.
        labels: True resizes label and depth maps along and declares the new size the original one (``ori_shape``), so
            that predictions stay at it and are scored at it; without a label map predictions get the size of the image
            file. False leaves these maps as they are; mmseg then resizes predictions to the size of the image file.
    """

    def __init__(self, scale: tuple[int, int], labels: bool = True) -> None:
        super().__init__(scale=tuple(scale), keep_ratio=False, backend='pillow', interpolation='bicubic')
        self.labels = labels

    def transform(self, results: dict) -> dict:
        """Resize one item."""
        results.pop('file_shape', None)
        results = super().transform(results)
        if self.labels and 'gt_seg_map' in results:
            results['ori_shape'] = results['img_shape']
        return results

    def _resize_seg(self, results: dict) -> None:
        for name in results.get('seg_fields', []) if self.labels else []:
            if name == 'gt_depth_map':
                results[name] = cv2.resize(results[name], results['scale'], interpolation=cv2.INTER_NEAREST)
            else:
                results[name] = imresize(results[name], results['scale'], interpolation='nearest', backend='pillow')


def fit_size(size: tuple[int, int], canvas: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the same aspect ratio within a canvas, truncated like the references' (DAF+IDA spec 2.4).

    Args:
        size: (width, height) of the image.
        canvas: (width, height).
    """
    (w, h), (canvas_w, canvas_h) = size, canvas
    if w / h > canvas_w / canvas_h:
        return canvas_w, int(h * (canvas_w / w))
    return int(w * (canvas_h / h)), canvas_h  # an image of the very same ratio can lose a column


def pad_size(size: tuple[int, int], canvas: tuple[int, int]) -> tuple[int, int]:
    """The smallest size around an image that has a canvas's aspect ratio, truncated likewise (DAF+IDA spec 2.4).

    Args:
        size: (width, height) of the image.
        canvas: (width, height).
    """
    (w, h), (canvas_w, canvas_h) = size, canvas
    if canvas_w / canvas_h > w / h:
        return int(canvas_w / canvas_h * h), h
    if canvas_w / canvas_h < w / h:
        return w, int(w / (canvas_w / canvas_h))
    return w, h


def pad(array: np.ndarray, size: tuple[int, int], value: int) -> np.ndarray:
    """Enlarge an array (h, w, ...) to (width, height) at its right and bottom."""
    right, bottom = size[0] - array.shape[1], size[1] - array.shape[0]
    return cv2.copyMakeBorder(array, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=[value] * 4)


@TRANSFORMS.register_module()
class FitPad(BaseTransform):
    """Fit the image into a canvas with its aspect ratio kept, at the top left; the rest is 0 (DAF+IDA spec 2.4).

    Resizing is by Pillow's rules: image bicubic, label nearest. The padding of a label map is 255; without one, nothing
    tells the padding from the image, as in the references.

    Args:
        scale: (width, height) of the canvas.
        labels: True fits the label map along and declares the canvas the original size (``ori_shape``), so that
            predictions stay at it and are scored at it. False leaves the label map as it is: predictions get the size
            of the image file, as they do without a label map. The head's logits are interpolated once, to that size
            padded to the canvas's aspect ratio, and cropped to the image (spec, section 1). mmseg does so by
            ``pad_shape`` and ``padding_size``, which must both be among the ``meta_keys`` of ``PackSegInputs``, in the
            mode ``whole``; a flip has to come before this step.
    """

    def __init__(self, scale: tuple[int, int], labels: bool = True) -> None:
        self.scale, self.labels = tuple(scale), labels

    def transform(self, results: dict) -> dict:
        """Fit and pad one item."""
        height, width = results['img'].shape[:2]
        results['img'] = self._fit(results['img'], 'bicubic', 0)
        results['img_shape'] = results['img'].shape[:2]
        if self.labels and 'gt_seg_map' in results:
            results['gt_seg_map'] = self._fit(results['gt_seg_map'], 'nearest', IGNORE)
            results['ori_shape'] = results['img_shape']
        else:
            padded_w, padded_h = pad_size((width, height), self.scale)
            results['pad_shape'] = padded_h, padded_w
            results['padding_size'] = 0, padded_w - width, 0, padded_h - height  # left, right, top, bottom
        return results

    def _fit(self, array: np.ndarray, interpolation: str, padding: int) -> np.ndarray:
        size = fit_size(array.shape[1::-1], self.scale)
        return pad(imresize(array, size, interpolation=interpolation, backend='pillow'), self.scale, padding)


@cache
def pillow_nearest_index(length: int, out: int) -> np.ndarray:
    """Return the source index (out,) int32 of each pixel when Pillow resizes ``length`` pixels to ``out``, nearest.

    Found by resizing the indices themselves: where a centre falls between two pixels, Pillow's rounding decides.
    """
    index = Image.fromarray(np.arange(length, dtype=np.int32)[None])
    return np.asarray(index.resize((out, 1), Image.Resampling.NEAREST))[0]


@TRANSFORMS.register_module()
class GridSample(BaseTransform):
    """Sample label and depth map at the cells of a network's last features, by Pillow's nearest rule.

    Depth Distribution reads its source density from these samples of the files' own pixels, so this step stands before
    any that resizes (its spec, 2.5 and trap 8), and after a flip.

    Adds ``grid_label`` (h, w) uint8, and with a depth map ``grid_depth`` (h, w) uint16.

    Args:
        size: (width, height) of the features.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = tuple(size)

    def transform(self, results: dict) -> dict:
        """Sample one item."""
        for name, key in (('grid_label', 'gt_seg_map'), ('grid_depth', 'gt_depth_map')):
            if key in results:
                height, width = results[key].shape
                columns, rows = pillow_nearest_index(width, self.size[0]), pillow_nearest_index(height, self.size[1])
                results[name] = results[key][rows][:, columns]
        return results


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


@TRANSFORMS.register_module()
class RandomSizedCrop(BaseTransform):
    """Cut out a box of random height and bring it to one size: image bilinear, labels nearest, by OpenCV (HIAST spec
    2.4).

    Args:
        heights: smallest and largest height of the box, in pixels.
        ratio: its width over its height.
        size: (height, width) of the result.
    """

    def __init__(self, heights: tuple[int, int], ratio: float, size: tuple[int, int]) -> None:
        self.heights, self.ratio, self.size = tuple(heights), ratio, tuple(size)

    def transform(self, results: dict) -> dict:
        """Crop one item."""
        height, width = results['img'].shape[:2]
        if self.heights[1] > height or int(self.heights[1] * self.ratio) > width:
            raise ValueError(
                f'{results["img_path"]} is {width}x{height}, too small for RandomSizedCrop with '
                f'heights={self.heights} and ratio={self.ratio:g}: give smaller heights.'
            )
        box = draw_sized(height, width, self.heights, self.ratio)
        for key in ('img', *results.get('seg_fields', ())):
            how = cv2.INTER_LINEAR if key == 'img' else cv2.INTER_NEAREST
            results[key] = cut(results[key], box, self.size, how)
        results['img_shape'] = results['img'].shape[:2]
        return results


def draw_sized(height: int, width: int, heights: tuple[int, int], ratio: float) -> Crop:
    """Draw a box of a width : height ratio within an image of ``height`` x ``width``, from numpy's global generator.

    Its height is uniform in ``heights``, both included.
    """
    h = np.random.randint(heights[0], heights[1] + 1)
    w = int(h * ratio)
    top, left = np.random.rand(2)
    return Crop(int((height - h) * top), int((width - w) * left), h, w)


def cut(array: np.ndarray, box: Crop, size: tuple[int, int], interpolation: int) -> np.ndarray:
    """Cut a box out of an array (H, W, ...) and bring it to ``size`` (height, width) by OpenCV."""
    own = array[box.top : box.top + box.height, box.left : box.left + box.width]
    return cv2.resize(own, size[::-1], interpolation=interpolation)
