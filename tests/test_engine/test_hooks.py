"""Checkpoints on disk, seeds by iteration."""

import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.runner import Runner

from mmuda.engine.hooks import IterationSeedHook
from mmuda.utils.checkpoint import load_safe


@pytest.fixture
def cfg(load, tmp_path: Path):
    cfg = load('baselines/minicity_source.py')
    cfg.work_dir, cfg.train_cfg.max_iters, cfg.train_cfg.val_interval = str(tmp_path), 5, 2
    return cfg


def test_last_ones_and_the_best_are_kept_and_plain(cfg, tmp_path: Path) -> None:
    cfg.default_hooks.checkpoint.interval = 1
    Runner.from_cfg(cfg).train()
    assert sorted(file.name for file in tmp_path.glob('*.pth*')) == ['best.pth', 'iter_4.pth', 'iter_5.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_5.pth')
    last, best = load_safe(tmp_path / 'iter_5.pth'), load_safe(tmp_path / 'best.pth')
    assert last['meta']['iter'] == 5
    assert last['meta']['dataset_meta']['classes'][0] == 'road'
    assert last['message_hub']['log_scalars']['train/loss'][0].shape == (5,)
    assert 'optimizer' in last
    assert 'optimizer' not in best
    assert best['meta']['iter'] == last['message_hub']['runtime_info']['best_iter']


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_good_one(cfg, tmp_path: Path) -> None:
    cfg.default_hooks.checkpoint.interval, cfg.default_hooks.checkpoint.keep = 1, 1
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
    (tmp_path / 'iter_3.pth.part').mkdir()  # whatever keeps the file from being written
    with pytest.raises(OSError, match=r'iter_3\.pth could not be written .* --resume'):
        Runner.from_cfg(cfg).train()
    assert [file.name for file in tmp_path.glob('*.pth')] == ['iter_2.pth']
    assert load_safe(tmp_path / 'iter_2.pth')['meta']['iter'] == 2


def test_an_unknown_score_is_named(cfg) -> None:
    cfg.default_hooks.checkpoint.save_best = 'mIuO'
    with pytest.raises(KeyError, match="save_best='mIuO' is not among the validation scores"):
        Runner.from_cfg(cfg).train()


def test_seeds_depend_on_run_and_iteration_alone() -> None:
    def draw(seed: int, iteration: int) -> tuple:
        IterationSeedHook().before_train_iter(SimpleNamespace(seed=seed, iter=iteration), 0)
        return random.random(), np.random.rand(), float(torch.rand(1))

    first = draw(1, 5)
    torch.rand(3)
    assert draw(1, 5) == first
    assert len({first, draw(1, 6), draw(2, 5)}) == 3
