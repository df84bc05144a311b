"""Depth Distribution's recipe, killed on the way: a fit without checkpoint, two networks, labels of large regions."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import ROOT, TINY_REGRESSION, actions, assert_equal_labels, assert_equal_runs, run_and_die, write_and_die

from mmuda.engine.recipe import Recipe, RecipeError
from mmuda.offline.density import MIXTURES

SHORT = {
    **TINY_REGRESSION,
    'model.discriminator.base_channels': 4,
    'train_dataloader.dataset.source.pipeline.3.size': (17, 9),
    'train_cfg.max_iters': 2,
    'train_cfg.val_interval': 2,
    'test_pipeline.1.scale': (128, 64),
    'labels:selector.threshold': 0.1,
    'default_hooks.checkpoint.interval': 1,
    'default_hooks.logger.interval': 1,
    'default_hooks.pictures.interval': 0,
}


@pytest.fixture
def load(options: dict, tmp_path: Path) -> Callable[..., Recipe]:
    def build(name: str, more: dict | None = None, **kwargs: object) -> Recipe:
        config = ROOT / 'configs/depth_distribution/minicity.py'
        return Recipe.load(config, tmp_path / name / 'run', options={**options, **SHORT, **(more or {})}, **kwargs)

    return build


def assert_equal_recipes(whole: Path, killed: Path) -> None:
    for stage in ('02_uda', '04_selftrain'):
        assert_equal_runs(whole / stage, killed / stage, steps=2)
    assert_equal_labels(whole / '03_labels', killed / '03_labels')
    files = [
        sorted(file.name for file in (folder / '01_density').iterdir() if 'log' not in file.name)
        for folder in (whole, killed)
    ]
    assert files[0] == files[1]
    same = [name for name in files[0] if name != 'stamp.json']
    assert all(
        (whole / '01_density' / name).read_bytes() == (killed / '01_density' / name).read_bytes() for name in same
    )


def test_killed_in_both_trainings(load: Callable[..., Recipe], tmp_path: Path) -> None:
    load('whole').run()
    source = {'source': tmp_path / 'whole/run/00_source/iter_2.pth'}
    run_and_die(load('killed', init=source), 'after_train_iter', 1, '02_uda')
    run_and_die(load('killed', init=source, resume=True), 'before_train_iter', 1, '04_selftrain')
    resumed = load('killed', init=source, resume=True)
    assert actions(resumed) == ['init', *['done'] * 3, 'resume']
    resumed.run()
    assert_equal_recipes(tmp_path / 'whole/run', tmp_path / 'killed/run')
    # Other mixtures redo what is made with them, and only that.
    changed = load('whole', {'density:components': 2})
    assert actions(changed)[:3] == ['done', 'todo', 'todo']


@pytest.mark.slow
def test_killed_anywhere(load: Callable[..., Recipe], tmp_path: Path) -> None:
    """One run that dies ten times, in every stage."""
    load('whole').run()
    deaths = [
        (run_and_die, 'before_val', 2, '00_source'),
        (write_and_die, '01_density', 1),
        (write_and_die, '01_density', 12),
        (run_and_die, 'before_train_iter', 1, '02_uda'),
        (run_and_die, 'after_val_iter', 2, '02_uda'),
        (write_and_die, '03_labels', 3),
        (write_and_die, '03_labels', 2),
        (run_and_die, 'before_train', 0, '04_selftrain'),
        (run_and_die, 'after_train_iter', 1, '04_selftrain'),
        (run_and_die, 'before_save_checkpoint', 2, '04_selftrain'),
    ]
    for kill, *where in deaths:
        kill(load('killed', resume=True), *where)
    load('killed', resume=True).run()
    assert_equal_recipes(tmp_path / 'whole/run', tmp_path / 'killed/run')


def test_mixtures_of_ones_own(load: Callable[..., Recipe], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r'no folder with a manifest\.json, as FitDensity writes it'):
        load('run', init={'density': tmp_path})
    recipe = load('run')
    train = recipe.stages[2]
    assert train.inputs['mixtures'].stage is recipe.stages[1]
    assert (recipe.stages[1].kind, MIXTURES) == ('FitDensity', 'mixtures.json')
    (tmp_path / 'c.py').write_text(
        f"_base_ = '{ROOT / 'configs/depth_distribution/minicity.py'}'\n"
        "recipe = [dict(type='FitDensity', name='a', config='c.py'), dict(type='Train', name='b', mixtures='a')]\n"
    )
    with pytest.raises(RecipeError, match='stage b takes mixtures, but its model has no mixtures'):
        Recipe.load(tmp_path / 'c.py', tmp_path / 'other')
