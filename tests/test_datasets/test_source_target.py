import random
import shutil

import numpy as np
import pytest
import torch
from mmengine.runner import Runner

from mmuda.datasets import CityscapesDataset, Draw, DrawSampler, GTA5Dataset, SourceTargetDataset

PIPELINE = [
    {'type': 'mmuda.LoadImage'},
    {'type': 'mmuda.LoadLabels'},
    {'type': 'RandomFlip', 'prob': 0.5},
    {'type': 'mmuda.PillowResize', 'scale': (40, 24)},
    {'type': 'mmuda.RandomGaussianBlur'},
    {'type': 'mmuda.WeakStrongCrop', 'size': (16, 20)},
    {'type': 'mmuda.Pack'},
]


@pytest.fixture
def config(gta5, cityscapes):
    shutil.rmtree(cityscapes / 'gtFine')
    common = {'data_root': str(gta5.parent), 'pipeline': PIPELINE}
    return {
        'type': 'mmuda.SourceTargetDataset',
        'source': {'type': 'mmuda.GTA5Dataset', **common},
        'target': {'type': 'mmuda.CityscapesDataset', 'with_labels': False, **common},
    }


def equal(a, b):
    if isinstance(a, dict):
        return set(a) == set(b) and all(equal(a[key], b[key]) for key in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def loader(config, workers):
    return Runner.build_dataloader(
        {
            'batch_size': 2,
            'num_workers': workers,
            'sampler': {'type': 'mmuda.DrawSampler'},
            'collate_fn': {'type': 'default_collate'},
            'dataset': config,
        },
        seed=11,
    )


def test_batches_do_not_depend_on_the_workers(config):
    batches = {}
    for workers in (0, 2):
        stream = iter(loader(config, workers))
        batches[workers] = [next(stream) for _ in range(4)]
        del stream
    assert all(equal(a, b) for a, b in zip(batches[0], batches[2], strict=True))
    source, target = batches[0][0]['source'], batches[0][0]['target']
    assert source['image'].shape == (2, 3, 24, 40)
    assert source['label'].shape == (2, 24, 40)
    assert source['weak'].shape == source['strong'].shape == (2, 3, 16, 20)
    assert source['rows'].shape == (2, 16)
    assert 'label' not in target
    assert 'weak_label' not in target
    assert len(target['name']) == 2


def test_a_resumed_loader_goes_on_with_the_same_batches(config):
    stream = iter(loader(config, 0))
    batches = [next(stream) for _ in range(4)]
    resumed = loader(config, 0)
    resumed.sampler.skip(2 * 2)
    stream = iter(resumed)
    assert equal(next(stream), batches[2])
    assert equal(next(stream), batches[3])


def test_an_item_depends_on_the_draw_alone_and_leaves_the_generators_alone(config):
    dataset = SourceTargetDataset(source=config['source'])
    draw = Draw(number=5, seed=3, indices={'source': 1})
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(1)
    first = dataset[draw]
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    assert equal(dataset[draw], first)
    assert (random.random(), np.random.rand(), torch.rand(1)) == expected
    others = [dataset[draw._replace(**change)]['source'] for change in ({'number': 6}, {'seed': 4})]
    assert all(not equal(other, first['source']) for other in others)
    assert all(other['name'] == first['source']['name'] for other in others)


def test_domains_have_random_streams_of_their_own(config):
    both = SourceTargetDataset(source=config['source'], target=config['source'])
    item = both[Draw(0, 0, {'source': 0, 'target': 0})]
    assert item['source']['name'] == item['target']['name']
    assert not equal(item['source']['weak'], item['target']['weak'])


def test_sizes_and_browsing(config):
    dataset = SourceTargetDataset(config['source'], config['target'])
    assert dataset.sizes == {'source': 4, 'target': 3}
    assert len(dataset) == 4
    assert dataset.metainfo['classes'][0] == 'road'
    assert equal(dataset[3], dataset[3])
    assert dataset[3]['target']['name'] == dataset[0]['target']['name']
    alone = SourceTargetDataset(target=config['target'])
    assert set(alone[0]) == {'target'}
    assert next(iter(DrawSampler(alone, seed=0))).indices.keys() == {'target'}


def test_what_cannot_be_paired(gta5, cityscapes):
    with pytest.raises(ValueError, match='needs a source, a target or both'):
        SourceTargetDataset()
    root = str(gta5.parent)
    with pytest.raises(ValueError, match=r'source: 19, target: 16'):
        SourceTargetDataset(
            GTA5Dataset(data_root=root), CityscapesDataset(data_root=root, classes=16, with_labels=False)
        )
