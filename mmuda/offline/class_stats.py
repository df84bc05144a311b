"""How many pixels of each class a training set has, and which images hold them; no training reads it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader

from mmuda import __version__
from mmuda.datasets.classes import IGNORE
from mmuda.datasets.transforms import LoadLabels
from mmuda.offline import manifest
from mmuda.offline.predictions import images_of
from mmuda.registry import DATASETS
from mmuda.utils.progress import progress

KIND = 'class-stats'


class _CountClasses(BaseTransform):
    """Turn an item into the number of pixels of each id (256,) int64."""

    def transform(self, results: dict) -> np.ndarray:
        return np.bincount(results['gt_seg_map'].ravel(), minlength=256)


def class_statistics(
    cfg: Config, out: str | Path, *, domain: str = 'source', label_dir: str | None = None, num_workers: int = 2
) -> dict[str, Any]:
    """Count the classes of a config's training set, in its own labels or in pseudo-labels.

    Args:
        cfg: Config of the data.
        out: Folder for the result, ``manifest.json``.
        domain: ``'source'`` or ``'target'``.
        label_dir: Folder of labels to count instead of the data set's own.
        num_workers: Processes that read labels; the result does not depend on their number.

    Returns:
        What was written: ``classes``; ``pixels``, class -> number of pixels; ``ignored`` pixels; ``images``, class ->
        list of ``[image, pixels]`` of the images that hold it, in the data set's order. Images go by their paths below
        the image folder.

    Raises:
        ValueError: The config has no such domain, or a label is broken or holds ids that are no class.
        OSError: A file is missing or ``out`` cannot be written.
    """
    init_default_scope(cfg.default_scope)
    dataset = cfg.train_dataloader.dataset.get(domain)
    if dataset is None:
        raise ValueError(f'train_dataloader.dataset has no {domain} to count classes of; choose the other domain')
    pipeline = [LoadLabels(same_size=False), _CountClasses()]
    settings = dict(with_labels=True, cache=None, pipeline=pipeline, test_mode=True)
    if label_dir is not None:
        settings['label_dir'] = str(label_dir)
    images = DATASETS.build(dict(dataset) | settings)
    loader = DataLoader(images, batch_size=None, num_workers=num_workers)
    counts = np.stack([np.asarray(found) for found in progress(loader, len(images), KIND)])  # (images, 256)
    return write_statistics(out, images_of(images), counts, images.metainfo['classes'], domain)


def write_statistics(
    out: str | Path, names: Sequence[str], counts: np.ndarray, classes: Sequence[str], domain: str
) -> dict[str, Any]:
    """Write what was counted; see :func:`class_statistics`.

    Args:
        out: Folder for the result.
        names: The images' paths below the image folder.
        counts: Pixels of each class in each image, (images, 256) int64; 255 = ignored.
        classes: Names of the classes.
        domain: ``'source'`` or ``'target'``.
    """
    pixels = counts.sum(0).tolist()
    content = {
        'kind': KIND,
        'files': [],
        'count': 0,
        'version': __version__,
        'domain': domain,
        'classes': list(classes),
        'pixels': dict(zip(classes, pixels, strict=False)),
        'ignored': pixels[IGNORE],
        'images': {
            name: [[names[index], int(counts[index, number])] for index in np.flatnonzero(counts[:, number])]
            for number, name in enumerate(classes)
        },
    }
    manifest.write(Path(out), content)
    print_log(f'{out}: {len(names)} labels counted', logger='current')
    return content
