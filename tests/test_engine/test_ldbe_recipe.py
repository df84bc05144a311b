"""LDBE's recipe from a file that was handed over, with the source gone: in one go, killed, in two processes."""

import re
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import (
    KILLED,
    ROOT,
    actions,
    assert_equal_labels,
    assert_equal_runs,
    in_processes,
    kill_at,
    run_and_die,
    write_and_die,
)

from mmuda.engine.recipe import Recipe
from mmuda.utils.checkpoint import load_safe

SHORT = {
    'train_cfg.max_iters': 2,
    'train_cfg.val_interval': 2,
    'train_dataloader.num_workers': 2,
    'default_hooks.checkpoint.interval': 1,
    'default_hooks.logger.interval': 1,
    'default_hooks.pictures.interval': 0,
}
TARGET = {
    'train_dataloader.dataset.target.pipeline.2.short_side': 64,
    'train_dataloader.dataset.target.pipeline.2.crop': 48,
    'test_pipeline.1.scale': (128, 64),
}
STAGES = ('01_ld_labels', '02_ld', '03_be_labels', '04_be')


@pytest.fixture
def load(options: dict, city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Recipe]:
    """LDBE on a city without its source and without labels of its training images; nothing but weights came over."""
    shutil.copytree(city, tmp_path / 'city')
    monkeypatch.setenv('MMUDA_DATA', str(tmp_path / 'city'))
    config, handed_over = ROOT / 'configs/baselines/minicity_source.py', tmp_path / 'handed_over.pth'
    trained = Recipe.load(config, tmp_path / 'owner/run', options=options | SHORT).run()
    command = ['convert_checkpoint.py', '--hand-over', config, trained, handed_over]
    monkeypatch.setattr(sys, 'argv', [*map(str, command)])
    runpy.run_path(str(ROOT / 'tools/convert_checkpoint.py'), run_name='__main__')
    for folder in ('owner', 'city/GTA5', 'city/SYNTHIA', 'city/cityscapes/gtFine/train'):
        shutil.rmtree(tmp_path / folder)

    def build(name: str, more: dict | None = None, start: str = 'source', **kwargs: object) -> Recipe:
        settings = options | SHORT | TARGET | (more or {})
        config, init = ROOT / 'configs/ldbe/minicity.py', {start: str(handed_over)}
        return Recipe.load(config, tmp_path / name / 'run', options=settings, init=init, **kwargs)

    return build


@pytest.mark.parametrize('processes', [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_source_is_not_needed(load: Callable[..., Recipe], tmp_path: Path, processes: int) -> None:
    if processes == 1:
        load('a').run()
    else:
        in_processes(lambda _: load('a').run(), tmp_path)
    run = tmp_path / 'a/run'
    for stage in STAGES:
        logs = '\n'.join(log.read_text() for log in (run / stage).rglob('*.log'))
        (said,) = re.findall(r'label firewall: (.*)', logs)
        assert re.fullmatch(r'opened 0 of the source, 0 of the target labels; [1-9]\d* other images', said)

    if processes == 1:
        assert actions(load('a')) == ['init', *['done'] * 4]
        load('a').run()
        assert 'nothing to do, everything is there' in (run / 'recipe.log').read_text().splitlines()[-1]
        changed = load('a', {'be_labels:selector.prop': 0.3})
        assert actions(changed) == ['init', 'done', 'done', 'todo', 'todo']


def test_killed_while_it_labels_and_while_it_trains(load: Callable[..., Recipe], tmp_path: Path) -> None:
    """Boundary enhancement with its teacher."""

    def begin(name: str) -> Recipe:
        return load(name, start='ld', resume=True)

    begin('whole').run()
    write_and_die(begin('killed'), '03_be_labels', 3)
    assert actions(begin('killed')) == ['skip', 'skip', 'init', 'resume', 'todo']
    run_and_die(begin('killed'), 'after_train_iter', 1, '04_be')
    assert actions(begin('killed')) == ['skip', 'skip', 'init', 'done', 'resume']
    begin('killed').run()
    assert_equal_labels(*(tmp_path / name / 'run/03_be_labels' for name in ('whole', 'killed')))
    assert_equal_runs(*(tmp_path / name / 'run/04_be' for name in ('whole', 'killed')), steps=2)


@pytest.mark.slow
def test_killed_anywhere(load: Callable[..., Recipe], tmp_path: Path) -> None:
    """One run that dies ten times, in every stage."""
    load('whole').run()
    deaths = [
        (write_and_die, '01_ld_labels', 1),
        (write_and_die, '01_ld_labels', 1),
        (run_and_die, 'before_train_iter', 1, '02_ld'),
        (run_and_die, 'before_save_checkpoint', 2, '02_ld'),
        (run_and_die, 'after_val_iter', 2, '02_ld'),
        (write_and_die, '03_be_labels', 1),
        (write_and_die, '03_be_labels', 1),
        (run_and_die, 'before_train', 0, '04_be'),
        (run_and_die, 'after_train_iter', 1, '04_be'),
        (run_and_die, 'after_train', 2, '04_be'),
    ]
    for kill, *where in deaths:
        kill(load('killed', resume=True), *where)
    load('killed', resume=True).run()
    whole, killed = tmp_path / 'whole/run', tmp_path / 'killed/run'
    for stage in STAGES[::2]:
        assert_equal_labels(whole / stage, killed / stage)
    for stage in STAGES[1::2]:
        assert_equal_runs(whole / stage, killed / stage, steps=2)


@pytest.mark.slow
@pytest.mark.parametrize(('start', 'labelled', 'trained'), [('source', *STAGES[:2]), ('ld', *STAGES[2:])])
def test_two_processes(load: Callable[..., Recipe], tmp_path: Path, start: str, labelled: str, trained: str) -> None:
    """Their labels are those of one process; killed, they resume exactly."""

    def recipe(name: str, until: str = trained) -> Recipe:
        return load(name, start=start, until_stage=until[3:], resume=True)

    def killed(_: Path) -> None:
        kill_at('before_train_iter', 1, trained)
        recipe('killed').run()

    recipe('one', labelled).run()
    in_processes(lambda _: recipe('whole').run(), tmp_path)
    with pytest.raises(KILLED):
        in_processes(killed, tmp_path)
    in_processes(lambda _: recipe('killed').run(), tmp_path)
    one, whole, killed_run = (tmp_path / name / 'run' for name in ('one', 'whole', 'killed'))
    assert_equal_labels(one / labelled, whole / labelled)
    assert_equal_labels(one / labelled, killed_run / labelled)
    assert_equal_runs(whole / trained, killed_run / trained, steps=2)
    ranks = [load_safe(run / trained / 'iter_2.pth')['rank_statistics'] for run in (whole, killed_run)]
    assert torch.equal(*ranks)
    assert not torch.equal(*ranks[0])
