"""What every data set has in common: class sets, one id table, files by split."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import ClassVar

import numpy as np
from mmengine.dataset import BaseDataset

from mmuda.datasets import layout
from mmuda.datasets.classes import IGNORE, RawIds, id_table, metainfo
from mmuda.datasets.transforms.loading import LoadImage, decode_depth, decode_ids

DEPTH_KINDS = ('.png', '.npy')
"""Of depth maps in a ``depth_dir``, all of one kind."""


def stored_label(image: str) -> str:
    """Turn an image's path below the image folder into its label's path below a folder of train ids."""
    return PurePosixPath(image).with_suffix('.png').as_posix()


class DomainDataset(BaseDataset):
    """Images of one domain, with or without labels.

    A sub-class names its folders and says how a line of a list becomes a file. An item starts its pipeline as
    ``img_path``, ``image`` (the path below the image folder), ``name``, ``seg_map_path`` (with labels only),
    ``label_decoder`` (a label file's bytes and path -> raw ids), ``label_table`` (256 uint8, raw id -> class or 255),
    ``label_map`` (the same for mmseg's own ``LoadAnnotations``), ``label_dir``, ``depth_path`` (with depth only),
    ``depth_decoder`` (a depth file's bytes and path -> centimetres), ``seg_fields`` and ``reduce_zero_label``.

    Args:
        data_root: folder that holds all data sets, or this one; the default is described in
            :func:`mmuda.datasets.layout.candidate_roots`.
        split: ``train``, ``val``, ``test``, the path of a list file, or None for every file of the data set. An empty
            list file takes every file, too. A plain name uses the reference codes' list where the data set has one,
            else the published split shipped with this package, else every file of the split's folder.
        classes: size of the class set (19, 16, 13, 9 or 7).
        with_labels: False leaves the data set's labels alone; their folder need not exist.
        label_dir: folder with an 8-bit PNG of train ids for every image, at the image's path below the image folder, as
            :mod:`mmuda.offline` writes them. These labels are read then, and the data set's own left alone.
        with_depth: True reads the depth map of every image, too.
        depth_dir: folder with a depth map for every image, at the image's path below the image folder: PNG or NPY, see
            :func:`decode_depth`. These are read then, in place of the data set's own, if it has any.
        cache: folder of a :mod:`mmuda.datasets.cache`, from which images are read instead of being decoded.
        pipeline: transforms or their configs.
        test_mode: as in mmengine.
        indices: take only these items, or the first so many, or of a negative number the last so many. Of the others
            neither labels nor depth maps need exist.

    Raises:
        FileNotFoundError: a folder or a listed file is missing, or the split is empty.
        ValueError: the data set has no table for these classes, or no depth, or ``indices`` chooses nothing.
    """

    folders: ClassVar[tuple[str, ...]]
    image_dirs: ClassVar[tuple[str, ...]]
    label_dirs: ClassVar[tuple[str, ...]]
    depth_dirs: ClassVar[tuple[str, ...]] = ()
    list_dir: ClassVar[str]
    shipped_lists: ClassVar[str | None] = None
    image_suffix: ClassVar[str] = '.png'
    label_suffix: ClassVar[str] = '.png'
    raw_ids: ClassVar[RawIds]
    published: ClassVar[Mapping[str | None, int]] = {}  # split -> number of images

    ignore_index = IGNORE
    reduce_zero_label = False

    def __init__(
        self,
        data_root: str = layout.DEFAULT_ROOT,
        split: str | None = 'train',
        classes: int = 19,
        with_labels: bool = True,
        label_dir: str | None = None,
        with_depth: bool = False,
        depth_dir: str | None = None,
        cache: str | None = None,
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        indices: int | Sequence[int] | None = None,
    ) -> None:
        self.split = split
        self.classes = classes
        self.with_labels = with_labels
        self.label_dir = label_dir
        self.with_depth = with_depth
        self.depth_dir = depth_dir
        self.indices = indices
        if with_depth and not (self.depth_dirs or depth_dir):
            raise ValueError(
                f'{type(self).__name__} has no depth maps: leave with_depth=True out, or name a folder by depth_dir.'
            )
        # on the instance: mmseg's confusion matrix tool reads it there
        self.METAINFO = metainfo(self.class_names or classes)
        super().__init__(
            metainfo=self.METAINFO,
            data_root=str(data_root),
            data_prefix={},
            serialize_data=False,  # a few MB of paths; serialising costs a full garbage collection
            pipeline=list(pipeline),
            test_mode=test_mode,
        )
        if label_dir is None:
            self.label_table = id_table(self.raw_ids, classes)
        else:
            self.label_table = np.arange(256, dtype=np.uint8)
        if cache is not None:
            self._read_from(cache)
        self.label_map = {raw: int(new) for raw, new in enumerate(self.label_table) if raw != new}

    @property
    def cache_name(self) -> str:
        """The data set's name in the keys of a cache."""
        return self.folders[0]

    def _read_from(self, cache: str) -> None:
        """Let every step that loads images take them from a cache."""
        from mmuda.datasets.cache import CachedImage, resize_of  # which builds data sets

        steps = self.pipeline.transforms
        if not steps or not isinstance(steps[0], LoadImage):
            raise ValueError(f'cache={cache!r} takes the place of mmuda.LoadImage: the pipeline has to begin with it.')
        cached = steps[0] = CachedImage(cache, self.cache_name, resize_of(self.pipeline))
        for step in steps:
            if hasattr(step, 'load_image'):
                step.load_image = cached

    @property
    def class_names(self) -> Sequence[str]:
        """Names of the classes where they are the user's own; empty where ``classes`` names a class set."""
        return ()

    @property
    def label_decoder(self) -> Callable[[bytes, str], np.ndarray]:
        """Turns the bytes of a label file, and its path for errors, into raw ids (H, W) uint8."""
        return decode_ids

    @property
    def depth_decoder(self) -> Callable[[bytes, str], np.ndarray]:
        """Turns the bytes of a depth file, and its path for errors, into centimetres (H, W) uint16; 65535 = far."""
        return decode_depth

    def published_lines(self) -> list[str]:
        """Return the lines of a plain split that no list file tells; none takes every file of its folder."""
        return []

    def split_folder(self) -> str:
        """Return the folder, below the image and label folders, that holds the split ('' = all of it)."""
        return ''

    def image_of(self, line: str, folder: str) -> str:
        """Turn a line of a list into an image's path below the image folder.

        Args:
            line: the line, stripped.
            folder: the split's folder, for lines that do not name one.

        Raises:
            ValueError: the line has none of the accepted forms.
        """
        raise NotImplementedError

    def images_of(self, lines: list[str], folder: str, available: list[str]) -> list[str]:
        """Turn the lines of a list into images, given the split's folder and the images that there are."""
        return [self.image_of(line, folder) for line in lines]

    def label_of(self, image: str) -> str:
        """Turn an image's path below the image folder into its label's path below the label folder."""
        raise NotImplementedError

    def depth_of(self, image: str) -> str:
        """Turn an image's path below the image folder into its depth map's path below the depth folder."""
        raise NotImplementedError

    def name_of(self, image: str) -> str:
        """Return the name under which an image appears in logs and written files."""
        raise NotImplementedError

    def load_data_list(self) -> list[dict]:
        """List the split's files; called by mmengine."""
        home, image_dir = layout.find_dataset(self.data_root, self.folders, self.image_dirs)
        folder = self.split_folder()
        images = self._subset(self._choose_images(home, image_dir, folder))
        items = [
            {'img_path': layout.join(image_dir, image), 'image': image, 'name': self.name_of(image)} for image in images
        ]
        paths = {}
        if self.label_dir is not None or self.with_labels:
            paths['seg_map_path'] = self._find_labels(home, images)
        if self.with_depth:
            paths['depth_path'] = self._find_depth(home, images)
        for key, found in paths.items():
            for item, path in zip(items, found, strict=True):
                item[key] = path
        return items

    def _subset(self, images: list[str]) -> list[str]:
        # mmengine would take it of the items, when a file was already asked for each
        if self.indices is None:
            return images
        there, wanted = range(len(images)), self.indices
        if isinstance(wanted, int):
            wanted = there[:wanted] if wanted >= 0 else there[wanted:]
        if not wanted or not all(-len(there) <= index < len(there) for index in wanted):
            raise ValueError(f'indices={self.indices!r} of {type(self).__name__} must choose among {len(there)} images')
        return [images[index] for index in wanted]

    def _find_labels(self, home: str, images: list[str]) -> list[str]:
        if self.label_dir is not None:
            label_dir, labels = self.label_dir, [stored_label(image) for image in images]
            layout.require(labels, layout.list_files(label_dir, '', '.png'), label_dir, 'its image (label_dir=...)')
        else:
            label_dir = layout.find_folder(home, self.label_dirs)
            labels = self._choose_labels(label_dir, images)
        return [layout.join(label_dir, label) for label in labels]

    def _find_depth(self, home: str, images: list[str]) -> list[str]:
        if self.depth_dir is not None:
            there = [name for kind in DEPTH_KINDS for name in layout.list_files(self.depth_dir, '', kind)]
            kind = PurePosixPath(there[0]).suffix if there else DEPTH_KINDS[0]
            maps = [PurePosixPath(image).with_suffix(kind).as_posix() for image in images]
            layout.require(maps, there, self.depth_dir, 'its image (depth_dir=...)')
            return [layout.join(self.depth_dir, depth) for depth in maps]
        depth_dir, maps = layout.find_folder(home, self.depth_dirs), [self.depth_of(image) for image in images]
        layout.require(maps, layout.list_files(depth_dir, '', '.png'), depth_dir, 'its image (with_depth=True)')
        return [layout.join(depth_dir, depth) for depth in maps]

    def _choose_images(self, home: str, image_dir: str, folder: str) -> list[str]:
        path = layout.find_list(self.split, home, self.list_dir, self.shipped_lists) if self.split else None
        if path:
            lines = layout.read_list(path)
        else:
            lines = self.published_lines() if self.split else []
        available = layout.list_files(image_dir, '' if lines else folder, self.image_suffix)
        images = self.images_of(lines, folder, available) if lines else available
        if not images:
            raise FileNotFoundError(
                f'{layout.join(image_dir, folder)}: no *{self.image_suffix} image in this folder. '
                'Complete the data set or choose another split.'
            )
        layout.require(images, available, image_dir, path or f'the published split {self.split!r}')
        return images

    def _choose_labels(self, label_dir: str, images: list[str]) -> list[str]:
        labels = [self.label_of(image) for image in images]
        source = 'its image (data sets without labels are read with with_labels=False)'
        layout.require(labels, layout.list_files(label_dir, '', self.label_suffix), label_dir, source)
        return labels

    def _decode_stored(self, data: bytes, path: str) -> np.ndarray:
        """Decode a label of ``label_dir``, in which every id has to be a class or 255."""
        ids = decode_ids(data, path)
        foreign = np.flatnonzero(np.bincount(ids.ravel(), minlength=256)[self.classes : IGNORE])
        if foreign.size:
            raise ValueError(
                f'{path}: holds the id {self.classes + foreign[0]}, which is none of the {self.classes} classes. A '
                'label_dir holds train ids, 255 = ignore; write it anew for these classes.'
            )
        return ids

    def get_data_info(self, idx: int) -> dict:
        """Return what the pipeline starts from for one item; called by mmengine."""
        return super().get_data_info(idx) | {
            'label_decoder': self.label_decoder if self.label_dir is None else self._decode_stored,
            'label_table': self.label_table,
            'label_map': self.label_map,
            'label_dir': self.label_dir,
            'depth_decoder': self.depth_decoder,
            'reduce_zero_label': self.reduce_zero_label,
            'seg_fields': [],
        }


class NumberedDataset(DomainDataset):
    """A data set whose images, and labels likewise, are numbered PNG files in one folder.

    A list's lines are numbers with or without leading zeros (``1``, ``00001``) or file names (``00001.png``).
    """

    digits: ClassVar[int]

    def image_of(self, line: str, folder: str) -> str:
        """Turn a number or a file name into the file's name with all its digits."""
        match = re.fullmatch(r'(\d+)(?:\.png)?', PurePosixPath(line).name)
        if match is None:
            raise ValueError(
                f'{line!r} in the list of split={self.split!r} is not an image number such as {1:0{self.digits}d}.'
            )
        return f'{int(match[1]):0{self.digits}d}.png'

    def label_of(self, image: str) -> str:
        """Labels are named like images."""
        return image

    def depth_of(self, image: str) -> str:
        """Depth maps are named like images."""
        return image

    def name_of(self, image: str) -> str:
        """Return the image's number with all its digits."""
        return PurePosixPath(image).stem
