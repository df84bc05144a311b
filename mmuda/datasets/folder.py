"""Data of your own: folders of images and of label files, and a list of classes."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from mmuda.datasets import layout
from mmuda.datasets.base import DomainDataset
from mmuda.datasets.classes import IGNORE, RawIds
from mmuda.registry import DATASETS


@DATASETS.register_module()
class FolderDataset(DomainDataset):
    """Images below one folder, labels below another at the same places, and classes that are your own.

    ::

        camera/frames/tuesday/0001_rgb.jpg     camera/ids/tuesday/0001_ids.png

    Images lie in any sub-folders; pseudo-labels are written at the same places. Labels are 8-bit PNG, grey or palette.

    Args:
        images: folder of the images, below ``data_root`` or absolute.
        ids: name of each class -> its id, or ids, in the label files, in the order in which the network knows the
            classes. What no class names is ignored.
        labels: folder of the label files, likewise; not needed with ``with_labels=False``.
        image_suffix: ending of every image.
        label_suffix: what a label file has in its place.
        split: a list file, one image a line (its path below ``images``, with or without ``image_suffix``), or None for
            all images.
        data_root: folder that the other two are relative to.
        with_labels: False leaves labels alone.
        **kwargs: as for :class:`DomainDataset`.

    Raises:
        ValueError: an id is none of 0 to 255, or belongs to two classes; ``labels`` or a list file is missing.
    """

    folders = ()
    list_dir = ''

    def __init__(
        self,
        *,
        images: str,
        ids: Mapping[str, int | Sequence[int]],
        labels: str | None = None,
        image_suffix: str = '.png',
        label_suffix: str = '.png',
        split: str | None = None,
        data_root: str = layout.DEFAULT_ROOT,
        with_labels: bool = True,
        **kwargs: Any,
    ) -> None:
        self.ids = {name: (given,) if isinstance(given, int) else tuple(given) for name, given in ids.items()}
        self.image_dirs, self.label_dirs = (images,), (labels,)
        self.image_suffix, self.label_suffix = image_suffix, label_suffix
        self.raw_ids = RawIds(train={}, own={len(self.ids): self._table()})
        if with_labels and labels is None and kwargs.get('label_dir') is None:
            raise ValueError(f'{images}: name the folder of its labels (labels=...), or set with_labels=False.')
        if split in layout.SPLITS:
            raise ValueError(f'{images}: split={split!r} has to be a list file, or None for all images.')
        super().__init__(data_root=data_root, split=split, classes=len(self.ids), with_labels=with_labels, **kwargs)

    def _table(self) -> dict[int, int]:
        table: dict[int, int] = {}
        for number, (name, raws) in enumerate(self.ids.items()):
            for raw in raws:
                if not 0 <= raw < IGNORE:
                    raise ValueError(f'ids: {name} has the id {raw}, but a class has ids of 0 to {IGNORE - 1}.')
                if raw in table:
                    raise ValueError(
                        f'ids: {raw} belongs to {list(self.ids)[table[raw]]} and to {name}; leave one out.'
                    )
                table[raw] = number
        return table

    @property
    def class_names(self) -> Sequence[str]:
        """Names of the classes."""
        return tuple(self.ids)

    @property
    def cache_name(self) -> str:
        """The data set's name in the keys of a cache: its image folder."""
        return self.image_dirs[0]

    def image_of(self, line: str, folder: str) -> str:
        """Turn a line into the image's path below the image folder."""
        return f'{line.removesuffix(self.image_suffix)}{self.image_suffix}'

    def label_of(self, image: str) -> str:
        """Replace the ending."""
        return f'{image.removesuffix(self.image_suffix)}{self.label_suffix}'

    def name_of(self, image: str) -> str:
        """Return the path below the image folder without its ending."""
        return PurePosixPath(image.removesuffix(self.image_suffix)).as_posix()
