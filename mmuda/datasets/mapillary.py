"""Mapillary Vistas: 18000 training and 2000 validation street images of many sizes, labels as palette PNGs."""

from pathlib import PurePosixPath
from typing import Any, ClassVar

import numpy as np

from mmuda.datasets.base import DomainDataset
from mmuda.datasets.classes import MAPILLARY_IDS
from mmuda.datasets.transforms.loading import decode_ids
from mmuda.registry import DATASETS

_FOLDERS = {'train': ('training', 'train'), 'val': ('validation',), 'test': ('testing',)}
_LABELS = ('labels', 'v1.2/labels', 'v2.0/labels')  # the last one only to say that it is the wrong one
_CURE = 'Use the labels of v1.2; the archive of v2.0 has them in v1.2/labels.'


def _decode(data: bytes, path: str) -> np.ndarray:
    """Decode a label file of v1.2 to its ids, (H, W) uint8."""
    ids = decode_ids(data, path)
    if ids.max() > (last := MAPILLARY_IDS.last):
        raise ValueError(f'{path}: holds the id {ids.max()}, but v1.2 of Mapillary Vistas has 0 to {last}. {_CURE}')
    return ids


def _dirs(split: str, *kinds: str) -> tuple[str, ...]:
    """The folders of some kinds of files of a split."""
    return tuple(f'{folder}/{kind}' for kind in kinds for folder in _FOLDERS.get(split, _FOLDERS['train']))


@DATASETS.register_module()
class MapillaryDataset(DomainDataset):
    """Mapillary Vistas in the layout of v1.2, or of v2.0, whose archive has the labels of v1.2, too (DAF+IDA spec 2.1).

    ::

        mapillary/training/images/abc.jpg     mapillary/training/labels/abc.png
        mapillary/validation/...              mapillary/training/v1.2/labels/abc.png

    The folder ``training`` may be called ``train``. A list's line is ``abc``, ``abc.jpg`` or a path that ends so. A
    list called ``val.txt`` is of validation images; one of any other name, like ``split=None``, of training images.

    Args:
        classes: 7; for other class sets there is no table.
        split: as for :class:`DomainDataset`.
        **kwargs: as for :class:`DomainDataset`.

    Raises:
        ValueError: the only labels are those of v2.0.
    """

    folders = ('mapillary', 'Mapillary', 'mapillary_vistas', 'mapillary-vistas', 'Mapillary-Vistas')
    image_dirs, label_dirs = _dirs('train', 'images'), _dirs('train', *_LABELS)
    list_dir = 'mapillary_list'
    image_suffix = '.jpg'
    raw_ids = MAPILLARY_IDS
    published: ClassVar[dict[str | None, int]] = {'train': 18000, 'val': 2000, None: 18000}
    label_decoder = staticmethod(_decode)

    def __init__(self, *, classes: int = 7, split: str | None = 'train', **kwargs: Any) -> None:
        name = PurePosixPath(split or '').stem
        self.image_dirs, self.label_dirs = _dirs(name, 'images'), _dirs(name, *_LABELS)
        super().__init__(classes=classes, split=split, **kwargs)

    def image_of(self, line: str, folder: str) -> str:
        """Turn a line into ``abc.jpg``."""
        return f'{PurePosixPath(line).name.removesuffix(self.image_suffix)}{self.image_suffix}'

    def label_of(self, image: str) -> str:
        """Turn ``abc.jpg`` into ``abc.png``."""
        return PurePosixPath(image).with_suffix('.png').name

    def name_of(self, image: str) -> str:
        """Return ``abc``."""
        return PurePosixPath(image).stem

    def _choose_labels(self, label_dir: str, images: list[str]) -> list[str]:
        if label_dir.endswith('v2.0/labels'):
            raise ValueError(f'{label_dir}: these are the 124 classes of v2.0, for which there is no table. {_CURE}')
        return super()._choose_labels(label_dir, images)
