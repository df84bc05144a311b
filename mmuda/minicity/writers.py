"""The on-disk layouts of the real data sets, one writer each.

A writer turns one view into files (path below the root -> image) and knows the lists that belong to its data set.
Another layout is another pair of functions and another line in ``LAYOUTS``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .labels import MAPILLARY_ID, MAPILLARY_PALETTE, PALETTE, ROBOTCAR_ID, SYNTHIA_ID, TRAIN_ID
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


def _indexed(ids: np.ndarray, palette: np.ndarray) -> Image.Image:
    picture = Image.fromarray(ids).convert('L')
    picture.putpalette(palette.tobytes())  # mode P: the index is the id
    return picture


def _centimetres(view: View) -> np.ndarray:
    return np.rint(100 * view.depth).clip(0, 65535).astype(np.uint16)  # the sky is at 65535


def _gta5_files(view: View, stream: str, index: int) -> dict[str, Image.Image]:
    name = f'{index + 1:05d}.png'
    return {f'GTA5/images/{name}': Image.fromarray(view.image), f'GTA5/labels/{name}': _indexed(view.label, PALETTE)}


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


def _cityscapes_depth_files(view: View, stream: str, index: int) -> dict[str, Image.Image]:
    city, stem = _stem(stream, index)
    return {f'cityscapes/depth/{stream}/{city}/{stem}_depth.png': Image.fromarray(_centimetres(view))}


def _mapillary_files(view: View, stream: str, index: int) -> dict[str, Image.Image]:
    folder, stem = {'train': 'training', 'val': 'validation'}[stream], _stem(stream, index)[1]
    return {
        f'mapillary/{folder}/images/{stem}.jpg': Image.fromarray(view.image),
        f'mapillary/{folder}/labels/{stem}.png': _indexed(np.take(MAPILLARY_ID, view.label), MAPILLARY_PALETTE),
    }


def _robotcar_files(view: View, stream: str, index: int) -> dict[str, Image.Image]:
    if stream == 'train':  # its drives have no labels
        return {f'RobotCar/train/2014-11-25-09-18-32-{index:06d}.png': Image.fromarray(view.image)}
    label = np.full((*view.label.shape, 4), 255, np.uint8)
    label[..., :3] = np.take(ROBOTCAR_ID, view.label)[..., None]
    name = f'2014-12-16-18-44-24-{index:06d}.png'
    return {f'RobotCar/val/{name}': Image.fromarray(view.image), f'RobotCar/anno/{name}': Image.fromarray(label)}


def _no_lists(counts: dict[str, int]) -> dict[str, str]:
    return {}


def _synthia_files(view: View, stream: str, index: int) -> dict[str, Picture]:
    label = np.zeros((*view.label.shape, 3), np.uint16)  # red: class, green: instance, blue: unused
    label[..., 0] = SYNTHIA_ID[view.label]
    name = f'{index:07d}.png'
    return {
        f'SYNTHIA/RGB/{name}': Image.fromarray(view.image),
        f'SYNTHIA/GT/LABELS/{name}': label,
        f'SYNTHIA/Depth/{name}': np.repeat(_centimetres(view)[..., None], 3, 2),  # equal channels
    }


def _synthia_lists(counts: dict[str, int]) -> dict[str, str]:
    return {'SYNTHIA/synthia_list/train.txt': ''.join(f'{i}\n' for i in range(counts['source']))}


LAYOUTS = {
    'gta5': Layout('GTA5', ('source',), _gta5_files, _gta5_lists),
    'cityscapes': Layout('cityscapes', ('train', 'val'), _cityscapes_files, _cityscapes_lists),
    'cityscapes_depth': Layout('cityscapes', ('val',), _cityscapes_depth_files, _no_lists),
    'mapillary': Layout('mapillary', ('train', 'val'), _mapillary_files, _no_lists),
    'robotcar': Layout('RobotCar', ('train', 'val'), _robotcar_files, _no_lists),
    'synthia': Layout('SYNTHIA', ('source',), _synthia_files, _synthia_lists),
}
