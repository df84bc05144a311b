"""From files to arrays at the start of a pipeline, from arrays to tensors at its end."""

from io import BytesIO

import cv2
import numpy as np
import torch
from mmcv import imresize
from mmcv.transforms import BaseTransform
from mmengine import fileio
from PIL import Image

from mmuda.registry import TRANSFORMS

_RGB16 = bytes([16, 2])  # bit depth and colour type, bytes 24 and 25 of a PNG
_BROKEN = '{path}: empty, broken or cut-off label file ({size} bytes). Copy or download it again.'


def decode_image(data: bytes, path: str) -> np.ndarray:
    """Decode a picture to BGR (H, W, 3) uint8.

    Raises:
        ValueError: the bytes are no complete picture; names ``path``.
    """
    # labels are not turned along, so a JPEG's orientation is left alone, as by Pillow (DAF+IDA spec, trap 22)
    how = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), how) if data else None
    if image is None:
        raise ValueError(f'{path}: empty, broken or cut-off image ({len(data)} bytes). Copy or download it again.')
    return image


def decode_ids(data: bytes, path: str) -> np.ndarray:
    """Decode a label picture to the ids it stores, (H, W) uint8; of a palette picture, the index (STACK f20).

    Raises:
        ValueError: the bytes are no complete picture, or not one of 8-bit ids; names ``path``.
    """
    try:
        picture = Image.open(BytesIO(data))
        ids = np.asarray(picture)
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's three ways to say broken
        raise ValueError(_BROKEN.format(path=path, size=len(data))) from error
    if picture.mode == 'RGB' and data[24:26] == _RGB16:
        raise ValueError(
            f"{path}: a 16-bit label file with 3 channels, such as SYNTHIA's GT/LABELS, among 8-bit ones. Put it "
            "there and read it with SYNTHIADataset(label_kind='LABELS')."
        )
    if picture.mode not in ('L', 'P'):
        raise ValueError(
            f'{path}: a label file holds one 8-bit id per pixel (grey or palette PNG), this one is of Pillow mode '
            f'{picture.mode}. Use the id files of the data set, not its colour pictures.'
        )
    return ids


def decode_red16(data: bytes, path: str) -> np.ndarray:
    """Decode a 16-bit label picture of 3 channels, SYNTHIA's GT/LABELS, to the ids in its red channel, (H, W) uint8.

    With OpenCV: Pillow keeps the high bytes only, in which every id is 0 (STACK f21).

    Raises:
        ValueError: the bytes are no complete picture, or not one of that form; names ``path``.
    """
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if picture is None:
        raise ValueError(_BROKEN.format(path=path, size=len(data)))
    channels = picture.shape[2] if picture.ndim == 3 else 1
    if picture.dtype != np.uint16 or channels != 3:
        raise ValueError(
            f'{path}: a label file of GT/LABELS is a 16-bit PNG with 3 channels, this one has {channels} of '
            f'{8 * picture.itemsize} bits. Restore the published file, or keep 8-bit ids in parsed_LABELS and read '
            "them with label_kind='parsed_LABELS'."
        )
    red = picture[..., 2]
    if red.max() > 255:
        raise ValueError(
            f'{path}: the red channel goes up to {red.max()}, which is no class id. Restore the published label file.'
        )
    return red.astype(np.uint8)


def decode_red(data: bytes, path: str) -> np.ndarray:
    """Decode an 8-bit label picture of colours, Oxford RobotCar's, to the ids in its red channel, (H, W) uint8.

    Raises:
        ValueError: the bytes are no complete picture, or not one of that form; names ``path``.
    """
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if picture is None:
        raise ValueError(_BROKEN.format(path=path, size=len(data)))
    if picture.dtype != np.uint8 or picture.ndim != 3:
        raise ValueError(
            f'{path}: a label file of RobotCar is an 8-bit PNG with 3 or 4 channels, this one has '
            f'{picture.shape[2] if picture.ndim == 3 else 1} of {8 * picture.itemsize} bits. Restore the published '
            'file.'
        )
    return np.ascontiguousarray(picture[..., 2])


def decode_centimetres(data: bytes, path: str) -> np.ndarray:
    """Decode SYNTHIA-like depth, 16-bit pictures of one channel or three equal ones, to (H, W) uint16; 65535 = far.

    Raises:
        ValueError: the bytes are no complete picture, or not one of that form; names ``path``.
    """
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if picture is None:
        raise ValueError(f'{path}: empty, broken or cut-off depth file ({len(data)} bytes). Copy or download it again.')
    channels = picture.shape[2] if picture.ndim == 3 else 1
    if picture.dtype != np.uint16 or channels not in (1, 3):
        raise ValueError(
            f'{path}: depth is a 16-bit PNG of centimetres with 1 or 3 channels, this one has {channels} of '
            f'{8 * picture.itemsize} bits. Restore the published file.'
        )
    if channels == 3:
        if not (picture == picture[..., :1]).all():
            raise ValueError(f'{path}: the 3 channels of a depth file must be equal. Restore the published file.')
        picture = np.ascontiguousarray(picture[..., 0])
    return picture


def decode_metres(data: bytes, path: str) -> np.ndarray:
    """Decode depth from an NPY file to centimetres (H, W) uint16; 65535 = far.

    The file holds (H, W) metres as floating-point numbers, infinity = far, or centimetres as uint16.

    Raises:
        ValueError: the bytes are no such array, or some metres are negative or no number; names ``path``.
    """
    try:
        array = np.load(BytesIO(data), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(
            f'{path}: empty, broken or cut-off depth file ({len(data)} bytes). Copy or write it again.'
        ) from error
    if array.ndim != 2 or (array.dtype != np.uint16 and array.dtype.kind != 'f'):
        raise ValueError(
            f'{path}: depth is an array (H, W) of metres in floating-point numbers or of centimetres in uint16, this '
            f'one is {array.shape} of {array.dtype}. Write it in one of these forms.'
        )
    if array.dtype == np.uint16:
        return array
    if not (array >= 0).all():  # nor nan
        raise ValueError(f'{path}: some metres are negative or no number. Write inf where nothing was measured.')
    return np.rint(100.0 * array).clip(max=65535).astype(np.uint16)


def decode_depth(data: bytes, path: str) -> np.ndarray:
    """Decode a depth file by its suffix, ``.npy`` or PNG: :func:`decode_metres`, :func:`decode_centimetres`."""
    return decode_metres(data, path) if path.endswith('.npy') else decode_centimetres(data, path)


@TRANSFORMS.register_module(name=['LoadImage', 'LoadImageFromFile'])
class LoadImage(BaseTransform):
    """Load ``img_path`` as BGR uint8 and name the file in every error.

    Test pipelines name it ``LoadImageFromFile``, under which mmseg's inferencer looks for the step that it replaces.

    Adds ``img`` (H, W, 3) uint8, ``img_shape`` and ``ori_shape`` (H, W).
    """

    def transform(self, results: dict) -> dict:
        """Load the image."""
        results['img'] = decode_image(fileio.get(results['img_path']), results['img_path'])
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results


@TRANSFORMS.register_module()
class LoadLabels(BaseTransform):
    """Load ``seg_map_path`` with the data set's ``label_decoder`` and map its ids by ``label_table``; 255 = ignore.

    An item without ``seg_map_path`` (a folder of images to predict, a data set read without labels) passes unchanged.

    Adds ``gt_seg_map`` (H, W) uint8, and its name to ``seg_fields``.

    Args:
        same_size: labels whose size differs from the image's, as it is at this step, are an error. False leaves them at
            their size, for data with odd ones among them: a following :class:`PillowResize` brings image and label to
            one size, each from its own, as the EHTDI reference does.
        to_image: labels of another size are brought to the image's by OpenCV's nearest (HIAST spec 2.2), for
            pseudo-labels of the size of the network's input; no size is an error then.
        backend: ``'pillow'`` for Pillow's nearest in that, which picks other pixels (IAST; HIAST spec, trap 24).
    """

    def __init__(self, same_size: bool = True, to_image: bool = False, backend: str = 'cv2') -> None:
        self.same_size, self.to_image, self.backend = same_size, to_image, backend

    def transform(self, results: dict) -> dict:
        """Load the labels."""
        path = results.get('seg_map_path')
        if path is None:
            return results
        ids = results['label_decoder'](fileio.get(path), path)
        if self.to_image:
            ids = imresize(ids, results['img'].shape[1::-1], interpolation='nearest', backend=self.backend)
        elif self.same_size:
            _require_same_size('label', ids, path, results, ', or give LoadLabels same_size=False')
        results['gt_seg_map'] = cv2.LUT(ids, results['label_table'])
        results['seg_fields'].append('gt_seg_map')
        return results


@TRANSFORMS.register_module()
class LoadDepth(BaseTransform):
    """Load ``depth_path`` with the data set's ``depth_decoder``.

    Centimetres of 16 bits are the smallest form without loss; :class:`mmuda.models.DomainDataPreprocessor` makes
    inverse depth of them on the device. A data set lists its depth maps if it is given ``with_depth=True``.

    Adds ``gt_depth_map`` (H, W) uint16, and its name to ``seg_fields``, by which it is flipped and cropped like labels.
    """

    def transform(self, results: dict) -> dict:
        """Load the depth map."""
        if 'depth_path' not in results:
            raise ValueError(f'{results["img_path"]} comes without depth: give its data set with_depth=True.')
        path = results['depth_path']
        depth = results['depth_decoder'](fileio.get(path), path)
        _require_same_size('depth map', depth, path, results)
        results['gt_depth_map'] = depth
        results['seg_fields'].append('gt_depth_map')
        return results


def _require_same_size(kind: str, array: np.ndarray, path: str, results: dict, cure: str = '') -> None:
    # an image from the cache has perhaps been resized already
    (height, width), (image_h, image_w) = array.shape, results.get('file_shape', results['img'].shape[:2])
    if (height, width) != (image_h, image_w):
        raise ValueError(
            f'{path}: the {kind} is {width}x{height}, its image {results["img_path"]} {image_w}x{image_h}. '
            f'Replace the file that is wrong{cure}.'
        )


@TRANSFORMS.register_module()
class Pack(BaseTransform):
    """Turn what a training pipeline made into a flat dict of tensors, leaving out what it did not make.

    ========================================  =====================  ===========================================
    ``image`` from ``img``                    (3, H, W) uint8, BGR
    ``label`` from ``gt_seg_map``             (H, W) uint8           255 = ignore
    ``depth`` from ``gt_depth_map``           (H, W) uint16          centimetres, 65535 = far
    ``grid_label``, ``grid_depth``            (h, w) uint8, uint16   samples of the two, see :class:`GridSample`
    ``weak``, ``strong``                      (3, h, w) uint8, BGR   crop of the image; the same with other colours
    ``weak_label``                            (h, w) uint8           crop of the label
    ``rows``, ``cols``                        (h,), (w,) int64       full-size row / column of each crop row / column
    ``keys``                                  (1 + C,) float64       random numbers, see :class:`DrawKeys`
    ``name``                                  str
    ========================================  =====================  ===========================================
    """

    renamed = (('image', 'img'), ('label', 'gt_seg_map'), ('depth', 'gt_depth_map'))
    kept = ('grid_label', 'grid_depth', 'weak', 'strong', 'weak_label', 'rows', 'cols', 'keys')

    def transform(self, results: dict) -> dict:
        """Pack one item."""
        arrays = [*self.renamed, *((key, key) for key in self.kept)]
        packed = {key: self._tensor(results[name]) for key, name in arrays if name in results}
        return packed | {'name': results['name']}

    @staticmethod
    def _tensor(array: np.ndarray) -> torch.Tensor:
        if array.ndim == 3:
            array = array.transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(array))
