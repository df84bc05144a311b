"""The depth papers' data configs, on MiniCity in SYNTHIA, Cityscapes and Mapillary layout."""

import runpy

import pytest
from helpers import ROOT
from mmengine.config import Config
from mmengine.runner import Runner

from mmuda.registry import DATASETS

FOLDER = ROOT / 'configs/_base_/datasets'
SIZES = {  # of a batch's source and target image, height first
    'synthia2city_depth_16': (16, (760, 1280), (512, 1024)),
    'synthia2city_7': (7, (760, 1280), (512, 1024)),
    'synthia2city_7_small': (7, (320, 640), (320, 640)),
    'synthia2mapillary_7': (7, (760, 1280), (768, 1024)),
    'synthia2mapillary_7_small': (7, (320, 640), (320, 640)),
}


@pytest.mark.parametrize('name', SIZES)
def test_batches_and_metainfo(name, city, monkeypatch):
    monkeypatch.setenv('MMUDA_DATA', str(city))
    cfg = Config.fromfile(FOLDER / f'{name}.py')
    classes, source, target = SIZES[name]
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False, pin_memory=False)

    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
    assert batch['source']['image'].shape == (1, 3, *source)
    assert batch['source']['label'].shape == batch['source']['depth'].shape == (1, *source)
    labels = set(batch['source']['label'].unique().tolist())
    assert len(labels) > 3
    assert labels <= {*range(classes), 255}
    assert batch['target'].keys() == {'image', 'name'}
    assert batch['target']['image'].shape == (1, 3, *target)

    batch = next(iter(Runner.build_dataloader(cfg.val_dataloader, seed=0)))
    (sample,) = batch['data_samples']
    assert batch['inputs'][0].shape == (3, *target)
    assert sample.gt_sem_seg.shape == sample.ori_shape == (64, 128)  # scored at the size of the label file
    fitted = 'mapillary' in name
    assert sample.get('pad_shape') == ((128 * target[0] // target[1], 128) if fitted else None)
    assert sample.get('padding_size') == ((0, 0, 0, sample.pad_shape[0] - 64) if fitted else None)
    assert cfg.test_pipeline == [cfg.val_dataloader.dataset.pipeline[i] for i in (0, 2, 3)]
    shapes = {i.shape for i in Runner.build_dataloader(with_tta(cfg), seed=0).dataset[0]['inputs']}
    assert len(shapes) == 3


def with_tta(cfg: Config) -> dict:
    cfg.val_dataloader.dataset.pipeline = cfg.tta_pipeline
    return cfg.val_dataloader


def test_mapillary_scored_at_the_network_s_input(city, monkeypatch):
    """As Depth Distribution's code does (its spec, T9)."""
    monkeypatch.setenv('MMUDA_DATA', str(city))
    cfg = Config.fromfile(FOLDER / 'synthia2mapillary_7_small.py')
    runpy.run_path(str(ROOT / 'tools/test.py'))['score_at'](cfg, 'network')
    sample = DATASETS.build(cfg.test_dataloader.dataset)[0]['data_samples']
    assert sample.gt_sem_seg.shape == sample.ori_shape == (320, 640)
    assert 'pad_shape' not in sample
