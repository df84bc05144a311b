"""Stages, stamps, options, hand-over; and that an interrupted run ends as an uninterrupted one."""

import fcntl
import multiprocessing
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import ROOT, actions, assert_equal_runs, run_and_die, stamp

from mmuda.engine.recipe import Recipe, seed_table
from mmuda.engine.stages import RecipeError

SHORT = {
    'source:train_cfg.max_iters': 2,
    'source:train_cfg.val_interval': 2,
    'ehtdi:train_cfg.max_iters': 4,
    'ehtdi:train_cfg.val_interval': 2,
    'ehtdi:train_dataloader.dataset.source.pipeline.4.size': (32, 32),
    'ehtdi:train_dataloader.dataset.target.pipeline.3.size': (32, 32),
    'train_dataloader.batch_size': 2,
    'default_hooks.checkpoint.interval': 1,
    'default_hooks.logger.interval': 1,
}


@pytest.fixture
def recipe(options: dict, tmp_path: Path) -> Callable[..., Recipe]:
    def build(name: str = 'run', more: dict | None = None, **kwargs) -> Recipe:
        settings = {**options, **SHORT, **(more or {})}
        return Recipe.load(ROOT / 'configs/ehtdi/minicity.py', tmp_path / name, options=settings, **kwargs)

    return build


LOADERS = {
    'ehtdi:train_dataloader.num_workers': 2,
    'ehtdi:train_dataloader.persistent_workers': True,
    'ehtdi:train_dataloader.sampler.restart_every': 3,
    'model.teacher.copy_buffers_every': 3,
}


@pytest.mark.parametrize(('event', 'iteration', 'more'), [('after_train_iter', 2, LOADERS), ('before_val', 4, {})])
def test_killed_and_resumed_equals_uninterrupted(
    recipe: Callable[..., Recipe], tmp_path: Path, event: str, iteration: int, more: dict
) -> None:
    recipe('whole/run', more).run()
    shutil.copytree(tmp_path / 'whole/run/00_source', tmp_path / 'killed/run/00_source')
    run_and_die(recipe('killed/run', more), event, iteration, 'ehtdi')
    assert actions(recipe('killed/run', more)) == ['done', 'todo']
    resumed = recipe('killed/run', more, resume=True)
    assert actions(resumed) == ['done', 'resume']
    resumed.run()
    assert_equal_runs(tmp_path / 'whole/run/01_ehtdi', tmp_path / 'killed/run/01_ehtdi', steps=4)


@pytest.mark.slow
@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize(
    ('stage', 'event', 'iteration'),
    [
        ('source', 'before_train', 0),
        ('source', 'after_train_iter', 1),
        ('source', 'before_val', 2),
        ('source', 'after_run', 2),
        ('ehtdi', 'before_train', 0),
        ('ehtdi', 'before_train_iter', 1),
        ('ehtdi', 'before_save_checkpoint', 2),
        ('ehtdi', 'after_val_iter', 2),
        ('ehtdi', 'after_load_checkpoint', 0),
        ('ehtdi', 'after_train', 4),
    ],
)
def test_killed_anywhere(
    recipe: Callable[..., Recipe], tmp_path: Path, stage: str, event: str, iteration: int, workers: int
) -> None:
    more = {'train_dataloader.num_workers': workers}
    recipe('whole/run', more).run()
    run_and_die(recipe('killed/run', more), event, iteration, stage)
    recipe('killed/run', more, resume=True).run()
    assert_equal_runs(tmp_path / 'whole/run/01_ehtdi', tmp_path / 'killed/run/01_ehtdi', steps=4)


def test_a_stage_is_the_same_alone_and_is_redone_only_when_something_changed(
    recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    chain = recipe('a/run')
    assert actions(chain) == ['todo', 'todo']
    last = chain.run()
    assert last == tmp_path / 'a/run/01_ehtdi/iter_4.pth'
    written = last.stat().st_mtime_ns

    again = recipe('a/run')
    assert actions(again) == ['done', 'done']
    assert again.run() == last
    assert last.stat().st_mtime_ns == written
    assert 'nothing to do, everything is there' in (tmp_path / 'a/run/recipe.log').read_text()

    equal = recipe('a/other')
    assert actions(equal) == ['reuse', 'reuse']
    assert equal.run() == last

    alone = recipe('b/run', init={'source': tmp_path / 'a/run/00_source/iter_2.pth'})
    assert actions(alone) == ['init', 'todo']
    alone.run()
    assert_equal_runs(tmp_path / 'a/run/01_ehtdi', tmp_path / 'b/run/01_ehtdi', steps=4)

    changed = recipe('a/run', {'ehtdi:model.confidence': 0.5, 'ehtdi:train_cfg.max_iters': 1})
    assert actions(changed) == ['done', 'todo']
    assert 'config changed' in changed.table()
    changed.run()
    assert (tmp_path / 'a/run/01_ehtdi.old1/iter_4.pth').is_file()  # set aside, not lost


def test_another_config_cannot_be_resumed(recipe: Callable[..., Recipe]) -> None:
    run_and_die(recipe(), 'after_train_iter', 1, 'ehtdi')
    assert actions(recipe(resume=True)) == ['done', 'resume']
    with pytest.raises(RecipeError, match=r'01_ehtdi cannot be resumed: its config changed'):
        recipe(more={'ehtdi:model.confidence': 0.5}, resume=True).plan()
    with pytest.raises(RecipeError, match='seed'):
        recipe(seed=5, resume=True, init={'source': recipe().stages[0].work_dir / 'iter_2.pth'}).plan()


def test_changed_code_keeps_what_is_done_when_resuming(
    recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_and_die(recipe(), 'after_train_iter', 1, 'ehtdi')
    monkeypatch.setattr('mmuda.engine.stages.code_hash', lambda: 'other')
    assert actions(recipe()) == ['todo', 'todo']
    resumed = recipe(resume=True)
    assert actions(resumed) == ['done', 'todo']
    assert 'by other code of mmuda' in resumed.table()
    assert 'the code of mmuda changed since' in resumed.table()


def test_how_a_stage_loads_and_logs_does_not_change_it(recipe: Callable[..., Recipe]) -> None:
    recipe().run()
    hooks = {'logger.interval': 3, 'checkpoint.keep': 5, 'pictures.interval': 0}
    other = {'train_dataloader.num_workers': 1} | {f'default_hooks.{key}': value for key, value in hooks.items()}
    assert actions(recipe(more=other)) == ['done', 'done']
    assert actions(recipe(more={'minicity.seed': 1})) == ['todo', 'todo']  # another city is another run


def test_scores_of_several_seeds(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    runs = [recipe(f'run/seed{seed}', seed=seed, until_stage='source') for seed in (0, 1)]
    for run in runs:
        run.run()
    scores = [stamp(tmp_path / f'run/seed{seed}/00_source')['scores']['mIoU'] for seed in (0, 1)]
    assert scores[0] != scores[1]
    mean, spread = sum(scores) / 2, abs(scores[0] - scores[1]) / 2**0.5
    names, *lines = seed_table(runs).splitlines()
    assert names.split()[-2:] == ['seed0', 'seed1']
    line = next(line for line in lines if line.startswith('mIoU '))
    assert line.split() == ['mIoU', f'{mean:.2f}', f'{spread:.2f}', *(f'{score:.2f}' for score in scores)]


def test_two_runs_in_one_folder(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    (tmp_path / 'run').mkdir()
    context = multiprocessing.get_context('fork')
    held, done = context.Event(), context.Event()

    def other() -> None:
        with open(tmp_path / 'run/.lock', 'w') as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            held.set()
            done.wait()

    process = context.Process(target=other)
    process.start()
    held.wait()
    try:
        with pytest.raises(RecipeError, match='another run is writing'):
            recipe().run()
    finally:
        done.set()
        process.join()
