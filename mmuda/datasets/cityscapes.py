"""Cityscapes: 2975 train and 500 val street images with fine labels."""

import re
from collections import defaultdict
from pathlib import PurePosixPath
from typing import Any, ClassVar

from mmuda.datasets import layout
from mmuda.datasets.base import DomainDataset
from mmuda.datasets.classes import CITYSCAPES_IDS, TRAIN_IDS, RawIds
from mmuda.registry import DATASETS

_IMAGE_END = '_leftImg8bit.png'
_LINE = re.compile(r'(?:(?P<split>train|val|test)_)?(?P<stem>(?P<city>[^_]+)_\d+_\d+)(?:_leftImg8bit)?(?:\.png)?')
_TABLES = {'labelIds': CITYSCAPES_IDS, 'labelTrainIds': TRAIN_IDS}


@DATASETS.register_module()
class CityscapesDataset(DomainDataset):
    """Cityscapes in its published layout (EHTDI spec 2.1), also unpacked archive by archive.

    ::

        cityscapes/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png
        cityscapes/gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png
        cityscapes/leftImg8bit_trainvaltest/leftImg8bit/...  cityscapes/gtFine_trainvaltest/gtFine/...

    A list's line is ``train_aachen_000000_000019``, ``aachen_000000_000019`` or a path ending in the image's file
    name, such as ``aachen/aachen_000000_000019_leftImg8bit.png``. A line that names no split belongs to the split the
    list is for: a plain ``split``, or the name of the list file (``train.txt``); in a list of another name, to the one
    split that has the line's city. ``cityscapes_easy.txt`` and ``cityscapes_hard.txt`` come with this package: the
    train images in DAF+IDA's published order of trust (its spec 6.2).

    Depth exists for MiniCity's validation images, ``cityscapes/depth/val/.../..._depth.png``, encoded like SYNTHIA's.

    Args:
        label_kind: ``labelIds`` (published), ``labelTrainIds`` (made from them by Cityscapes' own scripts), or None
            for the first of the two that the first image has.
        **kwargs: as for :class:`DomainDataset`.

    Raises:
        ValueError: unknown ``label_kind``.
    """

    folders = ('cityscapes', 'Cityscapes', 'CityScapes')
    image_dirs = ('leftImg8bit', 'leftImg8bit_trainvaltest/leftImg8bit')
    label_dirs = ('gtFine', 'gtFine_trainvaltest/gtFine')
    depth_dirs = ('depth',)
    list_dir = 'city_list'
    image_suffix = _IMAGE_END
    published: ClassVar[dict[str | None, int]] = {
        'train': 2975,
        'val': 500,
        'cityscapes_easy.txt': 1963,
        'cityscapes_hard.txt': 1012,
    }

    def __init__(self, *, label_kind: str | None = None, **kwargs: Any) -> None:
        if label_kind not in (None, *_TABLES):
            raise ValueError(f'label_kind={label_kind!r}: choose one of {", ".join(_TABLES)}, or None to find out.')
        self.label_kind = label_kind
        super().__init__(**kwargs)

    @property
    def raw_ids(self) -> RawIds:
        """The id table of the kind of label files that is read."""
        return _TABLES[self.label_kind or 'labelIds']

    def split_folder(self) -> str:
        """Return the split's folder; a list file goes by its own name (``train.txt``)."""
        name = PurePosixPath(self.split or '').stem
        return name if name in layout.SPLITS else ''

    def image_of(self, line: str, folder: str) -> str:
        """Turn a line into ``train/aachen/aachen_000000_000019_leftImg8bit.png``."""
        path = PurePosixPath(line)
        match = _LINE.fullmatch(path.name)
        if match is None:
            raise ValueError(
                f'{line!r} in the list of split={self.split!r} is not a Cityscapes image such as '
                'train_aachen_000000_000019.'
            )
        split = match['split'] or next((part for part in path.parts if part in layout.SPLITS), folder)
        if not split:
            raise ValueError(
                f'{line!r} in the list of split={self.split!r} names no split: write train_{match["stem"]}, or call '
                'the list train.txt.'
            )
        return f'{split}/{match["city"]}/{match["stem"]}{_IMAGE_END}'

    def images_of(self, lines: list[str], folder: str, available: list[str]) -> list[str]:
        """Turn lines into images, each in the folder of its split."""
        splits = defaultdict(set)  # in which a city lies
        for image in available:
            split, _, rest = image.partition('/')
            splits[PurePosixPath(rest).name.partition('_')[0]].add(split)

        def folder_of(line: str) -> str:
            match = _LINE.fullmatch(PurePosixPath(line).name)
            found = splits[match['city']] if match else ()
            return min(found) if len(found) == 1 else ''

        return [self.image_of(line, folder or folder_of(line)) for line in lines]

    def label_of(self, image: str) -> str:
        """Turn ``..._leftImg8bit.png`` into ``..._gtFine_<label kind>.png``."""
        return f'{image.removesuffix(_IMAGE_END)}_gtFine_{self.label_kind}.png'

    def depth_of(self, image: str) -> str:
        """Turn ``..._leftImg8bit.png`` into ``..._depth.png``."""
        return f'{image.removesuffix(_IMAGE_END)}_depth.png'

    def name_of(self, image: str) -> str:
        """Return ``aachen_000000_000019``."""
        return PurePosixPath(image).name.removesuffix(_IMAGE_END)

    def _choose_labels(self, label_dir: str, images: list[str]) -> list[str]:
        if self.label_kind is None:
            start = images[0].removesuffix(_IMAGE_END)
            there = layout.list_files(label_dir, str(PurePosixPath(start).parent), '.png')
            self.label_kind = next((kind for kind in _TABLES if f'{start}_gtFine_{kind}.png' in there), 'labelIds')
        return super()._choose_labels(label_dir, images)
