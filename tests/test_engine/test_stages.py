"""What stages are given and hand over: labels, weights, the state of a run; rounds; offline steps that are killed."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from helpers import ROOT, SMALL_CITY, actions, assert_equal_labels, assert_equal_runs, run_and_die, stamp, write_and_die

from mmuda.engine.recipe import Recipe
from mmuda.engine.stages import RecipeError
from mmuda.models.uda import Supervised
from mmuda.registry import MODELS
from mmuda.utils.checkpoint import load_safe

ROUNDS = ROOT / 'tests/configs/rounds.py'
SHORT = {
    'train_cfg.max_iters': 2,
    'train_cfg.val_interval': 2,
    'default_hooks.checkpoint.interval': 1,
    'default_hooks.logger.interval': 1,
}


@MODELS.register_module()
class FromLabels(Supervised):
    """Trains from labels of the target."""

    def parts(self, data: dict) -> Iterator[tuple[str, dict]]:
        yield from super().parts({'source': data['target']})


@pytest.fixture
def load_recipe(options: dict) -> Callable[..., Recipe]:
    def load(config: Path, folder: Path, more: dict | None = None, **kwargs) -> Recipe:
        return Recipe.load(config, folder, options={**options, **SHORT, **(more or {})}, **kwargs)

    return load


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    """A config that is EHTDI's on MiniCity with another recipe."""

    def write(entries: str) -> Path:
        folder = ROOT / 'configs'
        (tmp_path / 'config.py').write_text(
            f"_base_ = '{folder}/ehtdi/minicity.py'\nrecipe = [{entries.replace('CONFIGS', str(folder))}]\n"
        )
        return tmp_path / 'config.py'

    return write


def weights(folder: Path, step: int = 2) -> dict[str, torch.Tensor]:
    return load_safe(folder / f'iter_{step}.pth')['state_dict']


# ------------------------------------------------------------------------------------------------ what is handed over

CARRY = """
    dict(name='source', config='CONFIGS/baselines/minicity_source.py'),
    dict(name='first', load_from='source.last'),
    dict(name='carried', load_from='first.last', carry=['teacher']),
    dict(name='fresh', load_from='first'),
"""
CROPS = {
    'train_dataloader.dataset.source.pipeline.4.size': (32, 32),
    'train_dataloader.dataset.target.pipeline.3.size': (32, 32),
}


def test_a_start_takes_the_student_and_what_is_to_be_carried(load_recipe, written, tmp_path: Path) -> None:
    still = {f'{stage}:optim_wrapper.optimizer.lr': 0.0 for stage in ('carried', 'fresh')}
    run = load_recipe(written(CARRY), tmp_path / 'run', CROPS | still | {'model.teacher.momentum': 0.25})
    run.run()
    first, carried, fresh = (weights(tmp_path / 'run' / name) for name in ('01_first', '02_carried', '03_fresh'))
    steps = [int(state['teacher._extra_state']) for state in (first, carried, fresh)]
    assert steps == [2, 4, 2]
    moved = 0
    for name in (key for key in first if key.startswith('student') and key.endswith(('weight', 'bias'))):
        average = name.replace('student.', 'teacher.model.')
        assert torch.equal(carried[name], first[name])  # at a learning rate of 0
        assert torch.equal(fresh[average], first[name])  # a new average of it
        expected = first[name] + 0.75**2 * (first[average] - first[name])
        torch.testing.assert_close(carried[average], expected, atol=1e-6, rtol=1e-5)
        moved += not torch.equal(first[average], first[name])
    assert moved > 10


CONTINUES = """
    dict(name='whole', config='CONFIGS/baselines/minicity_source.py', seed=4),
    dict(name='one', config='CONFIGS/baselines/minicity_source.py', seed=4),
    dict(name='two', config='CONFIGS/baselines/minicity_source.py', continues='one'),
"""
FOUR = {'whole:train_cfg.max_iters': 4, 'two:train_cfg.max_iters': 4}


@pytest.mark.parametrize('killed', [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_stage_that_continues_equals_an_uninterrupted_one(load_recipe, written, tmp_path: Path, killed: bool) -> None:
    def load(**kwargs) -> Recipe:
        return load_recipe(written(CONTINUES), tmp_path / 'run', FOUR, **kwargs)

    if killed:
        run_and_die(load(), 'before_train_iter', 3, 'two')
        assert actions(load(resume=True)) == ['done', 'done', 'resume']
    load(resume=killed).run()
    assert_equal_runs(tmp_path / 'run/00_whole', tmp_path / 'run/02_two', steps=4, first=3)


def test_what_is_continued_holds_the_state_of_a_run(load_recipe, written, tmp_path: Path) -> None:
    config = written(CONTINUES)
    load_recipe(config, tmp_path / 'run', FOUR, until_stage='whole').run()
    finished, bare = tmp_path / 'run/00_whole/iter_4.pth', tmp_path / 'run/00_whole/best.pth'
    with pytest.raises(
        RecipeError, match=r'two continues one, but .*best.pth holds no optimiser: give an iter_<n>.pth'
    ):
        load_recipe(config, tmp_path / 'run', init={'one': bare})
    with pytest.raises(RecipeError, match=r'from iteration 4 on: its train_cfg.max_iters=4 has to be larger'):
        load_recipe(config, tmp_path / 'run', FOUR, init={'one': finished})
    five = {**FOUR, 'two:train_cfg.max_iters': 5}
    nothing_to_do = load_recipe(config, tmp_path / 'run', five, init={'one': finished})
    nothing_to_do.stages[2].cfg.train_cfg.max_iters = 4  # behind the check's back
    with pytest.raises(RecipeError, match=r'stage two left no last in .*02_two: .* before its train_cfg.max_iters'):
        nothing_to_do.run()
    assert stamp(tmp_path / 'run/02_two')['status'] == 'running'


# ------------------------------------------------------------------------------------------------------------- rounds


def test_rounds(load_recipe, tmp_path: Path) -> None:
    """A changed selector parameter redoes exactly the stages behind it."""
    run = load_recipe(ROUNDS, tmp_path / 'work_dirs/a')
    assert [(stage.name, stage.seed) for stage in run.stages[2::2]] == [('round1', 1234), ('round2', 1234)]
    assert [stage.cfg.optim_wrapper.optimizer.lr for stage in run.stages[2::2]] == [5e-4, 2.5e-4]
    assert not {'number', 'start', 'stage'} & set(run.stages[-1].cfg)
    last = run.run()
    assert last == tmp_path / 'work_dirs/a/04_round2/iter_2.pth'
    log = (tmp_path / 'work_dirs/a/recipe.log').read_text()
    for line in (
        f'stage labels2: todo (not yet run); checkpoint round1.last ({last.parents[1]}/02_round1/iter_2.pth)',
        f'labels labels2.folder ({last.parents[1]}/03_labels2)',
    ):
        assert line in log
    assert int(weights(last.parent)['teacher._extra_state']) == 4  # carried on
    manifest = json.loads((tmp_path / 'work_dirs/a/03_labels2/manifest.json').read_text())
    assert 0 < sum(manifest['coverage'].values()) < 1

    again = load_recipe(ROUNDS, tmp_path / 'work_dirs/a')
    assert actions(again) == ['done'] * 5
    changed = load_recipe(ROUNDS, tmp_path / 'work_dirs/a', {'labels2:selector.threshold': 0.3})
    assert actions(changed) == ['done', 'done', 'done', 'todo', 'todo']
    assert '03  labels2      todo    settings changed' in changed.table()
    changed.run()
    assert sorted(folder.name for folder in last.parents[1].glob('*.old1')) == ['03_labels2.old1', '04_round2.old1']
    assert (
        actions(load_recipe(ROUNDS, tmp_path / 'work_dirs/a', {'selector.threshold': 0.3})) == ['done'] + ['todo'] * 4
    )
    # the first ones lie aside now, and are as good as new
    assert actions(load_recipe(ROUNDS, tmp_path / 'work_dirs/a')) == ['done', 'done', 'done', 'reuse', 'reuse']

    other = load_recipe(ROOT / 'configs/ehtdi/minicity.py', tmp_path / 'work_dirs/b/run', CROPS)
    assert actions(other) == ['reuse', 'todo']
    elsewhere = load_recipe(ROUNDS, tmp_path / 'work_dirs/b/run')
    assert actions(elsewhere) == ['reuse'] * 5


# ------------------------------------------------------------------------------------ offline stages, parts of a recipe


@pytest.mark.slow
def test_rounds_killed_anywhere(load_recipe, tmp_path: Path) -> None:
    """One run that dies six times, in every stage, ends as one that never did."""

    def load(folder: str) -> Recipe:
        return load_recipe(ROUNDS, tmp_path / folder / 'run', resume=True)

    load('whole').run()
    run_and_die(load('killed'), 'before_val', 2, '00_source')
    write_and_die(load('killed'), 'labels1', 1)
    run_and_die(load('killed'), 'before_train_iter', 1, '02_round1')
    write_and_die(load('killed'), 'labels2', 5)
    run_and_die(load('killed'), 'before_train', 0, '04_round2')
    run_and_die(load('killed'), 'after_train_iter', 1, '04_round2')
    load('killed').run()
    whole, killed = tmp_path / 'whole/run', tmp_path / 'killed/run'
    for stage in ('00_source', '02_round1', '04_round2'):
        assert_equal_runs(whole / stage, killed / stage, steps=2)
    for stage in ('01_labels1', '03_labels2'):
        assert_equal_labels(whole / stage, killed / stage)


def test_killed_while_labelling(load_recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(more: dict | None = None, **kwargs) -> Recipe:
        return load_recipe(ROUNDS, tmp_path / 'a/run', more, until_stage='labels1', **kwargs)

    write_and_die(load(), 'labels1', 3)
    labels = tmp_path / 'a/run/01_labels1'
    first = {file.relative_to(labels): file.stat().st_mtime_ns for file in labels.rglob('*.png')}
    assert 3 <= len(first) < SMALL_CITY['target_train']
    assert '01  labels1      todo    unfinished; --resume would go on' in load().table()
    with pytest.raises(RecipeError, match='01_labels1 cannot be resumed: its settings changed'):
        load({'labels1:selector.threshold': 0.3}, resume=True).plan()
    with monkeypatch.context() as patch:
        patch.setattr('mmuda.engine.stages.code_hash', lambda: 'other')
        assert '01  labels1      todo    unfinished, and the code of mmuda changed' in load(resume=True).table()
    resumed = load(resume=True)
    assert actions(resumed) == ['done', 'resume', 'skip', 'skip', 'skip']
    assert resumed.run() == labels
    assert {name: (labels / name).stat().st_mtime_ns for name in first} == first  # it went on

    source = {'source': tmp_path / 'a/run/00_source/iter_2.pth'}
    load_recipe(ROUNDS, tmp_path / 'b/run', init=source, until_stage='labels1').run()
    assert_equal_labels(labels, tmp_path / 'b/run/01_labels1')
    assert {*stamp(labels)['outputs']} == {'folder'}


def test_parts_of_a_recipe(load_recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(**kwargs) -> list[str]:
        return actions(load_recipe(ROUNDS, tmp_path / 'run', **kwargs))

    assert plan(until_stage='labels1') == ['todo', 'todo', 'skip', 'skip', 'skip']
    load_recipe(ROUNDS, tmp_path / 'run', until_stage='labels1').run()
    assert json.loads((tmp_path / 'run/outputs.json').read_text())['labels1'] == {'folder': '01_labels1'}
    assert plan(from_stage='round1', until_stage='round1') == ['done', 'done', 'todo', 'skip', 'skip']
    with pytest.raises(
        RecipeError, match=r'--from-stage labels2 needs stage round1, which is not done \(not yet run\)'
    ):
        plan(from_stage='labels2')
    # what is given needs none of the stages that it would have been made from
    checkpoint, labels = tmp_path / 'run/00_source/iter_2.pth', tmp_path / 'run/01_labels1'
    assert plan(init={'round1': checkpoint}) == ['skip', 'skip', 'init', 'todo', 'todo']
    assert plan(init={'round1': checkpoint}, until_stage='labels1') == ['done', 'done', 'init', 'skip', 'skip']
    assert plan(init={'labels1': labels}, from_stage='round1') == ['done', 'init', 'todo', 'todo', 'todo']
    with pytest.raises(
        RecipeError, match=r'--init labels1=.*00_source: no folder with a manifest.json, as PseudoLabels writes'
    ):
        plan(init={'labels1': checkpoint.parent})
    # before the first stage, what is done stays although the code changed
    monkeypatch.setattr('mmuda.engine.stages.code_hash', lambda: 'other')
    assert plan(from_stage='labels1') == ['done', 'todo', 'todo', 'todo', 'todo']
    assert plan(from_stage='round1') == ['done', 'done', 'todo', 'todo', 'todo']
    (labels / 'manifest.json').unlink()
    with pytest.raises(RecipeError, match=r'needs stage labels1, which is not done \(what it handed over is gone\)'):
        plan(from_stage='round1')


FIXED = "type='PseudoLabels', name='b', selector=dict(type='FixedThreshold')"


@pytest.mark.parametrize(
    ('entry', 'message'),
    [
        ("type='PseudoLabels', name='b', checkpoint='a'", "PseudoLabels: missing a required argument: 'selector'"),
        (FIXED, "stage b, PseudoLabels: missing a required argument: 'checkpoint'"),
        (f"{FIXED}, checkpoint='a', bnmode='batch'", "PseudoLabels: got an unexpected keyword argument 'bnmode'"),
        (f"{FIXED}, checkpoint='a', load_from='a'", "PseudoLabels: got an unexpected keyword argument 'load_from'"),
        (
            f"{FIXED.replace('Fixed', 'Fxed')}, checkpoint='a'",
            "stage b, PseudoLabels: selector.type='FxedThreshold': choose one of FixedThreshold",
        ),
    ],
)
def test_mistakes_in_an_offline_stage(written, tmp_path: Path, entry: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.load(written(f"dict(name='a'), dict({entry})"), tmp_path / 'run')


def test_an_option_reaches_what_the_recipe_does_not_say() -> None:
    options = {'ranking:easy_list': 'cityscapes_easy.txt'}
    recipe = Recipe.load(ROOT / 'configs/daf_ida/synthia2city_16.py', 'nowhere', options=options)
    settings = {stage.name: stage.settings.to_dict() for stage in recipe.stages}
    assert settings['ranking'] == {'ratio': 0.66, 'easy_list': 'cityscapes_easy.txt'}
    assert 'easy_list' not in settings['labels1']


def test_labels_need_a_target(written, tmp_path: Path) -> None:
    source = ROOT / 'configs/baselines/minicity_source.py'
    entries = f"""
        dict(name='a', config='{source}'),
        dict({FIXED}, checkpoint='a.last'),
        dict(name='c', config='{source}', labels='b'),
    """
    with pytest.raises(RecipeError, match=r'stage c takes labels, but has no train_dataloader.dataset.target'):
        Recipe.load(written(entries), tmp_path / 'run')
