"""Every config that is shipped builds, runs two iterations of each stage and is scored, made small by options alone."""

import runpy
import sys
from pathlib import Path

import pytest
from helpers import ROOT, SMALL_CITY, stamp, tiny
from mmengine.runner import Runner

from mmuda.engine.recipe import Recipe

CONFIGS = ROOT / 'configs'
FILES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.glob('[a-z]*/*.py'))
SIZES = {
    (1280, 720): (128, 72),
    (1280, 760): (128, 76),
    (1280, 640): (128, 64),
    (512, 512): (33, 33),
    (256, 128): (128, 64),
    (96, 96): (32, 32),
}


def shrink(cfg) -> None:
    """Replace sizes wherever the config names one."""
    for key, value in list(cfg.items()) if isinstance(cfg, dict) else list(enumerate(cfg)):
        if isinstance(value, (list, tuple)) and tuple(map(str, value)) in {tuple(map(str, size)) for size in SIZES}:
            cfg[key] = SIZES[tuple(value)]
        elif isinstance(value, (dict, list)):
            shrink(value)


@pytest.fixture(scope='module')
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all runs: a stage that several recipes share is trained once."""
    return tmp_path_factory.mktemp('runs')


def small_recipe(name: str, work_dir: Path, **settings: object) -> Recipe:
    """A config's recipe with tiny networks on small images, two iterations per stage."""
    recipe = Recipe.load(CONFIGS / name, work_dir, **settings)
    for stage in recipe.stages:
        cfg = stage.cfg
        cfg.merge_from_dict(tiny(cfg))
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
            shrink(loader)
            loader.num_workers, loader.persistent_workers = 0, False
        cfg.train_cfg.max_iters, cfg.train_cfg.val_interval = 2, 2
        if 'minicity' in cfg:
            cfg.minicity.update(SMALL_CITY)
    return recipe


@pytest.mark.parametrize('name', FILES)
def test_every_config_trains(name: str, city: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MMUDA_DATA', str(city))
    last = small_recipe(name, runs / name.replace('/', '_')).run()
    assert last.name == 'iter_2.pth'

    tool = runpy.run_path(str(ROOT / 'tools/test.py'))
    (written,) = last.parent.glob('*.py')
    monkeypatch.setattr(sys, 'argv', ['test.py', str(written), str(last)])
    scores = Runner.from_cfg(tool['build_config'](tool['parse_args']())).test()
    assert scores.keys() >= {'mIoU', 'mIoU16', 'mIoU13', 'aAcc', 'IoU.road'}
    validated = stamp(last.parent)['scores']
    assert scores == pytest.approx({name: validated[name] for name in scores}, nan_ok=True)
