"""Shared by all tests: one thread, our registry scope, configs written as they come, a small city."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import torch
from helpers import ROOT, SMALL, SMALL_CITY, tiny
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope
from yapf.yapflib import yapf_api

import mmuda.datasets  # noqa: F401
from mmuda import minicity
from mmuda.engine.hooks import label_firewall

torch.set_num_threads(1)
# MMEngine lays out the whole config for every checkpoint and log: four fifths of what a run of two iterations takes.
yapf_api.FormatCode = lambda text, **_: (text, True)
gc.freeze()  # a collection, with which every stage ends, need not look through all that was imported


@pytest.fixture(autouse=True)
def _scope() -> None:
    """Build unprefixed types as configs do."""
    if (current := DefaultScope.get_current_instance()) is None or current.scope_name != 'mmuda':
        init_default_scope('mmuda')


@pytest.fixture(autouse=True)
def _no_firewall() -> Iterator[None]:
    """A firewall of a run that was broken off, or never begun, does not outlive its test."""
    yield
    label_firewall._standing.clear()


@pytest.fixture(scope='session')
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MiniCity of a few small scenes in every layout."""
    root = tmp_path_factory.mktemp('city')
    minicity.generate(root, **SMALL_CITY, layouts=list(minicity.LAYOUTS), workers=1, progress=False)
    return root


@pytest.fixture
def options(city: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """Config options that run a minicity config on the small city with the tiny network."""
    monkeypatch.setenv('MMUDA_DATA', str(city))
    return dict(SMALL)


@pytest.fixture
def load(options: dict) -> Callable[..., Config]:
    """Read a config of the repository with the tiny network on the small city."""

    def read(name: str, **more: object) -> Config:
        cfg = Config.fromfile(ROOT / 'configs' / name)
        cfg.minicity = dict(cfg.minicity, **SMALL_CITY)
        sizes = {key: value for key, value in options.items() if not key.startswith(('minicity', 'model'))}
        cfg.merge_from_dict({**tiny(cfg), **sizes, **more})
        cfg.experiment_name = uuid4().hex  # runners of one name and second share their loggers
        return cfg

    return read
