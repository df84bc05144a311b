"""Oxford RobotCar: 894 training images of rainy drives without labels and 271 validation images, 9 classes."""

from pathlib import PurePosixPath
from typing import Any, ClassVar

from mmuda.datasets.base import DomainDataset
from mmuda.datasets.classes import ROBOTCAR_IDS
from mmuda.datasets.transforms.loading import decode_red
from mmuda.registry import DATASETS


@DATASETS.register_module()
class RobotCarDataset(DomainDataset):
    """Oxford RobotCar, 1280x960, in the layout of AdaptSegNet's authors (HIAST spec 2.1).

    ::

        RobotCar/train/<drive>-000123.png     RobotCar/val/<name>.png     RobotCar/anno/<name>.png

    The training drives have no labels: read them with ``with_labels=False``. A label is an RGBA PNG with the id in its
    red channel. A list's line is a file name, with or without its folder and its ending; a list called ``val.txt`` is
    of validation images, one of any other name, like ``split=None``, of training images.

    Args:
        classes: 9; for other class sets there is no table.
        **kwargs: as for :class:`DomainDataset`.
    """

    folders = ('RobotCar', 'robotcar', 'Oxford', 'oxford', 'OxfordRobotCar', 'oxford_robotcar')
    label_dirs = ('anno',)
    list_dir = 'robotcar_list'
    raw_ids = ROBOTCAR_IDS
    published: ClassVar[dict[str | None, int]] = {'train': 894, 'val': 271, None: 894}
    label_decoder = staticmethod(decode_red)

    def __init__(self, *, classes: int = 9, **kwargs: Any) -> None:
        super().__init__(classes=classes, **kwargs)

    @property
    def image_dirs(self) -> tuple[str, ...]:
        """The image folder of the split."""
        return ('val',) if PurePosixPath(self.split or '').stem == 'val' else ('train',)

    def image_of(self, line: str, folder: str) -> str:
        """Turn a line into ``<name>.png``."""
        return f'{PurePosixPath(line).name.removesuffix(self.image_suffix)}{self.image_suffix}'

    def label_of(self, image: str) -> str:
        """Labels are named like images."""
        return image

    def name_of(self, image: str) -> str:
        """Return ``<name>``."""
        return PurePosixPath(image).stem
