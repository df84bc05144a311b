"""Is the data complete and sane? Every file of every data set of a config is opened once.

.. code:: text

 check():       named_datasets() -> build -> examine() every item in workers -> judge() -> overlaps()
 judge():       counts, sizes, ids, depth of one data set -> errors and warnings
 report_text(): the same for people
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader

from mmuda.datasets.base import DomainDataset, NumberedDataset
from mmuda.datasets.classes import CITYSCAPES_IDS, CLASS_SETS, IGNORE, SYNTHIA_IDS, TRAIN_IDS, RawIds
from mmuda.datasets.transforms.loading import decode_image
from mmuda.registry import DATASETS
from mmuda.utils.depth import FAR, FARTHEST
from mmuda.utils.progress import progress

_BIG = (0, 1, 2, 8, 10, 13)  # road, sidewalk, building, vegetation, sky, car: they fill every street scene
_MOST = 0.6  # of the pixels that they take at least where labels are read rightly
_STRAY = 0.01  # of the pixels may have ids that a reading does not have
_NEAR = 1000  # centimetres that are passed somewhere in every street scene
_TRAINED = ('source', 'target')
_SHOWN = 3  # messages of one kind in the text


class Record(NamedTuple):
    """What was found in the files of one item.

    Attributes:
        digest: of the image file's bytes; None if it cannot be read, likewise the next three.
        size: (width, height) of the image.
        ids: pixels of each raw id in the label file, (256,) int64.
        depth: (nearest, farthest) in centimetres among those below 65535, and the share of 65535.
        broken: a sentence for each file that cannot be used.
    """

    digest: bytes | None
    size: tuple[int, int] | None
    ids: np.ndarray | None
    depth: tuple[int, int, float] | None
    broken: tuple[str, ...]


@dataclass
class Checked:
    """What is known of one data set.

    Attributes:
        role: ``source``, ``target``, ``val`` or ``test``.
        dataset: type, split and image folder.
        count: number of images; ``expected`` is what it should be, where that is known.
        sizes: ``'<width>x<height>'`` -> number of images.
        ids: raw id -> share of the pixels of all labels.
        classes: class -> share of the pixels; the rest is ignored.
        depth: ``nearest`` and ``farthest`` in metres, ``far``: share of the pixels that are farther than can be told.
        errors: sentences that name a file or setting and the cure.
        warnings: likewise, of what may be intended.
        names: the images' paths below the image folder.
        counts: pixels of each class in each image, (images, 256) int64; None without labels.
        digests: of the image files, in the order of ``names``.
    """

    role: str
    dataset: str
    count: int = 0
    expected: int | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    ids: dict[int, float] = field(default_factory=dict)
    classes: dict[str, float] = field(default_factory=dict)
    depth: dict[str, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list, repr=False)
    counts: np.ndarray | None = field(default=None, repr=False)
    digests: list[bytes | None] = field(default_factory=list, repr=False)

    def as_json(self) -> dict[str, Any]:
        """All but the three lists that are as long as the data set."""
        return {key: value for key, value in vars(self).items() if key not in ('names', 'counts', 'digests')}


def check(cfgs: Iterable[Config], num_workers: int = 2) -> list[Checked]:
    """Open every file of the data sets that some configs name: those of the stages of a recipe.

    A data set that several of them name alike is looked at once. Labels are read where the config has them read: those
    of the target's training images stay closed.

    Args:
        cfgs: The configs.
        num_workers: Processes that read; what is found does not depend on their number.

    Returns:
        One entry for each data set; those whose files cannot be listed have an error and no counts.
    """
    found = []
    for role, given, cfg in named_datasets(cfgs):
        init_default_scope(cfg.default_scope)
        name = given['type'].removeprefix('mmuda.')
        checked = Checked(role, name)
        try:
            settings = dict(pipeline=[_Examine(_same_size(given))], test_mode=True, cache=None)
            dataset = DATASETS.build(given | settings)
        except (OSError, ValueError) as error:
            checked.errors.append(str(error))
        else:
            loader = DataLoader(dataset, batch_size=None, num_workers=num_workers, collate_fn=_as_it_is)
            judge(checked, dataset, list(progress(loader, len(dataset), f'{role} {name}')), cfg)
        found.append(checked)
    overlaps(found)
    return found


def named_datasets(cfgs: Iterable[Config]) -> Iterator[tuple[str, dict, Config]]:
    """Yield role, settings and config of every data set that is trained on or scored on, once for each of the two."""
    seen = []
    for cfg in cfgs:
        train = cfg.train_dataloader.dataset
        roles = {'source': train.get('source'), 'target': train.get('target')}
        roles |= {name: cfg[f'{name}_dataloader'].dataset for name in ('val', 'test')}
        for role, given in roles.items():
            if given is None:
                continue
            files = {key: value for key, value in given.items() if key not in ('pipeline', 'test_mode', 'cache')}
            if (use := (role in _TRAINED, files)) not in seen:
                seen.append(use)
                yield role, dict(given), cfg


def judge(checked: Checked, dataset: DomainDataset, records: Sequence[Record], cfg: Config) -> None:
    """Fill in what the records of a data set say; ``cfg`` tells how many scenes its MiniCity has."""
    items = [dataset.get_data_info(index) for index in range(len(dataset))]
    checked.names, checked.digests = [item['image'] for item in items], [record.digest for record in records]
    folder = items[0]['img_path'].removesuffix(items[0]['image'])
    checked.dataset += f' split={dataset.split} in {folder}'
    checked.count, checked.expected = len(records), _expected(dataset, cfg)
    if checked.expected not in (None, checked.count):
        checked.errors.append(
            f'{checked.count} images instead of {checked.expected}. Complete the data set, or name a list of '
            'what you have (split=FILE).'
        )
    checked.errors += [sentence for record in records for sentence in record.broken]
    checked.sizes = dict(Counter('{}x{}'.format(*record.size) for record in records if record.size).most_common())
    histograms = [np.zeros(256, np.int64) if record.ids is None else record.ids for record in records]
    if any(record.ids is not None for record in records):
        classes = dataset.label_table[:, None] == np.arange(256)  # raw id -> class, one-hot
        checked.counts = np.stack(histograms) @ classes.astype(np.int64)
        _judge_ids(checked, dataset, np.sum(histograms, 0))
    if depths := [record.depth for record in records if record.depth is not None]:
        _judge_depth(checked, np.array(depths))


def overlaps(found: Sequence[Checked]) -> None:
    """Add an error to every validation or test set that holds an image that is trained on, under whatever name."""
    trained = {
        digest: f'{checked.role} {name}'
        for checked in found
        if checked.role in _TRAINED
        for name, digest in zip(checked.names, checked.digests, strict=True)
        if digest is not None
    }
    for checked in found:
        if checked.role in _TRAINED:
            continue
        pairs = zip(checked.names, checked.digests, strict=True)
        both = [f'{name} is {trained[digest]}' for name, digest in pairs if digest in trained]
        if both:
            checked.errors.append(
                f'{len(both)} images are trained on, too: {_some(both)}. Scores would be of known images; give '
                f'{checked.role} other ones.'
            )


def report_text(found: Sequence[Checked]) -> str:
    """What was found, for people."""
    lines = []
    for checked in found:
        expected = '' if checked.expected is None else f' ({checked.expected} expected)'
        lines.append(f'{checked.role}: {checked.dataset}: {checked.count} images{expected}')
        if checked.sizes:
            lines.append(f'  sizes   {_some([f"{size} ({count})" for size, count in checked.sizes.items()])}')
        if checked.classes:
            shares = [f'{name} {100 * share:.1f}' for name, share in checked.classes.items()]
            ignored = 100 - 100 * sum(checked.classes.values())
            lines.append(f'  classes {", ".join(shares)}, ignored {ignored:.1f} % of the pixels')
        if checked.depth:
            lines.append(
                '  depth   {nearest:.2f} to {farthest:.2f} m, {far:.1f} % farther'.format(
                    **checked.depth | {'far': 100 * checked.depth['far']}
                )
            )
        for kind, sentences in (('error', checked.errors), ('warning', checked.warnings)):
            lines += [f'  {kind}: {sentence}' for sentence in sentences[:_SHOWN]]
            if len(sentences) > _SHOWN:
                lines.append(f'  {kind}: and {len(sentences) - _SHOWN} more; --json lists them')
    errors, warnings = (sum(len(getattr(checked, kind)) for checked in found) for kind in ('errors', 'warnings'))
    return '\n'.join([*lines, f'{errors} error(s), {warnings} warning(s)'])


# ------------------------------------------------------------------------------------------------------- files


class _Examine(BaseTransform):
    """Turn an item into its :class:`Record`.

    Args:
        same_size: Whether labels have to have their image's size.
    """

    def __init__(self, same_size: bool) -> None:
        self.same_size = same_size

    def transform(self, results: dict) -> Record:
        """Open the item's files."""
        digest, size, ids, depth, broken = None, None, None, None, []
        try:
            data = fileio.get(path := results['img_path'])
            size = decode_image(data, path).shape[1::-1]
            digest = hashlib.blake2b(data, digest_size=16).digest()
        except (OSError, ValueError) as error:
            broken.append(str(error))
        for kind, decoder in (('seg_map_path', 'label_decoder'), ('depth_path', 'depth_decoder')):
            if kind not in results:
                continue
            try:
                array = results[decoder](fileio.get(path := results[kind]), path)
            except (OSError, ValueError) as error:
                broken.append(str(error))
                continue
            if size not in (None, array.shape[::-1]) and (self.same_size or kind == 'depth_path'):
                broken.append('{}: {}x{}, but its image is {}x{}. Replace it.'.format(path, *array.shape[::-1], *size))
            if kind == 'seg_map_path':
                ids = np.bincount(array.ravel(), minlength=256)
            else:
                near = array[array < FAR]
                depth = (int(near.min()), int(near.max()), 1 - near.size / array.size) if near.size else (FAR, 0, 1.0)
        return Record(digest, size, ids, depth, tuple(broken))


def _as_it_is(record: Record) -> Record:
    return record


def _same_size(given: dict) -> bool:
    """Whether labels have to have the size of the image file; pseudo-labels have that of the network's input."""
    steps = given.get('pipeline', ())
    free = any(step.get('to_image') or not step.get('same_size', True) for step in steps)
    return not free and not given.get('label_dir')


def _expected(dataset: DomainDataset, cfg: Config) -> int | None:
    """Number of images that a data set should have: of the MiniCity of the config, or as published."""
    if 'minicity' not in cfg:
        return dataset.published.get(dataset.split)
    if isinstance(dataset, NumberedDataset):
        return cfg.minicity.source
    return cfg.minicity.get(f'target_{dataset.split}')


# --------------------------------------------------------------------------------------------------- judgements


def _judge_ids(checked: Checked, dataset: DomainDataset, histogram: np.ndarray) -> None:
    """Judge the pixels of each raw id in all labels, (256,)."""
    total = histogram.sum()
    by_class = np.bincount(dataset.label_table, weights=histogram, minlength=256) / total
    names = dataset.metainfo['classes']
    checked.ids = {int(raw): float(histogram[raw] / total) for raw in np.flatnonzero(histogram)}
    checked.classes = dict(zip(names, by_class.tolist(), strict=False))
    if dataset.label_dir is not None:
        return  # pseudo-labels leave out what they please; a foreign id has already ended up in `broken`
    if misread := _one_id(histogram / total) or _other_reading(dataset.raw_ids, histogram / total):
        checked.errors.append(misread)
        return  # all else would follow from it
    if foreign := [raw for raw in checked.ids if dataset.raw_ids.last < raw < IGNORE]:
        checked.errors.append(
            f'this data set has no ids above {dataset.raw_ids.last}, but the labels hold {_some(map(str, foreign))}. '
            'Restore the published label files.'
        )
    if by_class[IGNORE] > 0.5:
        checked.errors.append(f'{100 * by_class[IGNORE]:.0f} % of the pixels are ignored: check what the ids mean.')
    unnamed = [raw for raw in checked.ids if dataset.label_table[raw] == IGNORE != raw]
    if dataset.class_names and unnamed:
        checked.warnings.append(f'the ids {_some(map(str, unnamed))} belong to no class and are ignored.')
    if absent := [names[number] for number in np.unique(dataset.label_table)[:-1] if not by_class[number]]:
        checked.warnings.append(f'no pixel of {", ".join(absent)}.')


def _one_id(share: np.ndarray) -> str | None:
    """An error if a single id takes nearly all of the pixels, given each one's share of them, (256,)."""
    largest = int(share.argmax())
    if share[largest] <= 0.99:
        return None
    return (
        f'nearly every pixel has the id {largest}. 16-bit labels such as those of SYNTHIA become 0 where they are '
        'read as 8 bit: restore the published label files.'
    )


def _other_reading(ids: RawIds, share: np.ndarray) -> str | None:
    """An error if the classes of every street scene are rare as the ids are read, and frequent in another reading."""
    if not ids.train:
        return None
    found = share[_big(ids)].sum()
    shares = {
        reading: share[big].sum()
        for reading, (big, last) in _READINGS.items()
        if share[last + 1 : IGNORE].sum() < _STRAY
    }
    best = max(shares, key=shares.get)  # of grey values at least, which may be any
    if not found < _MOST <= shares[best]:
        return None
    return (
        f'as the ids are read, road, sidewalk, building, vegetation, sky and car have {100 * found:.0f} % of the '
        f'pixels; as {best} they have {100 * shares[best]:.0f} %. Restore the published label files, or set '
        'label_kind to what they hold.'
    )


def _judge_depth(checked: Checked, depths: np.ndarray) -> None:
    """Judge nearest, farthest and share of far pixels of every depth map, (maps, 3)."""
    nearest, farthest, far = depths[:, 0].min(), depths[:, 1].max(), depths[:, 2].mean()
    checked.depth = {'nearest': nearest / 100, 'farthest': farthest / 100, 'far': float(far)}
    if farthest < _NEAR:
        checked.errors.append(
            f'no depth between {_NEAR / 100:.0f} and {FARTHEST:.0f} m: depth files hold centimetres, not metres, 8-bit '
            'depth or disparity. Restore the published files.'
        )


def _big(ids: RawIds) -> list[int]:
    return [raw for raw, number in ids.train.items() if number in _BIG]


def _some(texts: Iterable[str]) -> str:
    first, *rest = list(texts)
    return ', '.join([first, *rest[: _SHOWN - 1]]) + (
        f' and {len(rest) - _SHOWN + 1} more' if len(rest) >= _SHOWN else ''
    )


_GREY = cv2.cvtColor(np.array([CLASS_SETS[19].palette], np.uint8), cv2.COLOR_RGB2GRAY)[0].tolist()
_READINGS = {
    'ids of Cityscapes and GTA5': (_big(CITYSCAPES_IDS), CITYSCAPES_IDS.last),
    'ids of SYNTHIA': (_big(SYNTHIA_IDS), SYNTHIA_IDS.last),
    'train ids': (_big(TRAIN_IDS), TRAIN_IDS.last),
    'grey values of a palette picture read as a photo': ([_GREY[number] for number in _BIG], IGNORE),
}
