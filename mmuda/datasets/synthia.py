"""SYNTHIA (RAND_CITYSCAPES): 9400 rendered street images, labels in three published forms."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mmuda.datasets.base import NumberedDataset
from mmuda.datasets.classes import CITYSCAPES_IDS, SYNTHIA_IDS, TRAIN_IDS, RawIds
from mmuda.datasets.transforms.loading import decode_ids, decode_red16
from mmuda.registry import DATASETS

_SPLITS = {'train': range(9000), 'val': range(9000, 9400)}


class _Kind(NamedTuple):
    """One form of the labels: where the files lie, what their ids mean, how they are stored."""

    folder: str
    ids: RawIds
    decode: Callable[[bytes, str], np.ndarray]


_MAPPED = 'synthia_mapped_to_cityscapes'
_KINDS = {
    'LABELS': _Kind('GT/LABELS', SYNTHIA_IDS, decode_red16),
    'parsed_LABELS': _Kind('parsed_LABELS', SYNTHIA_IDS, decode_ids),
    'labelIds': _Kind(_MAPPED, CITYSCAPES_IDS, decode_ids),
    'labelTrainIds': _Kind(_MAPPED, TRAIN_IDS, decode_ids),
}


@DATASETS.register_module()
class SYNTHIADataset(NumberedDataset):
    """SYNTHIA-RAND-CITYSCAPES, 1280x760, in its published layout (EHTDI spec 2.1).

    ::

        SYNTHIA/RGB/0000000.png     SYNTHIA/GT/LABELS/0000000.png     SYNTHIA/Depth/0000000.png

    A folder ``RAND_CITYSCAPES``, as the archive brings it, may stand between or on its own.

    ==================  ================================  ============================================================
    label_kind          folder                            files
    ==================  ================================  ============================================================
    ``LABELS``          ``GT/LABELS``                     as published: 16-bit PNG, red channel = SYNTHIA id
    ``parsed_LABELS``   ``parsed_LABELS``                 8-bit PNG of the same ids (an extra download of other codes)
    ``labelIds``        ``synthia_mapped_to_cityscapes``  8-bit PNG of Cityscapes' raw ids (road is 7)
    ``labelTrainIds``   ``synthia_mapped_to_cityscapes``  8-bit PNG of train ids (road is 0)
    ==================  ================================  ============================================================

    Depth (``Depth``, or ``Depth/Depth`` as one archive has it) is a 16-bit PNG of centimetres with one channel or three
    equal ones; 65535 is far (DAF+IDA spec 2.3).

    Read ``LABELS`` with :class:`LoadLabels`: mmseg's ``LoadAnnotations`` opens them with Pillow, which loses the ids.

    A list's lines are numbers (``0``, ``0000000``) or file names. Without a list of its own the folder is split as
    published: train is 0 to 8999, val 9000 to 9399. Codes that train on all 9400 images read ``split=None``.

    Args:
        label_kind: see the table; None takes ``LABELS``, or ``parsed_LABELS`` where that folder does not exist. What
            ``synthia_mapped_to_cityscapes`` holds cannot be told from its name and must be said.
        **kwargs: as for :class:`DomainDataset`.

    Raises:
        ValueError: unknown or missing ``label_kind``, or a plain split that SYNTHIA does not have.
    """

    folders = (
        'SYNTHIA',
        'SYNTHIA/RAND_CITYSCAPES',
        'synthia',
        'synthia/RAND_CITYSCAPES',
        'SYNTHIA_RAND_CITYSCAPES',
        'SYNTHIA_RAND_CITYSCAPES/RAND_CITYSCAPES',
        'RAND_CITYSCAPES',
    )
    image_dirs = ('RGB',)
    label_dirs = tuple(dict.fromkeys(kind.folder for kind in _KINDS.values()))
    depth_dirs = ('Depth/Depth', 'Depth')
    list_dir = 'synthia_list'
    digits = 7
    published: ClassVar[dict[str | None, int]] = {'train': 9000, 'val': 400, None: 9400}

    def __init__(self, *, label_kind: str | None = None, **kwargs: Any) -> None:
        if label_kind not in (None, *_KINDS):
            raise ValueError(f'label_kind={label_kind!r}: choose one of {", ".join(_KINDS)}, or None to find out.')
        self.label_kind = label_kind
        if label_kind:
            self.label_dirs = (_KINDS[label_kind].folder,)
        super().__init__(**kwargs)

    @property
    def raw_ids(self) -> RawIds:
        """The id table of the kind of labels that is read."""
        return _KINDS[self.label_kind or 'LABELS'].ids

    @property
    def label_decoder(self) -> Callable[[bytes, str], np.ndarray]:
        """The decoder of the kind of labels that is read."""
        return _KINDS[self.label_kind or 'LABELS'].decode

    def published_lines(self) -> list[str]:
        """Return the numbers of the published split."""
        if self.split not in _SPLITS:
            raise ValueError(
                f'SYNTHIA has no {self.split} split: choose {" or ".join(_SPLITS)}, a list file, or None for all of it.'
            )
        return [str(number) for number in _SPLITS[self.split]]

    def _choose_labels(self, label_dir: str, images: list[str]) -> list[str]:
        if self.label_kind is None:
            if label_dir.endswith(_MAPPED):
                raise ValueError(
                    f'{label_dir}: such a folder may hold raw or train ids of Cityscapes. Look at the value of a road '
                    "pixel and set label_kind='labelIds' (road is 7) or label_kind='labelTrainIds' (road is 0)."
                )
            self.label_kind = next(kind for kind, form in _KINDS.items() if label_dir.endswith(form.folder))
        return super()._choose_labels(label_dir, images)
