"""A cache of images gives the pixels that decoding gives."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from method_tester import PseudoLabelTester
from mmengine.config import Config

from mmuda.datasets import CityscapesDataset, SourceTargetDataset
from mmuda.datasets.base import stored_label
from mmuda.datasets.cache import CachedImage, build_cache, pack, rule_of, unpack
from mmuda.offline.predictions import target_images
from mmuda.registry import DATASETS

pytest.importorskip('lmdb')


def dataset(cfg: Config, cache: Path | None) -> SourceTargetDataset:
    """A config's training data, read from files or from a cache."""
    settings = cfg.train_dataloader.dataset.copy()
    for domain in ('source', 'target'):
        if settings.get(domain):
            settings[domain] = dict(settings[domain], cache=None if cache is None else str(cache))
    return DATASETS.build(settings)


def batch(cfg: Config, cache: Path | None) -> list[dict]:
    """All its items."""
    found = dataset(cfg, cache)
    return [found[number] for number in range(len(found))]


def assert_equal(one: list[dict], two: list[dict]) -> None:
    for mine, other in zip(one, two, strict=True):
        assert mine.keys() == other.keys()
        for domain in mine:
            assert mine[domain].keys() == other[domain].keys()
            for key, value in mine[domain].items():
                same = torch.equal(value, other[domain][key]) if isinstance(value, torch.Tensor) else True
                assert same, (domain, key)


@pytest.mark.parametrize('fmt', ['raw', 'lossless'])
@pytest.mark.parametrize('name', ['gta2city', 'synthia2city_depth_16'])
def test_the_same_pixels(name: str, fmt: str, city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resized in the cache: the small images as the papers' are, flipped before that (or with depth), by one cache."""
    monkeypatch.setenv('MMUDA_DATA', str(city))
    cfg = Config.fromfile(f'configs/_base_/datasets/{name}.py')
    cfg.default_scope = 'mmuda'
    for domain in ('source', 'target'):
        for step in cfg.train_dataloader.dataset[domain].pipeline:
            if step.type == 'mmuda.PillowResize':
                step.scale = (80, 45) if domain == 'source' else (80, 40)
    assert build_cache(cfg, tmp_path / 'cache', fmt=fmt, num_workers=0) == 16
    assert_equal(batch(cfg, None), batch(cfg, tmp_path / 'cache'))
    assert build_cache(cfg, tmp_path / 'cache', fmt=fmt, num_workers=0) == 0  # all there
    source = DATASETS.build(dict(cfg.train_dataloader.dataset.source, cache=str(tmp_path / 'cache')))
    assert source.pipeline.transforms[0].start.startswith('80x45 pillow bicubic|')
    for step in cfg.train_dataloader.dataset.target.pipeline:
        if step.type == 'mmuda.PillowResize':
            step.scale = (88, 44)
    with pytest.raises(FileNotFoundError, match=r'lacks 88x44 pillow bicubic\|cityscapes\|train/.* this very config'):
        batch(cfg, tmp_path / 'cache')
    assert build_cache(cfg, tmp_path / 'cache', fmt=fmt, num_workers=2) == 8  # those of the other size are added
    assert_equal(batch(cfg, None), batch(cfg, tmp_path / 'cache'))


def test_donors_come_from_it_too(load: Callable[..., Config], city: Path, tmp_path: Path) -> None:
    crop = 'train_dataloader.dataset.target.pipeline.4'
    cfg = load('hiast/minicity.py', **{f'{crop}.heights': (30, 60), f'{crop}.size': (32, 64)})
    for item in CityscapesDataset(data_root=str(city), split='train', pipeline=[]):
        label = np.full((64, 128), len(item['name']) % 19, np.uint8)
        PseudoLabelTester.save(label, tmp_path / 'labels' / item['image'])
    PseudoLabelTester.write_manifest(tmp_path / 'labels')
    cfg.train_dataloader.dataset.target.label_dir = str(tmp_path / 'labels')
    assert build_cache(cfg, tmp_path / 'cache', num_workers=0) == 8
    before = batch(cfg, None)
    assert_equal(before, batch(cfg, tmp_path / 'cache'))
    step = DATASETS.build(dict(cfg.train_dataloader.dataset.target, cache=str(tmp_path / 'cache'))).pipeline.transforms
    loader = torch.utils.data.DataLoader(dataset(cfg, tmp_path / 'cache'), batch_size=None, num_workers=2)
    assert_equal(before, list(loader))  # workers forked from a process that has read
    assert isinstance(step[0], CachedImage)
    assert step[2].load_image is step[0]
    assert step[0].start == 'as stored|cityscapes|'


@pytest.mark.parametrize(
    ('step', 'size'),
    [
        (dict(type='mmuda.FitPad', scale=(96, 80)), (96, 80)),
        (dict(type='mmuda.RandomSizedCrop', heights=(20, 60), ratio=2, size=(32, 64)), (64, 32)),
        (dict(type='mmuda.ShortSideRandomScaleCrop', short_side=64, crop=40), (40, 40)),
        (dict(type='mmuda.PillowResize', scale=(80, 48)), (80, 48)),
    ],
)
def test_labels_of_the_networks_size_come_after_it(
    step: dict, size: tuple, city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Depth Distribution's on Mapillary, of the first images only."""
    monkeypatch.setenv('MMUDA_DATA', str(city))
    cfg = Config.fromfile('configs/depth_distribution/synthia2mapillary_7.py')
    target = cfg.train_dataloader.dataset.target
    assert target.pop('indices') == 9000
    names = [each.type.removeprefix('mmuda.') for each in target.pipeline]
    assert names == ['LoadImage', 'FitPad', 'LoadLabels', 'Pack']
    target.update(indices=2, label_dir=str(tmp_path / 'labels'))
    target.pipeline[1] = step
    for number, item in enumerate(target_images(cfg).load_data_list()):
        label = np.full(size[::-1], number, np.uint8)
        PseudoLabelTester.save(label, tmp_path / 'labels' / stored_label(item['image']))
    assert build_cache(cfg, tmp_path / 'cache', num_workers=0) == 2
    found = batch(cfg, tmp_path / 'cache')
    assert [item['target']['label'].unique().tolist() for item in found] == [[0], [1]]
    assert_equal(batch(cfg, None), found)


def test_packing() -> None:
    image = np.random.RandomState(0).randint(0, 256, (5, 7, 3), np.uint8)
    for raw in (True, False):
        found, file_shape = unpack(pack(image, (50, 70), raw))
        assert np.array_equal(found, image)
        assert file_shape == (50, 70)
        found[0, 0] = 1  # a pipeline may write into it
    assert rule_of(None) == 'as stored'


def test_mistakes_are_named(load: Callable[..., Config], city: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'there is no cache; make it by .*tools/offline\.py cache'):
        CityscapesDataset(data_root=str(city), cache=str(tmp_path), pipeline=[dict(type='mmuda.LoadImage')])
    with pytest.raises(ValueError, match='has to begin with it'):
        CityscapesDataset(data_root=str(city), cache=str(tmp_path), pipeline=[])
    with pytest.raises(ValueError, match="format='jpeg'"):
        build_cache(load('hiast/minicity.py'), tmp_path, fmt='jpeg')
