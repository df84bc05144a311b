"""GTA5 ("Playing for Data"): 24966 rendered street images, labels as palette PNGs of Cityscapes ids."""

import re
from pathlib import PurePosixPath

from mmuda.datasets.base import DomainDataset
from mmuda.datasets.classes import CITYSCAPES_IDS
from mmuda.registry import DATASETS


@DATASETS.register_module()
class GTA5Dataset(DomainDataset):
    """GTA5 in its published layout (EHTDI spec 2.1).

    ::

        GTA5/images/00001.png     GTA5/labels/00001.png

    A list's lines are numbers (``1``, ``00001``) or file names (``00001.png``). Without a list of its own the folder
    is split as published: 12403 train, 6382 val and 6181 test images. Arguments: :class:`DomainDataset`.
    """

    folders = ('GTA5', 'gta5', 'GTA', 'gta', 'GTAV', 'gtav')
    image_dirs = ('images',)
    label_dirs = ('labels',)
    list_dir = 'gta5_list'
    shipped_lists = 'gta5'
    raw_to_train = CITYSCAPES_IDS

    def image_of(self, line: str, folder: str) -> str:
        """Turn a number or a file name into ``%05d.png``."""
        match = re.fullmatch(r'(\d+)(?:\.png)?', PurePosixPath(line).name)
        if match is None:
            raise ValueError(f'{line!r} in the list of split={self.split!r} is not a GTA5 image number such as 00001.')
        return f'{int(match[1]):05d}.png'

    def label_of(self, image: str) -> str:
        """Labels are named like images."""
        return image

    def name_of(self, image: str) -> str:
        """Return the image's number, ``00001``."""
        return PurePosixPath(image).stem
