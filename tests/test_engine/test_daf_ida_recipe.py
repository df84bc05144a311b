"""DAF+IDA's recipe, killed on the way: two networks with an optimiser each, labels, a ranking, stages that continue."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import ROOT, TINY_NECK, actions, assert_equal_labels, assert_equal_runs, run_and_die, write_and_die

from mmuda.engine.recipe import Recipe

SHORT = {
    **TINY_NECK,
    'model.discriminator.base_channels': 4,
    'train_cfg.max_iters': 2,
    'train_cfg.val_interval': 2,
    'isl2:train_cfg.max_iters': 4,
    'test_pipeline.1.scale': (128, 64),
    'default_hooks.checkpoint.interval': 1,
    'default_hooks.logger.interval': 1,
    'default_hooks.pictures.interval': 0,
}


@pytest.fixture
def load(options: dict, tmp_path: Path) -> Callable[..., Recipe]:
    def build(name: str, **kwargs: object) -> Recipe:
        config = ROOT / 'configs/daf_ida/minicity.py'
        return Recipe.load(config, tmp_path / name / 'run', options={**options, **SHORT}, **kwargs)

    return build


def assert_equal_recipes(whole: Path, killed: Path) -> None:
    for stage, first, last in (('01_daf', 1, 2), ('03_isl1', 1, 2), ('05_isl2', 3, 4), ('07_ida', 1, 2)):
        assert_equal_runs(whole / stage, killed / stage, steps=last, first=first)
    for stage in ('02_labels1', '04_labels2', '06_ranking'):
        assert_equal_labels(whole / stage, killed / stage)


def test_killed_with_a_discriminator_beside_the_student(load: Callable[..., Recipe], tmp_path: Path) -> None:
    """A run that dies in DAF and in IDA ends as one that never did."""
    load('whole').run()
    source = {'source': tmp_path / 'whole/run/00_source/iter_2.pth'}
    run_and_die(load('killed', init=source), 'after_train_iter', 1, '01_daf')
    run_and_die(load('killed', init=source, resume=True), 'before_train_iter', 1, '07_ida')
    resumed = load('killed', init=source, resume=True)
    assert actions(resumed) == ['init', *['done'] * 6, 'resume']
    resumed.run()
    assert_equal_recipes(tmp_path / 'whole/run', tmp_path / 'killed/run')


@pytest.mark.slow
def test_killed_anywhere(load: Callable[..., Recipe], tmp_path: Path) -> None:
    """One run that dies ten times, in every stage."""
    load('whole').run()
    deaths = [
        (run_and_die, 'before_val', 2, '00_source'),
        (run_and_die, 'before_train_iter', 1, '01_daf'),
        (run_and_die, 'after_val_iter', 2, '01_daf'),
        (write_and_die, '02_labels1', 3),
        (run_and_die, 'after_train_iter', 1, '03_isl1'),
        (write_and_die, '04_labels2', 5),
        (run_and_die, 'after_train_iter', 3, '05_isl2'),
        (write_and_die, '06_ranking', 4),
        (run_and_die, 'before_train', 0, '07_ida'),
        (run_and_die, 'before_save_checkpoint', 2, '07_ida'),
    ]
    for kill, *where in deaths:
        kill(load('killed', resume=True), *where)
    load('killed', resume=True).run()
    assert_equal_recipes(tmp_path / 'whole/run', tmp_path / 'killed/run')
    assert_equal_runs(tmp_path / 'whole/run/00_source', tmp_path / 'killed/run/00_source', steps=2)
