"""The commands, run as a user runs them."""

import json
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import ROOT, SMALL_CITY, TINY, run_tool, stamp
from mmengine.config import Config
from mmseg.apis import MMSegInferencer, init_model
from PIL import Image

SMALL = {
    **TINY,
    **{f'minicity.{key}': value for key, value in SMALL_CITY.items()},
    'val_dataloader.dataset.pipeline.2.scale': '(128,64)',
    'test_dataloader.dataset.pipeline.2.scale': '(128,64)',
    'ehtdi:train_dataloader.dataset.source.pipeline.4.size': '(32,32)',
    'ehtdi:train_dataloader.dataset.target.pipeline.3.size': '(32,32)',
    'train_cfg.max_iters': 2,
    'train_cfg.val_interval': 2,
}


def as_options(settings: dict) -> list[str]:
    return [f'{key}={str(value).replace(" ", "")}' for key, value in settings.items()]


@pytest.fixture(scope='module')
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EHTDI on MiniCity from nothing by the command; the city is made on the way."""
    folder = tmp_path_factory.mktemp('tools')
    done = run_tool(
        'train.py', 'configs/ehtdi/minicity.py', '--work-dir', folder / 'run', '--data-root', folder / 'data',
        '--cfg-options', *as_options(SMALL),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert re.search(r'00  source +todo +not yet run', done.stdout)
    assert re.search(r'01  ehtdi +todo +after source +<- source.last', done.stdout)
    return folder


def score(text: str) -> dict[str, float]:
    line = [line for line in text.splitlines() if 'Iter(test)' in line and 'mIoU:' in line][-1]
    return {key: float(value) for key, value in re.findall(r'(\S+): ([\d.]+)', line) if 'time' not in key}


def test_scores_are_those_of_the_last_validation(run: Path) -> None:
    options = {key: value for key, value in SMALL.items() if key.startswith(('model', 'minicity', 'test'))}
    common = ('--data-root', run / 'data', '--cfg-options', *as_options(options))
    done = run_tool(
        'test.py', 'configs/ehtdi/minicity.py', run / 'run', '--out', run / 'masks', '--show-dir', run / 'show', *common
    )
    assert done.returncode == 0, done.stderr[-2000:]
    wanted, found = stamp(run / 'run/01_ehtdi')['scores'], score(done.stdout)
    assert all(found[key] == pytest.approx(wanted[key], abs=1e-4) for key in ('mIoU', 'mIoU16', 'mIoU13', 'aAcc'))
    assert 'labels of 64x128' in done.stdout
    masks = sorted((run / 'masks').glob('*.png'))
    assert len(masks) == SMALL_CITY['target_val']
    assert np.asarray(Image.open(masks[0])).max() < 19
    assert list((run / 'show').rglob('*.png'))

    at_labels = run_tool('test.py', 'configs/ehtdi/minicity.py', run / 'run', '--score-at', 'labels', *common)
    assert score(at_labels.stdout) == pytest.approx(score(done.stdout))  # the labels have the network's size here

    augmented = run_tool(
        'test.py',
        'configs/ehtdi/minicity.py',
        run / 'run/01_ehtdi/iter_2.pth',
        '--tta',
        '--work-dir',
        run / 'tta',
        *common,
    )
    assert augmented.returncode == 0, augmented.stderr[-2000:]
    assert score(augmented.stdout)['aAcc'] > 0


def test_dry_run_and_mistakes(run: Path) -> None:
    common = ('configs/ehtdi/minicity.py', '--work-dir', run / 'run', '--data-root', run / 'data')
    done = run_tool('train.py', *common, '--dry-run', '--cfg-options', *as_options(SMALL))
    assert [line.split()[2] for line in done.stdout.splitlines() if re.match(r'  0\d ', line)] == ['done', 'done']
    seeds = run_tool('train.py', *common, '--seeds', '3', '4', '--until-stage', 'source', '--dry-run')
    assert re.findall(r'stage\(s\) in .*/(run/seed\d)', seeds.stdout) == ['run/seed3', 'run/seed4']
    assert re.findall(r'01  ehtdi +(\w+)', seeds.stdout) == ['skip', 'skip']
    wrong = run_tool('train.py', *common, '--cfg-options', 'model.confidnce=0.9')
    assert wrong.returncode == 1
    assert wrong.stderr.strip().splitlines()[-1].startswith('error: --cfg-options model.confidnce: no stage has')
    nothing = run_tool('test.py', 'configs/ehtdi/minicity.py', run / 'data')
    assert 'is neither a checkpoint nor a run of' in nothing.stderr
    both = run_tool('test.py', 'configs/ehtdi/minicity.py', run / 'run', '--tta', '--score-at', 'network')
    assert '--tta has no single network resolution' in both.stderr


def test_the_run_folder_means_the_last_stage(run: Path, tmp_path: Path) -> None:
    find_checkpoint = runpy.run_path(str(ROOT / 'tools/test.py'))['find_checkpoint']
    cfg = Config.fromfile(ROOT / 'configs/ehtdi/minicity.py')
    assert find_checkpoint(run / 'run', cfg, 'last') == run / 'run/01_ehtdi/iter_2.pth'
    assert find_checkpoint(run / 'run', cfg, 'best') == run / 'run/01_ehtdi/best.pth'
    (tmp_path / '00_source').mkdir()
    (tmp_path / '00_source/last_checkpoint').write_text('iter_2.pth')
    with pytest.raises(SystemExit, match='whose stage ehtdi has a last one'):
        find_checkpoint(tmp_path, cfg, 'last')


def test_stock_tools_take_the_recipe(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MMUDA_DATA', str(run / 'data'))
    config = str(next((run / 'run/01_ehtdi').glob('minicity.py')))
    checkpoint = str(run / 'run/01_ehtdi/iter_2.pth')
    model = init_model(config, checkpoint, device='cpu')
    assert len(model.dataset_meta['classes']) == 19
    image = str(next((run / 'data/cityscapes/leftImg8bit/val').rglob('*.png')))
    inferencer = MMSegInferencer(model=config, weights=checkpoint, device='cpu')
    prediction = inferencer(image, return_datasamples=True).pred_sem_seg.data
    assert tuple(prediction.shape[-2:]) == (64, 128)


@pytest.mark.parametrize('name', ['gta2city', pytest.param('synthia2city_16', marks=pytest.mark.slow)])
def test_paper_config_runs_end_to_end_on_minicity(city: Path, tmp_path: Path, name: str) -> None:
    """The paper's own pipeline and ResNet-101; only sizes and lengths are given as options."""
    settings = {
        'train_dataloader.dataset.source.pipeline.3.scale': '(128,72)',
        'ehtdi:train_dataloader.dataset.target.pipeline.2.scale': '(128,64)',
        'ehtdi:train_dataloader.dataset.source.pipeline.5.size': '(64,64)',
        'ehtdi:train_dataloader.dataset.target.pipeline.4.size': '(64,64)',
        'val_dataloader.dataset.pipeline.2.scale': '(128,64)',
        'train_cfg.max_iters': 2,
        'train_cfg.val_interval': 2,
    }
    done = run_tool(
        'train.py', f'configs/ehtdi/{name}.py', '--data-root', city, '--work-dir', tmp_path,
        '--cfg-options', *as_options(settings),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    scores = stamp(tmp_path / '01_ehtdi')['scores']
    assert 0 <= scores['mIoU'] <= 100


# -------------------------------------------------------------------------------------------------- the benchmark


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The accuracy table of some methods, seed 0 and 1, whose runs lie in the test's folder."""
    monkeypatch.setenv('MMUDA_DATA', '')  # the table sets it; put back afterwards
    tool = runpy.run_path(str(ROOT / 'tools/benchmark.py'))

    def build(*methods: str) -> Any:
        command = ['benchmark.py', 'minicity', '--seeds', '0', '1', '--work-dir', str(tmp_path)]
        monkeypatch.setattr(sys, 'argv', command + (['--methods', *methods] if methods else []))
        return tool['Table'](tool['parse_args']())

    return build


def test_a_table_has_the_rows_of_its_networks(table: Callable[..., Any]) -> None:
    small = ['source-only', 'continued', 'AdaBN', 'EHTDI', 'EHTDI, AdaBN', 'oracle']
    other = [f'mit-b0 {row}' for row in ('source-only', 'continued', 'AdaBN', 'EHTDI', 'oracle')]
    assert list(table('ehtdi').rows) == small
    assert list(table('ehtdi_mit-b0').rows) == other
    assert list(table('ehtdi_mit-b0', 'ehtdi').rows) == other + small
    assert list(table().rows) == [*small[:-1], 'EHTDI edge', 'EHTDI edge, AdaBN', 'oracle']


def test_a_row_waits_for_its_stages_and_gains_over_its_own_network(table: Callable[..., Any]) -> None:
    rows = table('ehtdi', 'ehtdi_edge', 'ehtdi_mit-b0')
    for row, config in rows.rows.items():
        networks = [Config.fromfile(path).model.student for path in (config, rows.rows[rows.start[row]])]
        assert networks[0] == networks[1]
        assert rows.start[row].endswith('source-only')
    assert rows.needs('EHTDI edge, AdaBN') == ['source-only', 'EHTDI edge']
    assert rows.needs('mit-b0 EHTDI') == rows.needs('mit-b0 continued') == ['mit-b0 source-only']
    assert rows.needs('oracle') == rows.needs('mit-b0 source-only') == []


def test_the_table_in_print(table: Callable[..., Any]) -> None:
    rows = table('ehtdi', 'ehtdi_mit-b0')
    for number, row in enumerate(rows.rows):
        for seed in (0, 1):
            folder = rows.work_dir(row, seed)
            (folder / '00_source').mkdir(parents=True)
            (folder / 'outputs.json').write_text('{"source": {"last": "00_source/iter_1.pth"}}')
            scores = {'seconds': 90, 'scores': {'mIoU': 10 * number + seed * number}}
            (folder / '00_source/stamp.json').write_text(json.dumps(scores))
    lines = {line[: rows.width].strip(): line[rows.width :].split() for line in str(rows).splitlines()}
    assert lines['EHTDI'] == ['31.50', '2.12', '+31.50', '2.12', '1.5', '30.00', '33.00']
    assert lines['mit-b0 source-only'] == ['63.00', '4.24', '+0.00', '0.00', '1.5', '60.00', '66.00']
    assert lines['mit-b0 oracle'] == ['105.00', '7.07', '+42.00', '2.83', '1.5', '100.00', '110.00']
