"""Decoded images at training size, in an LMDB that MMEngine's file backend reads: for a training that waits for them.

.. code:: text

 build_cache()   decode -> resize, as the pipeline would -> bytes under the key '<rule>|<data set>|<image>'
 CachedImage     takes the place of LoadImage in a data set with cache=FOLDER; a resize that follows finds nothing to do

The rule says how the image was made. A pipeline with another one finds no such key, so it never reads a stale image.
One folder serves one data root: an image goes by its data set's name and its path there.
"""

import os
import shutil
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.fileio import LmdbBackend
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader

from mmuda.datasets.transforms.geometric import PillowResize
from mmuda.datasets.transforms.loading import LoadImage
from mmuda.registry import DATASETS
from mmuda.utils.progress import progress

FORMATS = ('raw', 'lossless')
_HEADER = struct.Struct('<?4H')  # whether raw; (height, width) of the file and of the image
_BEFORE_RESIZE = ('LoadLabels', 'LoadDepth', 'RandomFlip')  # leave the size of an image alone
_CURE = "make it by 'python tools/offline.py cache CONFIG --out FOLDER'"


def resize_of(pipeline: Compose) -> BaseTransform | None:
    """The resize of a pipeline that can be done once and for all: its first step that does not just load or flip."""
    steps = [step for step in pipeline.transforms[1:] if type(step).__name__ not in _BEFORE_RESIZE]
    return steps[0] if steps and isinstance(steps[0], PillowResize) else None


def rule_of(resize: BaseTransform | None) -> str:
    """How an image is made of its file, in words: part of its key."""
    return 'as stored' if resize is None else '{}x{} pillow bicubic'.format(*resize.scale)


class CachedImage(BaseTransform):
    """Take an image from a cache in the place of :class:`LoadImage`, bit by bit what loading and resizing would give.

    Adds what that adds, and of a resized image ``file_shape``, the (H, W) of the file, to which labels are compared
    until the pipeline comes to its resize.

    Args:
        folder: of the cache.
        name: of the data set in its keys.
        resize: step of the pipeline that the cache has done, if any.

    Raises:
        FileNotFoundError: there is no such cache, or it lacks an image; names the cure.
    """

    def __init__(self, folder: str, name: str, resize: BaseTransform | None) -> None:
        if not os.path.isfile(os.path.join(folder, 'data.mdb')):
            raise FileNotFoundError(f'cache={folder!r}: there is no cache; {_CURE}')
        self.folder, self.start, self.resized = folder, f'{rule_of(resize)}|{name}|', resize is not None

    def transform(self, results: dict) -> dict:
        """Load one image."""
        content = _backend(self.folder).get(self.start + results['image'])
        if content is None:
            raise FileNotFoundError(
                f'the cache {self.folder} lacks {self.start}{results["image"]}: it was made for other images or sizes; '
                f'{_CURE} with this very config'
            )
        image, file_shape = unpack(content)
        results.update(img=image, img_shape=image.shape[:2], ori_shape=file_shape)
        if self.resized:
            results['file_shape'] = file_shape
        return results


@lru_cache
def _backend(folder: str) -> LmdbBackend:
    """The one reader of a cache that a process may have."""
    return LmdbBackend(folder)


os.register_at_fork(after_in_child=_backend.cache_clear)  # and another process has to open it anew


def pack(image: np.ndarray, file_shape: tuple[int, int], raw: bool) -> bytes:
    """Bytes of an image (H, W, 3) uint8, as they are or in lossless WebP."""
    data = image.tobytes() if raw else cv2.imencode('.webp', image, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    return _HEADER.pack(raw, *file_shape, *image.shape[:2]) + data


def unpack(content: bytes) -> tuple[np.ndarray, tuple[int, int]]:
    """Image and size of its file, from what :func:`pack` made."""
    raw, file_h, file_w, height, width = _HEADER.unpack_from(content)
    data = np.frombuffer(content, np.uint8, offset=_HEADER.size)
    image = data.reshape(height, width, 3).copy() if raw else cv2.imdecode(data, cv2.IMREAD_COLOR)
    return image, (file_h, file_w)


def build_cache(cfg: Config, out: str | Path, *, fmt: str = 'lossless', num_workers: int = 2) -> int:
    """Put the training images of a config into a cache; those that are there already stay.

    Args:
        cfg: Config whose training data sets are to be read from it: ``train_dataloader.dataset.<domain>.cache=out``.
        out: Folder of the cache; several configs can share one.
        fmt: ``'raw'``, the fastest to read, or ``'lossless'``, a third to a half of its size.
        num_workers: Processes that decode.

    Returns:
        How many images were added.

    Raises:
        ImportError: The package ``lmdb`` is missing.
        ValueError: ``fmt`` is neither, or flipped before the resize an image would come out otherwise.
    """
    if fmt not in FORMATS:
        raise ValueError(f'format={fmt!r}: choose one of {", ".join(FORMATS)}')
    try:
        import lmdb
    except ImportError as error:
        raise ImportError("the cache needs the package lmdb: pip install 'mmuda[cache]'") from error
    init_default_scope(cfg.default_scope)
    _backend.cache_clear()  # nobody reads meanwhile
    out = Path(out)
    part = out if (out / 'data.mdb').is_file() else out.with_name(f'{out.name}.part')
    part.mkdir(parents=True, exist_ok=True)
    space = shutil.disk_usage(part).free
    added = 0
    with lmdb.open(str(part), map_size=space, lock=True) as database:
        for domain in ('source', 'target'):
            settings = cfg.train_dataloader.dataset.get(domain)
            if settings is None:
                continue
            images = DATASETS.build(dict(settings, with_labels=False, label_dir=None, with_depth=False, cache=None))
            for key, content in _encoded(images, database, fmt, num_workers):
                with database.begin(write=True) as transaction:
                    transaction.put(key, content)
                added += 1
    if part != out:
        os.replace(part, out)
    return added


class _Encode(BaseTransform):
    """From an item to its key and bytes."""

    def __init__(self, start: str, resize: BaseTransform | None, fmt: str) -> None:
        self.start, self.resize, self.fmt = start, resize, fmt

    def transform(self, results: dict) -> tuple[bytes, bytes]:
        path, file_shape, image = results['img_path'], results['img'].shape[:2], results['img']
        if self.resize is not None:
            flipped = self.resize(dict(results, img=np.ascontiguousarray(image[:, ::-1])))['img']
            image = self.resize(results)['img']
            if not np.array_equal(flipped[:, ::-1], image):
                raise ValueError(f'{path}: flipped before it is resized it would be another image, so it is not cached')
        return (self.start + results['image']).encode('ascii'), pack(image, file_shape, self.fmt == 'raw')


def _encoded(images: Any, database: Any, fmt: str, num_workers: int) -> Iterator[tuple[bytes, bytes]]:
    """Key and bytes of every image that a database lacks."""
    resize = resize_of(images.pipeline)
    start = f'{rule_of(resize)}|{images.cache_name}|'
    with database.begin() as transaction:
        there = set(transaction.cursor().iternext(values=False))
    names = [start + images.get_data_info(i)['image'] for i in range(len(images))]
    missing = [i for i, name in enumerate(names) if name.encode('ascii') not in there]
    images.pipeline = Compose([LoadImage(), _Encode(start, resize, fmt)])
    loader = DataLoader(images, batch_size=None, sampler=missing, num_workers=num_workers, collate_fn=lambda item: item)
    yield from progress(loader, len(missing), f'cache of {start[:-1]}')
