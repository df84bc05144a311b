"""A tiny network with a checkpoint, whose test pipeline halves MiniCity's images."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import ROOT, fresh_model
from mmengine.config import Config


@pytest.fixture
def cfg(load: Callable[..., Config]) -> Config:
    """EHTDI on the small city: input 32x64, labels 64x128."""
    return load('ehtdi/minicity.py', **{'test_pipeline.1.scale': (64, 32), 'model.evaluate': 'student'})


@pytest.fixture
def checkpoint(cfg: Config, tmp_path: Path) -> Path:
    """Random weights that are sure of themselves here and there, and statistics of some images."""
    model = fresh_model(cfg)
    for conv in model.student.decode_head.convs:
        conv.weight.data *= 20
    model.student.train()
    with torch.no_grad():
        model.student(torch.randn(2, 3, 32, 64), mode='tensor')
    path = tmp_path / 'weights.pth'
    torch.save({'state_dict': model.state_dict()}, path)
    return path


@pytest.fixture
def command(cfg: Config, city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """tools/offline.py with a config, in this process: a start costs seconds."""
    cfg.dump(tmp_path / 'config.py')

    def run(step: str, *arguments: object) -> None:
        given = [step, tmp_path / 'config.py', *arguments, '--data-root', city, '--num-workers', 1]
        monkeypatch.setattr(sys, 'argv', ['offline.py', *map(str, given)])
        runpy.run_path(str(ROOT / 'tools/offline.py'), run_name='__main__')

    return run
