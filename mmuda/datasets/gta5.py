"""GTA5 ("Playing for Data"): 24966 rendered street images, labels as palette PNGs of Cityscapes ids."""

from typing import ClassVar

from mmuda.datasets.base import NumberedDataset
from mmuda.datasets.classes import CITYSCAPES_IDS
from mmuda.registry import DATASETS


@DATASETS.register_module()
class GTA5Dataset(NumberedDataset):
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
    raw_ids = CITYSCAPES_IDS
    digits = 5
    published: ClassVar[dict[str | None, int]] = {
        'train': 12403,
        'val': 6382,
        'test': 6181,
        None: 24966,
        'gta5_hiast.txt': 24941,
    }
