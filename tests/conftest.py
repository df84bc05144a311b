"""Shared by all tests: one thread, our registry scope, a small city, and runs of the real command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope

import mmuda.datasets  # noqa: F401
from mmuda import minicity

ROOT = Path(__file__).parents[1]
torch.set_num_threads(1)

# The smallest network of the minicity configs' kind, on images of 64 x 128.
TINY = {
    'model.student.backbone.base_channels': 4,
    'model.student.backbone.stem_channels': 4,
    'model.student.decode_head.in_channels': 32,
    'model.student.auxiliary_head.in_channels': 16,
}
SMALL_CITY = dict(seed=0, shift='medium', size=[64, 128], source=8, target_train=8, target_val=3)


@pytest.fixture(autouse=True)
def _scope() -> None:
    """Build unprefixed types as configs do."""
    if (current := DefaultScope.get_current_instance()) is None or current.scope_name != 'mmuda':
        init_default_scope('mmuda')


@pytest.fixture(scope='session')
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MiniCity of a few small scenes in GTA5 and Cityscapes layout."""
    root = tmp_path_factory.mktemp('city')
    minicity.generate(root, **SMALL_CITY, workers=1, progress=False)
    return root


@pytest.fixture
def options(city: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """Config options that run a minicity config on the small city with the tiny network."""
    monkeypatch.setenv('MMUDA_DATA', str(city))
    pipeline = 'val_dataloader.dataset.pipeline.2.scale'
    return {**TINY, **{f'minicity.{key}': value for key, value in SMALL_CITY.items()}, pipeline: (128, 64)}


@pytest.fixture
def load(options: dict):
    """Read a config of the repository with the tiny network on the small city."""

    def read(name: str, **more: object) -> Config:
        cfg = Config.fromfile(ROOT / 'configs' / name)
        cfg.minicity = dict(cfg.minicity, **SMALL_CITY)
        cfg.merge_from_dict({key: value for key, value in options.items() if not key.startswith('minicity')})
        cfg.merge_from_dict(more)
        return cfg

    return read


def stamp(stage: Path) -> dict:
    """What a stage says of itself."""
    return json.loads((stage / 'stamp.json').read_text())


def run_tool(name: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
    """Run a command of tools/ as a user does, in a process of its own."""
    command = [sys.executable, str(ROOT / 'tools' / name), *map(str, arguments)]
    env = {**os.environ, 'OMP_NUM_THREADS': '1', **environment}
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT)
