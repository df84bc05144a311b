"""What a recipe costs: every kind of stage, from nothing, and nothing left behind."""

import re
import runpy
import sys
from pathlib import Path

import pytest
from helpers import ROOT, SMALL_CITY, small_recipe, stamp

from mmuda.engine import estimate as module
from mmuda.engine.estimate import cost_table, estimate
from mmuda.engine.recipe import Recipe


@pytest.fixture(autouse=True)
def _city(city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary folders lie where a test sees them."""
    monkeypatch.setenv('MMUDA_DATA', str(city))
    (tmp_path / 'temporary').mkdir()
    monkeypatch.setattr(module.tempfile, 'tempdir', str(tmp_path / 'temporary'))
    monkeypatch.setattr(module, 'WARM_UP', 1)
    monkeypatch.setattr(module, 'MEASURED', 2)


def nothing_is_left(tmp_path: Path) -> bool:
    return not (tmp_path / 'run').exists() and not list(tmp_path.glob('temporary/mmuda*'))


@pytest.mark.parametrize(
    ('name', 'offline'),
    [
        ('daf_ida', {'labels1', 'labels2', 'ranking'}),
        pytest.param('depth_distribution', {'density', 'labels'}, marks=pytest.mark.slow),
        pytest.param('hiast', {'labels1', 'labels2', 'labels3'}, marks=pytest.mark.slow),
        pytest.param('ldbe', {'ld_labels', 'be_labels'}, marks=pytest.mark.slow),
    ],
)
def test_every_stage_is_measured_from_nothing(name: str, offline: set, tmp_path: Path) -> None:
    recipe = small_recipe(f'{name}/minicity.py', tmp_path / 'run')
    real = {stage.name: stage.cfg.train_cfg.max_iters for stage in recipe.stages}
    costs = estimate(recipe)
    assert nothing_is_left(tmp_path)
    assert [*costs] == [stage.name for stage in recipe.stages]
    for stage, cost in costs.items():
        assert cost.memory > 0.1
        assert cost.kept > 1e-6
        assert (cost.passing > 0) == stage.startswith(('labels', 'ld_labels', 'be_labels'))
        if stage in offline:
            assert cost.how.startswith('8 images of ')
        else:  # isl2 goes on with the two steps of isl1
            steps = real[stage] - real.get('isl1', 0) * (stage == 'isl2')
            assert cost.how.startswith(f'{steps} steps of ')
            assert f', 1 validations of {SMALL_CITY["target_val"]} images, ' in cost.how


def test_what_is_measured_is_multiplied(tmp_path: Path) -> None:
    def build(steps: int, folder: str) -> Recipe:
        recipe = small_recipe('baselines/minicity_source.py', tmp_path / folder)
        recipe.stages[0].cfg.train_cfg.update(max_iters=steps, val_interval=20)
        return recipe

    recipe = build(30_000, 'run')
    costs = estimate(recipe)
    step, validations = re.match(r'30000 steps of (\S+) s, (\d+) validations of 3 images', costs['source'].how).groups()
    assert validations == '1500'
    assert costs['source'].seconds > 30_000 * float(step)  # and the validations
    header, _, row, total, _ = cost_table(recipe, costs).splitlines()
    assert header.startswith('An estimate, measured on a CPU (')
    assert row.split()[:2] == ['source', f'{costs["source"].seconds / 3600:.3f}']
    assert total.split()[1:5] == row.split()[1:5]

    short = estimate(build(30, 'run'))['source']
    last = build(30, 'real').run()
    kept = sum(file.stat().st_size for file in last.parent.rglob('*') if file.suffix in ('.pth', '.png')) / 1e9
    written = stamp(last.parent)
    assert short.kept == pytest.approx(kept, rel=0.05)
    assert costs['source'].kept > 2 * kept  # the log and the pictures are longer
    assert 0.5 * written['memory'] < short.memory < 1.5 * written['memory']
    assert estimate(build(30, 'real')) == {}  # it is done
    assert stamp(last.parent) == written


def test_missing_data_is_the_usual_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MMUDA_DATA', str(tmp_path / 'nowhere'))
    recipe = small_recipe('baselines/gta2city_source.py', tmp_path / 'run')
    with pytest.raises(FileNotFoundError, match=r'None of these folders exists: .*nowhere.*--data-root'):
        estimate(recipe)
    assert nothing_is_left(tmp_path)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def run(*args: object) -> None:
        monkeypatch.setattr(sys, 'argv', ['train.py', str(ROOT / 'configs/ehtdi/gta2city.py'), *map(str, args)])
        runpy.run_path(str(ROOT / 'tools/train.py'), run_name='__main__')

    with pytest.raises(SystemExit):
        run('--estimate', '--seeds', 0, 1)
    assert '--estimate is about one run: leave out --seeds' in capsys.readouterr().err
    with pytest.raises(SystemExit, match=r'error: None of these folders exists: .*nowhere'):
        run('--estimate', '--work-dir', tmp_path / 'run', '--data-root', tmp_path / 'nowhere')
    assert nothing_is_left(tmp_path)
