import itertools

import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mmuda.datasets import DrawSampler
from mmuda.registry import DATA_SAMPLERS


class Sized:
    def __init__(self, **sizes):
        self.sizes = sizes


def take(sampler, count):
    return list(itertools.islice(sampler, count))


def make(rank=0, world_size=1, **kwargs):
    sampler = DrawSampler(Sized(source=7, target=5), seed=4, **kwargs)
    sampler.rank, sampler.world_size = rank, world_size
    return sampler


@pytest.mark.parametrize('restart_every', [None, 6])
def test_skip_equals_consuming(restart_every):
    whole = take(make(restart_every=restart_every), 60)
    for count in (0, 1, 13, 42):
        resumed = make(restart_every=restart_every)
        resumed.skip(count)
        assert take(resumed, 60 - count) == whole[count:]
    assert [draw.number for draw in whole] == list(range(60))


@pytest.mark.parametrize('restart_every', [None, 6])
def test_two_ranks_interleave_to_one_process(restart_every):
    one = take(make(restart_every=restart_every), 40)
    ranks = [take(make(rank, 2, restart_every=restart_every), 20) for rank in (0, 1)]
    assert [draw for pair in zip(*ranks, strict=True) for draw in pair] == one
    late = make(1, 2, restart_every=restart_every)
    late.skip(5)
    assert take(late, 3) == ranks[1][5:8]


def test_every_lap_is_a_permutation_and_no_two_are_equal():
    draws = take(make(), 70)
    for domain, size in (('source', 7), ('target', 5)):
        laps = np.array([draw.indices[domain] for draw in draws]).reshape(-1, size)
        assert (np.sort(laps) == np.arange(size)).all()
        assert len({tuple(lap) for lap in laps}) > len(laps) // 2


def test_domains_and_seeds_have_streams_of_their_own():
    sizes = Sized(source=50, target=50)
    draws = take(DrawSampler(sizes, seed=4), 50)
    assert [d.indices['source'] for d in draws] != [d.indices['target'] for d in draws]
    assert take(DrawSampler(sizes, seed=5), 50) != draws
    alone = take(DrawSampler(Sized(target=50), seed=4), 50)
    assert [d.indices['target'] for d in alone] == [d.indices['target'] for d in draws]


def test_restart_begins_a_fresh_lap_of_every_domain():
    # one short of the target's size, as the reference: an epoch uses all but one target image, each once
    draws = take(make(restart_every=4), 400)
    epochs = {key: np.array([d.indices[key] for d in draws]).reshape(-1, 4) for key in ('source', 'target')}
    for epoch in epochs.values():
        assert all(len(set(row)) == 4 for row in epoch)
    assert {frozenset(range(5)) - frozenset(row) for row in epochs['target'].tolist()} == {
        frozenset([i]) for i in range(5)
    }
    longer = take(make(restart_every=6), 6)
    assert sorted(d.indices['target'] for d in longer[:5]) == list(range(5))


def test_the_runner_builds_it_with_data_set_and_seed():
    init_default_scope('mmuda')
    sampler = DATA_SAMPLERS.build(
        {'type': 'mmuda.DrawSampler', 'restart_every': 6},
        default_args={'dataset': Sized(source=7, target=5), 'seed': 4},
    )
    assert len(sampler) == 7
    assert take(sampler, 20) == take(make(restart_every=6), 20)
    assert isinstance(DrawSampler(Sized(source=3)).seed, int)


def test_restart_every_must_be_positive():
    with pytest.raises(ValueError, match='restart_every=0'):
        make(restart_every=0)
