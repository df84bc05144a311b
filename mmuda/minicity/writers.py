"""The on-disk layouts of the real data sets, one writer each.

A writer turns one view into files (path below the root -> image) and knows the lists that belong to its data set.
Another layout is another pair of functions and another line in ``LAYOUTS``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .labels import PALETTE, SYNTHIA_ID, TRAIN_ID
from .render import View

Picture = Image.Image | np.ndarray
"""A Pillow image, or (H, W, 3) uint16 RGB for a 16-bit PNG, which Pillow cannot write."""

CITIES = {'train': ('auenburg', 'moorfurt', 'steinrode', 'wiesenau'), 'val': ('birkental', 'seegrund')}


@dataclass(frozen=True)
class Layout:
    """How one data set lies on disk.

    Attributes:
        folder: Its folder below the root.
        streams: Which scenes it holds: ``source``, ``train`` and ``val`` (of the target).
        files: (view, stream, index) -> images by path below the root.
        lists: (number of scenes per stream) -> texts by path below the root.
    """

    folder: str
    streams: tuple[str, ...]
    files: Callable[[View, str, int], dict[str, Picture]]
    lists: Callable[[dict[str, int]], dict[str, str]]


def _gta5_files(view: View, stream: str, index: int) -> dict[str, Image.Image]:
    label = Image.fromarray(view.label).convert('L')
    label.putpalette(PALETTE.tobytes())  # mode P: the index is the raw id
    name = f'{index + 1:05d}.png'
    return {f'GTA5/images/{name}': Image.fromarray(view.image), f'GTA5/labels/{name}': label}


def _gta5_lists(counts: dict[str, int]) -> dict[str, str]:
    return {'GTA5/gta5_list/train.txt': ''.join(f'{i + 1}\n' for i in range(counts['source']))}


def _stem(stream: str, index: int) -> tuple[str, str]:
    """City and file stem of a Cityscapes frame."""
    city = CITIES[stream][index % len(CITIES[stream])]
    return city, f'{city}_{index:06d}_000019'


def _cityscapes_files(view: View, stream: str, index: int) -> dict[str, Image.Image]:
    city, stem = _stem(stream, index)
    fine = f'cityscapes/gtFine/{stream}/{city}/{stem}_gtFine'
    return {
        f'cityscapes/leftImg8bit/{stream}/{city}/{stem}_leftImg8bit.png': Image.fromarray(view.image),
        f'{fine}_labelIds.png': Image.fromarray(view.label),
        f'{fine}_labelTrainIds.png': Image.fromarray(np.take(TRAIN_ID, view.label)),
    }


def _cityscapes_lists(counts: dict[str, int]) -> dict[str, str]:
    return {
        f'cityscapes/city_list/{split}.txt': ''.join(f'{split}_{_stem(split, i)[1]}\n' for i in range(counts[split]))
        for split in CITIES
    }


def _synthia_files(view: View, stream: str, index: int) -> dict[str, Picture]:
    label = np.zeros((*view.label.shape, 3), np.uint16)  # red: class, green: instance, blue: unused
    label[..., 0] = SYNTHIA_ID[view.label]
    centimetres = np.rint(100 * view.depth).clip(0, 65535).astype(np.uint16)
    name = f'{index:07d}.png'
    return {
        f'SYNTHIA/RGB/{name}': Image.fromarray(view.image),
        f'SYNTHIA/GT/LABELS/{name}': label,
        f'SYNTHIA/Depth/{name}': np.repeat(centimetres[..., None], 3, 2),  # equal channels; the sky is at 65535
    }


def _synthia_lists(counts: dict[str, int]) -> dict[str, str]:
    return {'SYNTHIA/synthia_list/train.txt': ''.join(f'{i}\n' for i in range(counts['source']))}


LAYOUTS = {
    'gta5': Layout('GTA5', ('source',), _gta5_files, _gta5_lists),
    'cityscapes': Layout('cityscapes', ('train', 'val'), _cityscapes_files, _cityscapes_lists),
    'synthia': Layout('SYNTHIA', ('source',), _synthia_files, _synthia_lists),
}
