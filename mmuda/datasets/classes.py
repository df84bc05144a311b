"""The class lists, their palettes and id tables, and the means a task reports.

Everything is counted in the 19 *train ids* of Cityscapes; a smaller class set says which of them make up each of its
classes, so one raw-id table per data set serves every class set. Where a data set's files tell more, or are read in
another way, it has a table of its own for that class set.
"""

import colorsys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

IGNORE = 255

# train id = position: name, colour (RGB), raw id in the label files of Cityscapes and GTA5
_CITYSCAPES = (
    ('road', (128, 64, 128), 7),
    ('sidewalk', (244, 35, 232), 8),
    ('building', (70, 70, 70), 11),
    ('wall', (102, 102, 156), 12),
    ('fence', (190, 153, 153), 13),
    ('pole', (153, 153, 153), 17),
    ('traffic light', (250, 170, 30), 19),
    ('traffic sign', (220, 220, 0), 20),
    ('vegetation', (107, 142, 35), 21),
    ('terrain', (152, 251, 152), 22),
    ('sky', (70, 130, 180), 23),
    ('person', (220, 20, 60), 24),
    ('rider', (255, 0, 0), 25),
    ('car', (0, 0, 142), 26),
    ('truck', (0, 0, 70), 27),
    ('bus', (0, 60, 100), 28),
    ('train', (0, 80, 100), 31),
    ('motorcycle', (0, 0, 230), 32),
    ('bicycle', (119, 11, 32), 33),
)

# train id = position
_SYNTHIA = (3, 4, 2, 21, 5, 7, 15, 9, 6, 16, 1, 10, 17, 8, 18, 19, 20, 12, 11)


class RawIds(NamedTuple):
    """What the ids in a data set's label files mean; ids that a table does not list are ignored.

    Attributes:
        train: raw id (0..255) -> train id (0..18).
        own: size of a class set -> raw id -> class, for the sets whose classes do not follow from the train ids.
        last: the largest id there is, beside 255.
    """

    train: Mapping[int, int]
    own: Mapping[int, Mapping[int, int]] = {}
    last: int = IGNORE


def _groups(*groups: tuple[int, ...]) -> dict[int, int]:
    return {raw: new for new, ids in enumerate(groups) for raw in ids}


CITYSCAPES_IDS = RawIds(
    train={raw: train for train, (_, _, raw) in enumerate(_CITYSCAPES)},
    own={7: _groups((7, 8), (11, 12, 13), (17, 19, 20), (21, 22), (23,), (24, 25), (26, 27, 28, 29, 30, 31, 32, 33))},
    last=34,  # GTA5's licence plate, which Cityscapes stores as 255
)
"""Cityscapes (``labelIds``) and GTA5 (EHTDI spec 2.2). Of 7 classes, *vehicle* has caravan and trailer, too, which have
no train id (DAF+IDA spec 2.2)."""

SYNTHIA_IDS = RawIds(
    train={raw: train for train, raw in enumerate(_SYNTHIA)},
    own={7: _groups((3, 4, 22), (2, 5), (7, 9, 15), (6,), (1,), (10,), (8, 11))},
    last=22,
)
"""SYNTHIA. Among 19 classes, 0 void, 13, 14 and 22 lane marking are ignored (EHTDI spec 2.2). Among 7, lane markings
are flat; walls, riders, motorcycles, buses, trucks, trains and terrain are ignored (DAF+IDA spec 2.2)."""

MAPILLARY_IDS = RawIds(
    train={},
    own={
        7: _groups(
            (*range(7, 16), 23, 24, 29),
            (*range(2, 7), 16, 17, 18),
            (*range(43, 51),),
            (30,),
            (27,),
            (*range(19, 23),),
            (*range(52, 63),),
        )
    },
    last=65,  # unlabeled
)
"""Mapillary Vistas v1.2, 66 ids. Terrain is *flat* here, but *nature* in Cityscapes (DAF+IDA spec 2.2)."""

ROBOTCAR_IDS = RawIds(
    train={},
    own={9: _groups((1,), (2,), (3,), (4,), (5,), (6,), (7,), (10,), (11, 12, 13, 14, 17))},
)
"""Oxford RobotCar; 11 to 14 and 17 are kinds of road (HIAST spec 2.2)."""

TRAIN_IDS = RawIds(train={train: train for train in range(19)}, last=18)
"""Files that already hold train ids (Cityscapes' ``labelTrainIds``)."""


class ClassSet(NamedTuple):
    """The classes a network is trained on; the new id of a class is its position.

    Attributes:
        names: one name per class.
        palette: one RGB colour per class.
        members: the train ids that make up each class; what no class names is ignored.
    """

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    members: tuple[tuple[int, ...], ...]


def _keep(*train_ids: int) -> ClassSet:
    names, palette, _ = zip(*(_CITYSCAPES[i] for i in train_ids), strict=True)
    return ClassSet(names, palette, tuple((i,) for i in train_ids))


CLASS_SETS = {
    19: _keep(*range(19)),
    16: _keep(0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18),  # the SYNTHIA task
    13: _keep(0, 1, 2, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18),  # its scoring subset: no wall, fence, pole
    9: ClassSet(  # the RobotCar task (HIAST spec 2.2)
        names=(
            'sky',
            'person',
            'two-wheel',
            'automobile',
            'traffic sign',
            'traffic light',
            'building',
            'sidewalk',
            'road',
        ),
        palette=tuple(_CITYSCAPES[i][1] for i in (10, 11, 18, 13, 7, 6, 2, 1, 0)),
        members=((10,), (11, 12), (17, 18), (13, 14, 15), (7,), (6,), (2,), (1,), (0,)),
    ),
    7: ClassSet(  # Cityscapes' categories
        names=('flat', 'construction', 'object', 'nature', 'sky', 'human', 'vehicle'),
        palette=tuple(_CITYSCAPES[i][1] for i in (0, 2, 5, 8, 10, 11, 13)),
        members=((0, 1), (2, 3, 4), (5, 6, 7), (8, 9), (10,), (11, 12), (13, 14, 15, 16, 17, 18)),
    ),
}


def class_set(classes: int) -> ClassSet:
    """Return the set of ``classes`` classes.

    Raises:
        ValueError: there is no set of that size.
    """
    if classes not in CLASS_SETS:
        raise ValueError(f'There is no set of {classes} classes: set classes to one of {sorted(CLASS_SETS)}.')
    return CLASS_SETS[classes]


def metainfo(classes: int | Sequence[str]) -> dict:
    """Return what mmseg's tools and metrics read from a data set: ``classes`` (names) and ``palette`` (RGB).

    Args:
        classes: size of a class set, or the names of classes of your own: those that a class set has keep its colours,
            the others get hues evenly spread.
    """
    if isinstance(classes, int):
        names, palette, _ = class_set(classes)
    else:
        names, known = (
            tuple(classes),
            {name: colour for one in CLASS_SETS.values() for name, colour in zip(one.names, one.palette, strict=True)},
        )
        palette = [known.get(name, _hue(number / len(names))) for number, name in enumerate(names)]
    return {'classes': names, 'palette': [list(colour) for colour in palette]}


def _hue(turn: float) -> tuple[int, ...]:
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(turn, 0.8, 0.9))


def id_table(ids: RawIds, classes: int) -> np.ndarray:
    """Make the look-up table from the ids in a label file to the ids of a class set.

    Args:
        ids: what the raw ids mean.
        classes: size of the class set.

    Returns:
        Table (256,) uint8: class 0..``classes`` - 1, or 255 = ignore.

    Raises:
        ValueError: the label files have no table for that class set.
    """
    if classes in ids.own:
        raw_to_class = ids.own[classes]
    elif ids.train:
        members = _groups(*class_set(classes).members)
        raw_to_class = {raw: members.get(train, IGNORE) for raw, train in ids.train.items()}
    else:
        raise ValueError(f'This data set has no table for {classes} classes: set classes to one of {sorted(ids.own)}.')
    table = np.full(256, IGNORE, np.uint8)
    table[list(raw_to_class)] = list(raw_to_class.values())
    return table


def score_subsets(names: Sequence[str]) -> dict[str, list[int]]:
    """Return the class indices behind every mean that a network of these classes reports.

    ``mIoU`` goes over all of them; ``mIoU16`` and ``mIoU13`` over the same classes whatever else the network has, where
    it has them all. A smaller mean averages entries of the one IoU vector: a prediction of a class that is left out
    still counts as an error (EHTDI spec, section 1).
    """
    subsets = {'mIoU': list(range(len(names)))}
    for size in (16, 13):
        if (kept := set(CLASS_SETS[size].names)) <= set(names):
            subsets[f'mIoU{size}'] = [index for index, name in enumerate(names) if name in kept]
    return subsets
