"""Stages, stamps, options, hand-over; and that an interrupted run ends as an uninterrupted one."""

import fcntl
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.runner import Runner

from mmuda.engine.recipe import Recipe, RecipeError, stage_seed
from mmuda.utils.checkpoint import load_safe

CONFIGS = Path(__file__).parents[2] / 'configs'
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
        return Recipe.load(CONFIGS / 'ehtdi/minicity.py', tmp_path / name, options=settings, **kwargs)

    return build


def run_and_die(recipe: Recipe, event: str, iteration: int, stage: str = 'ehtdi') -> None:
    """Run in a child process that gets a SIGKILL when a stage comes to an event at an iteration."""

    def child() -> None:
        plain = Runner.call_hook

        def call_hook(self: Runner, name: str, **kwargs) -> None:
            if name == event and self.iter == iteration and self.work_dir.endswith(stage):
                os.kill(os.getpid(), signal.SIGKILL)
            plain(self, name, **kwargs)

        Runner.call_hook = call_hook
        recipe.run()

    process = multiprocessing.get_context('fork').Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def logged(folder: Path) -> dict[tuple, dict]:
    """The logged values by step, times aside; of a repeated step the later one."""
    lines = {}
    for file in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in file.read_text().splitlines():
            values = json.loads(line)
            values = {key: value for key, value in values.items() if 'time' not in key}
            lines[values['step'], 'mIoU' in values] = values
    return lines


def assert_equal_runs(one: Path, two: Path) -> None:
    for name in ('iter_4.pth', 'best.pth'):
        a, b = (load_safe(folder / name) for folder in (one, two))
        assert a['state_dict'].keys() == b['state_dict'].keys()
        for key, value in a['state_dict'].items():
            assert torch.equal(value, b['state_dict'][key]), (name, key)
        assert a['message_hub']['runtime_info']['best_score'] == b['message_hub']['runtime_info']['best_score']
    a, b = (load_safe(folder / 'iter_4.pth')['optimizer']['state'] for folder in (one, two))
    assert a.keys() == b.keys()
    assert all(torch.equal(value, b[key][name]) for key, state in a.items() for name, value in state.items())
    assert len(logged(one)) == 6  # four steps, two validations
    assert str(logged(one)) == str(logged(two))  # as text: a class that no image shows has a score of nan


def actions(recipe: Recipe) -> list[str]:
    return [decision.action for _, decision in recipe.plan()]


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
    run_and_die(recipe('killed/run', more), event, iteration)
    assert actions(recipe('killed/run', more)) == ['done', 'todo']
    resumed = recipe('killed/run', more, resume=True)
    assert actions(resumed) == ['done', 'resume']
    resumed.run()
    assert_equal_runs(tmp_path / 'whole/run/01_ehtdi', tmp_path / 'killed/run/01_ehtdi')


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
    assert_equal_runs(tmp_path / 'whole/run/01_ehtdi', tmp_path / 'killed/run/01_ehtdi')


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

    equal = recipe('a/other')
    assert actions(equal) == ['reuse', 'reuse']
    assert equal.run() == last

    alone = recipe('b/run', init={'source': tmp_path / 'a/run/00_source/iter_2.pth'})
    assert actions(alone) == ['init', 'todo']
    alone.run()
    assert_equal_runs(tmp_path / 'a/run/01_ehtdi', tmp_path / 'b/run/01_ehtdi')

    changed = recipe('a/run', {'ehtdi:model.confidence': 0.5, 'ehtdi:train_cfg.max_iters': 1})
    assert actions(changed) == ['done', 'todo']
    assert 'config changed' in changed.table()
    changed.run()
    assert (tmp_path / 'a/run/01_ehtdi.old1/iter_4.pth').is_file()  # set aside, not lost


def test_another_config_cannot_be_resumed(recipe: Callable[..., Recipe]) -> None:
    run_and_die(recipe(), 'after_train_iter', 1)
    assert actions(recipe(resume=True)) == ['done', 'resume']
    with pytest.raises(RecipeError, match=r'01_ehtdi cannot be resumed: its config changed'):
        recipe(more={'ehtdi:model.confidence': 0.5}, resume=True).plan()
    with pytest.raises(RecipeError, match='seed'):
        recipe(seed=5, resume=True, init={'source': recipe().stages[0].work_dir / 'iter_2.pth'}).plan()


def test_changed_code_keeps_what_is_done_when_resuming(
    recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_and_die(recipe(), 'after_train_iter', 1)
    monkeypatch.setattr('mmuda.engine.recipe.code_hash', lambda: 'other')
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


def test_a_setting_can_be_added_to_one_stage(options: dict, tmp_path: Path) -> None:
    settings = {**options, 'source:model.aux_weight': 0.1, 'source:model.student.init_cfg.type': 'Pretrained'}
    source, _ = Recipe.load(CONFIGS / 'ehtdi/minicity.py', tmp_path, options=settings).stages
    assert source.cfg.model.aux_weight == 0.1
    assert source.cfg.model.student.init_cfg.type == 'Pretrained'


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


def test_seeds_depend_on_run_and_name_alone() -> None:
    assert stage_seed(0, 'source') == stage_seed(0, 'source')
    assert len({stage_seed(0, 'source'), stage_seed(1, 'source'), stage_seed(0, 'ehtdi')}) == 3


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'options': {'model.no_such': 1}}, r'no stage has this setting; STAGE:model.no_such'),
        ({'options': {'randomness.seed': 1}}, r'randomness is not taken from here; use --seed'),
        ({'options': {'ehtdi:load_from': 'x'}}, r'use --init STAGE=FILE'),
        ({'options': {'third:model.confidence': 1}}, r"no stage 'third'; stages: source, ehtdi"),
        ({'init': {'third': 'x.pth'}}, r"no stage 'third'"),
        ({'init': {'source': 'x.pth'}}, r'source=x.pth: no such file'),
    ],
)
def test_mistakes_on_the_command_line(settings: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.load(CONFIGS / 'ehtdi/minicity.py', tmp_path, **settings)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ("recipe = [dict(type='Train', name='a', load_from='b.last')]", 'neither <earlier stage>.last|best nor a file'),
        ("recipe = [dict(type='Train', name='a', config='gone.py')]", 'gone.py, which does not exist'),
        ("recipe = [dict(type='Train', name='a'), dict(type='Train', name='a')]", 'a name of its own'),
        (
            "recipe = [dict(type='Train', name='a'), dict(type='Train', name='b', load_from='a.first')]",
            'a.last or a.best',
        ),
        ("recipe = [dict(type='Train', name='a', lod_from='x')]", r"unknown keys \['lod_from'\]"),
    ],
)
def test_mistakes_in_a_recipe(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / 'c.py').write_text(f'{text}\n')
    with pytest.raises(RecipeError, match=message):
        Recipe.load(tmp_path / 'c.py', tmp_path / 'run')


def test_options_reach_every_stage_that_has_them(options: dict, tmp_path: Path) -> None:
    settings = {**options, 'train_cfg.max_iters': 7, 'ehtdi:model.confidence': 0.5, 'model.teacher.momentum': 0.3}
    source, ehtdi = Recipe.load(CONFIGS / 'ehtdi/minicity.py', tmp_path, options=settings).stages
    assert source.cfg.train_cfg.max_iters == ehtdi.cfg.train_cfg.max_iters == 7
    assert (ehtdi.cfg.model.confidence, ehtdi.cfg.model.teacher.momentum) == (0.5, 0.3)
    assert 'teacher' not in source.cfg.model
