"""Every config that is shipped builds and runs two iterations of each stage, made small by options alone."""

from pathlib import Path

import pytest
from helpers import SMALL_CITY, TINY, stamp

from mmuda.engine.recipe import Recipe

CONFIGS = Path(__file__).parents[1] / 'configs'
FILES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.glob('[a-z]*/*.py'))
SIZES = {
    (1280, 720): (128, 72),
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


@pytest.mark.parametrize('name', FILES)
def test_every_config_trains(name: str, city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MMUDA_DATA', str(city))
    recipe = Recipe.load(CONFIGS / name, tmp_path / 'run')
    for stage in recipe.stages:
        cfg = stage.cfg
        cfg.merge_from_dict({**TINY, 'model.student.backbone.depth': 10})
        for loader in (cfg.train_dataloader, cfg.val_dataloader):
            shrink(loader)
            loader.num_workers, loader.persistent_workers = 0, False
        cfg.train_cfg.max_iters, cfg.train_cfg.val_interval = 2, 2
        if 'minicity' in cfg:
            cfg.minicity.update(SMALL_CITY)
    last = recipe.run()
    assert last.name == 'iter_2.pth'
    assert set(stamp(last.parent)['scores']) >= {'mIoU', 'mIoU16', 'mIoU13', 'aAcc', 'IoU.road'}
