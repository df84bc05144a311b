"""Samples of two large generated images, decoded each time or read from a cache: the same bytes."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset, Compose
from PIL import Image
from speed.measure import Row, alternate
from speed.step import CONFIGS

from mmuda import minicity
from mmuda.datasets.cache import build_cache
from mmuda.datasets.classes import CITYSCAPES_IDS, id_table
from mmuda.offline import manifest
from mmuda.registry import DATASETS

IMAGES = 'cityscapes/leftImg8bit'


def write_city(root: Path, size: tuple[int, int], label_size: tuple[int, int]) -> Path:
    """Two scenes as images of Cityscapes train; returns a folder of pseudo-labels of theirs, a third of them empty."""
    files, pixels = [], []
    for number in range(2):
        view = minicity.make('train', number, size=size)
        files.append(f'train/a/a_00000{number}_000019_leftImg8bit.png')
        label = cv2.LUT(cv2.resize(view.label, label_size[::-1], interpolation=cv2.INTER_NEAREST), _TABLE)
        label[::3] = 255
        pixels.append(np.bincount(label.ravel(), minlength=256)[:19].tolist())
        for folder, array in ((IMAGES, view.image), ('labels', label)):
            path = root / folder / files[-1]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
    confidence = {str(c): 0.9 for c in range(19)}
    content = dict(kind='pseudo-labels', files=files, count=2, confidence=confidence, pixels_by_image=pixels)
    manifest.write(root / 'labels', content)
    return root / 'labels'


_TABLE = id_table(CITYSCAPES_IDS, 19)


def reader(cfg: Config, cache: Path | None, kept: slice) -> BaseDataset:
    """A config's target images with some steps of their pipeline."""
    dataset = DATASETS.build(dict(cfg.train_dataloader.dataset.target, cache=None if cache is None else str(cache)))
    dataset.pipeline = Compose(dataset.pipeline.transforms[kept])
    return dataset


def sample(dataset: BaseDataset) -> Callable[[], dict[str, Any]]:
    """Load its first item by the same random numbers each time."""

    def load() -> dict[str, Any]:
        np.random.seed(0)
        return dataset[0]

    return load


def loading(rounds: int, quick: bool) -> Iterator[Row]:
    """A resized image, and HIAST's sample with copy-paste and two views."""
    size, label_size = ((128, 256), (96, 192)) if quick else ((1024, 2048), (768, 1536))
    with TemporaryDirectory() as place, patch.dict(os.environ, MMUDA_DATA=place):
        root = Path(place)
        labels = write_city(root, size, label_size)
        resized, hiast = (
            Config.fromfile(CONFIGS / name) for name in ('_base_/datasets/gta2city.py', 'hiast/gta2city.py')
        )
        resized.default_scope, resized.train_dataloader.dataset.source = 'mmuda', None
        steps = resized.train_dataloader.dataset.target.pipeline
        steps[:] = [steps[0], steps[2]]  # load and resize
        hiast.train_dataloader.dataset.target.label_dir = str(labels)
        if quick:
            hiast.train_dataloader.dataset.target.pipeline[4].update(heights=(43, 125), size=(64, 128))
        for fmt, goal in (('raw', 15), ('lossless', 4)):
            build_cache(resized, root / fmt, fmt=fmt, num_workers=0)
            plain, fast = sample(reader(resized, None, slice(None))), sample(reader(resized, root / fmt, slice(1)))
            yield _row(f'image, 1280x640: decode and resize, {fmt} cache', plain, fast, rounds, None if quick else goal)
        build_cache(hiast, root / 'full', fmt='raw', num_workers=0)
        plain, fast = (sample(reader(hiast, cache, slice(None))) for cache in (None, root / 'full'))
        item = fast()
        shipped = sum(item[key].nbytes for key in ('image', 'strong', 'label')) / 1e6
        row = _row("HIAST's sample: two images decoded, raw cache", plain, fast, rounds, None if quick else 3)
        row.note += f'; ships {shipped:.1f} MB of bytes'
        yield row


def _row(name: str, plain: Callable, fast: Callable, rounds: int, goal: float | None) -> Row:
    one, two = plain(), fast()
    if not all(np.array_equal(one[key], two[key]) for key in {'img', 'image', 'strong', 'label'} & two.keys()):
        raise RuntimeError(f'{name}: the cache gives other pixels')
    return Row(name, *alternate(plain, fast, rounds=rounds), at_least=goal, note='equal')
