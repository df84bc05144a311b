"""What a recipe costs: every kind of stage, from nothing, and nothing left behind."""

import re
from pathlib import Path

import pytest
from helpers import ROOT, SMALL_CITY, run_tool, small_recipe, stamp

from mmuda.engine import estimate as module
from mmuda.engine.estimate import estimate
from mmuda.engine.recipe import Recipe

WHAT = r'(\S+) +(\d+\.\d{3}) +(\d+\.\d\d) +(\d+\.\d{3}) +(\d+\.\d{3})  (.*)'


@pytest.fixture(autouse=True)
def _city(city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary folders lie where a test sees them."""
    monkeypatch.setenv('MMUDA_DATA', str(city))
    (tmp_path / 'temporary').mkdir()
    monkeypatch.setattr(module.tempfile, 'tempdir', str(tmp_path / 'temporary'))
    monkeypatch.setattr(module, 'WARM_UP', 1)
    monkeypatch.setattr(module, 'MEASURED', 2)


def rows(text: str) -> dict[str, tuple]:
    found = [re.fullmatch(WHAT, line) for line in text.splitlines()]
    return {row[1]: (*map(float, row.groups()[1:5]), row[6]) for row in found if row}


def nothing_is_left(tmp_path: Path) -> bool:
    return [path.name for path in tmp_path.rglob('*')] == ['temporary']


@pytest.mark.parametrize(
    ('name', 'offline'),
    [
        ('daf_ida', {'labels1': 8, 'labels2': 8, 'ranking': 8}),
        pytest.param('depth_distribution', {'density': 8, 'labels': 8}, marks=pytest.mark.slow),
        pytest.param('hiast', {'labels1': 8, 'labels2': 8, 'labels3': 8}, marks=pytest.mark.slow),
        pytest.param('ldbe', {'ld_labels': 8, 'be_labels': 8}, marks=pytest.mark.slow),
    ],
)
def test_every_stage_is_measured_from_nothing(name: str, offline: dict, tmp_path: Path) -> None:
    recipe = small_recipe(f'{name}/minicity.py', tmp_path / 'run')
    real = {stage.name: stage.cfg.train_cfg.max_iters for stage in recipe.stages}
    text = estimate(recipe)
    assert nothing_is_left(tmp_path)
    assert 'An estimate, measured on a CPU (' in text
    found = rows(text)
    assert [*found] == [stage.name for stage in recipe.stages] + ['total']
    assert {key: int(found[key][4].split()[0]) for key in offline} == offline
    for stage in recipe.stages:
        if stage.name not in offline:  # isl2 goes on with the two steps of isl1
            steps = real[stage.name] - real.get('isl1', 0) * (stage.name == 'isl2')
            assert found[stage.name][4].startswith(f'{steps} steps of ')
            assert f', 1 validations of {SMALL_CITY["target_val"]} images, ' in found[stage.name][4]
            assert found[stage.name][2] > 0


def test_what_is_measured_is_multiplied(tmp_path: Path) -> None:
    def build(steps: int, folder: str) -> Recipe:
        recipe = small_recipe('baselines/minicity_source.py', tmp_path / folder)
        recipe.stages[0].cfg.train_cfg.update(max_iters=steps, val_interval=20)
        return recipe

    few, many = (rows(estimate(build(steps, 'run')))['source'] for steps in (30, 30_000))
    step = float(re.search(r'30000 steps of (\S+) s, 1500 validations', many[4])[1])
    assert '30 steps of ' in few[4]
    assert ', 2 validations' in few[4]
    assert many[0] * 3600 > 30_000 * step  # and the validations
    assert many[2] > few[2]  # the log and the pictures are longer
    run = build(30, 'real')
    last = run.run()
    kept = sum(file.stat().st_size for file in last.parent.rglob('*') if file.suffix in ('.pth', '.png')) / 1e9
    assert rows(estimate(build(30, 'run')))['source'][2] == pytest.approx(kept, abs=1e-3)
    assert kept > 1e-3
    assert rows(estimate(build(30, 'real'))) == {'total': (0, 0, 0, 0, 'and what is done or given: 1 of 1 stages')}
    assert stamp(last.parent)['status'] == 'done'  # and nothing was touched
    memory = stamp(last.parent)['memory']
    assert 0.5 * memory < few[1] < 1.5 * memory


def test_missing_data_is_the_usual_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MMUDA_DATA', str(tmp_path / 'nowhere'))
    recipe = small_recipe('baselines/gta2city_source.py', tmp_path / 'run')
    with pytest.raises(FileNotFoundError, match=r'None of these folders exists: .*nowhere.*--data-root'):
        estimate(recipe)
    assert nothing_is_left(tmp_path)


def test_the_command(tmp_path: Path, city: Path) -> None:
    wrong = run_tool('train.py', 'configs/ehtdi/minicity.py', '--estimate', '--seeds', 0, 1)
    assert wrong.returncode == 2
    assert '--estimate is about one run: leave out --seeds' in wrong.stderr
    missing = run_tool(
        'train.py', 'configs/ehtdi/gta2city.py', '--estimate', '--work-dir', tmp_path / 'run',
        '--data-root', tmp_path / 'nowhere', '--init', f'source={ROOT}/setup.cfg', TMPDIR=str(tmp_path / 'temporary'),
    )  # fmt: skip
    assert missing.returncode == 1
    assert missing.stderr.splitlines()[-1].startswith('error: None of these folders exists: ')
    assert nothing_is_left(tmp_path)
