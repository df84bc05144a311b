"""The commands, run as a user runs them."""

import json
import os
import re
import runpy
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers import ROOT, SMALL, SMALL_CITY, run_tool, save_network, stamp
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from mmseg.apis import MMSegInferencer, init_model
from PIL import Image
from torch import nn

from mmuda.datasets import CityscapesDataset, LoadDepth, LoadImage
from mmuda.datasets.transforms.loading import decode_centimetres
from mmuda.engine.recipe import RecipeError, find_checkpoint
from mmuda.evaluation import depth_scores, scores
from mmuda.utils import charts, logs
from mmuda.utils.inference import Predictor

EHTDI = SMALL | {
    'test_dataloader.dataset.pipeline.2.scale': (128, 64),
    'test_pipeline.1.scale': (128, 64),
    'ehtdi:train_dataloader.dataset.source.pipeline.4.size': (32, 32),
    'ehtdi:train_dataloader.dataset.target.pipeline.3.size': (32, 32),
    'train_cfg.max_iters': 2,
    'train_cfg.val_interval': 2,
    'default_hooks.logger.interval': 1,
}


def as_options(settings: dict) -> list[str]:
    return [f'{key}={str(value).replace(" ", "")}' for key, value in settings.items()]


@pytest.fixture(scope='module')
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EHTDI on MiniCity from nothing by the command; the city is made on the way."""
    folder = tmp_path_factory.mktemp('tools')
    done = run_tool(
        'train.py', 'configs/ehtdi/minicity.py', '--work-dir', folder / 'run', '--data-root', folder / 'data',
        '--cfg-options', *as_options(EHTDI),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert re.search(r'00  source +todo +not yet run', done.stdout)
    assert re.search(r'01  ehtdi +todo +after source +<- source.last', done.stdout)
    return folder


def score(text: str) -> dict[str, float]:
    line = [line for line in text.splitlines() if 'Iter(test)' in line and 'mIoU:' in line][-1]
    return {key: float(value) for key, value in re.findall(r'(\S+): ([\d.]+)', line) if 'time' not in key}


def test_scores_are_those_of_the_last_validation(run: Path) -> None:
    options = {key: value for key, value in EHTDI.items() if key.startswith(('model', 'minicity', 'test'))}
    common = ('--data-root', run / 'data', '--cfg-options', *as_options(options))
    done = run_tool(
        'test.py', 'configs/ehtdi/minicity.py', run / 'run', '--out', run / 'masks', '--show-dir', run / 'show', *common
    )
    assert done.returncode == 0, done.stderr[-2000:]
    wanted, found = stamp(run / 'run/01_ehtdi')['scores'], score(done.stdout)
    assert all(found[key] == pytest.approx(wanted[key], abs=1e-4) for key in ('mIoU', 'mIoU16', 'mIoU13', 'aAcc'))
    assert 'labels of 64x128' in done.stdout
    file = max((run / 'run/01_ehtdi/test').glob('*/*.json'))
    assert logs.class_scores(file) == pytest.approx(logs.class_scores(run / 'run'), nan_ok=True)
    masks = sorted((run / 'masks').glob('*.png'))
    assert len(masks) == SMALL_CITY['target_val']
    assert np.asarray(Image.open(masks[0])).max() < 19
    assert list((run / 'show').rglob('*.png'))

    images = run / 'data/cityscapes/leftImg8bit/val'
    inferred = run_tool(
        'infer.py', 'configs/ehtdi/minicity.py', run / 'run', '--palette', images, '--out', run / 'inferred', *common
    )
    assert inferred.returncode == 0, inferred.stderr[-2000:]
    assert f'writing masks of {len(masks)} image(s)' in inferred.stdout
    names = {path.stem: path.relative_to(images) for path in images.rglob('*.png')}
    for mask in masks:  # the network's size is that of the images here
        picture = Image.open(run / 'inferred' / names[mask.stem])
        assert picture.mode == 'P'
        assert np.array_equal(np.asarray(picture), np.asarray(Image.open(mask)))

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
    done = run_tool('train.py', *common, '--dry-run', '--cfg-options', *as_options(EHTDI))
    assert [line.split()[2] for line in done.stdout.splitlines() if re.match(r'  0\d ', line)] == ['done', 'done']
    seeds = run_tool('train.py', *common, '--seeds', '3', '4', '--until-stage', 'source', '--dry-run')
    assert re.findall(r'stage\(s\) in .*/(run/seed\d)', seeds.stdout) == ['run/seed3', 'run/seed4']
    assert re.findall(r'01  ehtdi +(\w+)', seeds.stdout) == ['skip', 'skip']
    wrong = run_tool('train.py', *common, '--cfg-options', 'model.confidnce=0.9')
    assert wrong.returncode == 1
    assert wrong.stderr.strip().splitlines()[-1].startswith('error: --cfg-options model.confidnce: no stage has')
    nothing = run_tool('test.py', 'configs/ehtdi/minicity.py', run / 'data')
    assert 'is neither a checkpoint nor a run of' in nothing.stderr
    both = run_tool('test.py', 'nowhere.py', 'nowhere.pth', '--tta', '--score-at', 'network')
    assert both.returncode == 2
    assert '--tta has no single network resolution' in both.stderr


def test_wrong_settings_end_in_a_sentence(run: Path, tmp_path: Path) -> None:
    def fails(message: str, tool: str, *arguments: object) -> None:
        done = run_tool(tool, 'configs/ehtdi/minicity.py', *arguments)
        assert done.returncode == 1
        assert 'Traceback' not in done.stderr
        assert done.stderr.strip().splitlines()[-1].startswith(f'error: {message}')

    city = [option for option in as_options(EHTDI) if option.startswith('minicity')]
    common = ('--data-root', run / 'data', '--cfg-options', *city)
    fails('backbone.', 'test.py', run / 'run', '--work-dir', tmp_path, *common)  # it was trained with a tiny network
    fails(
        "model.evaluate='teacher': choose 'student', or 'teacher' together with model.teacher",
        'train.py', '--work-dir', tmp_path, '--init', f'source={run}/run/00_source/iter_2.pth', *common,
        'ehtdi:model.teacher=None',
    )  # fmt: skip


def test_a_terminated_estimate_leaves_nothing(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(_: Runner) -> None:
        assert len(list(tmp_path.iterdir())) == 1
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Runner, 'train', train)
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    done = run_tool(
        'train.py', 'configs/ehtdi/minicity.py', '--estimate', '--work-dir', run / 'other/estimated',
        '--data-root', run / 'data', '--cfg-options', *as_options(EHTDI),
    )  # fmt: skip
    assert done.returncode == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('step', 'option'),
    [('class-stats', '--amp'), ('cache', '--amp'), ('fit-density', '--amp'), ('class-stats', '--launcher=pytorch')],
)
def test_an_offline_step_has_no_option_that_it_would_ignore(step: str, option: str) -> None:
    done = run_tool('offline.py', step, 'config.py', '--out', 'nowhere', option)
    assert done.returncode == 2
    assert f'unrecognized arguments: {option}' in done.stderr


def test_the_run_folder_means_the_last_stage(run: Path, tmp_path: Path) -> None:
    cfg = Config.fromfile(ROOT / 'configs/ehtdi/minicity.py')
    assert find_checkpoint(run / 'run', cfg, 'last') == run / 'run/01_ehtdi/iter_2.pth'
    assert find_checkpoint(run / 'run', cfg, 'best') == run / 'run/01_ehtdi/best.pth'
    assert find_checkpoint(run / 'run/01_ehtdi', cfg) == run / 'run/01_ehtdi/iter_2.pth'
    (tmp_path / '00_source').mkdir()
    (tmp_path / '00_source/last_checkpoint').write_text('iter_2.pth')
    with pytest.raises(RecipeError, match='whose stage ehtdi has a last one'):
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
        'default_hooks.checkpoint.save_best': None,  # half a gigabyte
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


def test_stages_of_one_run_are_rows(table: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table('hiast', 'hiast_ehtdi', 'ehtdi')
    assert [row for row in rows.rows if 'HIAST' in row] == [
        'HIAST warm-up', 'HIAST round 1', 'HIAST round 2', 'HIAST', 'EHTDI+HIAST',
    ]  # fmt: skip
    assert rows.work_dir('HIAST round 1', 0) == rows.work_dir('HIAST', 0) != rows.work_dir('HIAST warm-up', 0)
    assert rows.needs('HIAST') == ['source-only', 'HIAST warm-up']
    assert 'EHTDI' in rows.needs('EHTDI+HIAST')
    folder = rows.work_dir('HIAST', 0)
    for number in (1, 2, 3):
        (folder / f'r{number}').mkdir(parents=True)
        (folder / f'r{number}/stamp.json').write_text(json.dumps({'scores': {'mIoU': 10.0 * number}}))
    outputs = {f'round{number}': {'last': f'r{number}/iter_1.pth'} for number in (1, 2, 3)}
    (folder / 'outputs.json').write_text(json.dumps(outputs))
    assert [rows.score(row, 0) for row in ('HIAST round 1', 'HIAST round 2', 'HIAST')] == [10, 20, 30]


def test_all_means_every_method_but_those_that_have_to_be_named(
    table: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = runpy.run_path(str(ROOT / 'tools/benchmark.py'))
    monkeypatch.setattr(sys, 'argv', ['benchmark.py', 'minicity', '--all'])
    methods = tool['parse_args']().methods
    assert set(tool['METHODS']).difference(methods) == {'ehtdi_mit-b0', 'hiast_ehtdi'}
    rows = table(*methods).rows
    assert list(rows)[:3] == ['source-only', 'continued', 'AdaBN']
    assert {'EHTDI', 'LDBE', 'DAF+IDA', 'HIAST', 'oracle'} <= set(rows)


def test_the_table_in_print(table: Callable[..., Any]) -> None:
    rows = table('ehtdi', 'ehtdi_mit-b0')
    for number, row in enumerate(rows.rows):
        for seed in (0, 1):
            folder = rows.work_dir(row, seed)
            (folder / '00_source').mkdir(parents=True)
            (folder / 'outputs.json').write_text('{"source": {"last": "00_source/iter_1.pth"}}')
            scores = {'seconds': 90, 'memory': 0.5, 'scores': {'mIoU': 10 * number + seed * number}}
            (folder / '00_source/stamp.json').write_text(json.dumps(scores))
    lines = {line[: rows.width].strip(): line[rows.width :].split() for line in str(rows).splitlines()}
    assert lines['EHTDI'] == ['31.50', '2.12', '+31.50', '2.12', '1.5', '0.5', '30.00', '33.00']
    assert lines['mit-b0 source-only'] == ['63.00', '4.24', '+0.00', '0.00', '1.5', '0.5', '60.00', '66.00']
    assert 'all stages, each once: 0.55 hours' in str(rows)  # 11 rows, 2 seeds, 90 s
    assert lines['mit-b0 oracle'] == ['105.00', '7.07', '+42.00', '2.83', '1.5', '0.5', '100.00', '110.00']


@pytest.mark.usefixtures('_log_level')
def test_a_benchmark_leaves_other_data_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MMUDA_DATA', '')  # the table sets it; put back afterwards
    main = runpy.run_path(str(ROOT / 'tools/benchmark.py'))['main']
    (tmp_path / 'minicity/GTA5/images').mkdir(parents=True)
    (tmp_path / 'minicity/GTA5/images/00001.png').touch()
    command = ['benchmark.py', 'minicity', '--data-root', str(tmp_path), '--work-dir', str(tmp_path / 'runs')]
    monkeypatch.setattr(sys, 'argv', command)
    with pytest.raises(SystemExit, match=r'^error: .*minicity holds other data and is left alone'):
        main()


# -------------------------------------------------------------------------------------------------- inference


@pytest.fixture
def infer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Runs infer.py in this process; returns what it prints. A failure is a SystemExit with the message."""
    tool, level = runpy.run_path(str(ROOT / 'tools/infer.py')), MMLogger.get_current_instance().level

    def call(*arguments: object) -> str:
        monkeypatch.setattr(sys, 'argv', ['infer.py', *map(str, arguments)])
        tool['main']()
        return capsys.readouterr().out

    yield call
    MMLogger.get_current_instance().setLevel(level)


@pytest.fixture
def network(load, tmp_path: Path) -> tuple[Path, Path]:
    """A config and a checkpoint of a fresh network."""
    return save_network(load('baselines/minicity_source.py'), tmp_path)


@pytest.fixture
def pictures(city: Path, tmp_path: Path) -> Path:
    """A folder of images of other sizes and kinds than the network's, in folders."""
    [path, *_] = sorted((city / 'cityscapes/leftImg8bit/val').rglob('*.png'))
    picture = Image.open(path)
    for name, size in (('one.png', (100, 60)), ('a/one.JPG', (80, 64)), ('a/b/two.webp', (33, 21))):
        (tmp_path / 'pictures' / name).parent.mkdir(parents=True, exist_ok=True)
        picture.resize(size).save(tmp_path / 'pictures' / name)
    (tmp_path / 'pictures/a/notes.txt').write_text('no image')
    return tmp_path / 'pictures'


def written(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file())


def test_infer_keeps_folders_and_sizes(infer, network, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    infer(*network, '--overlay', pictures, '--confidence', '--out', out)
    kinds = ('', '_confidence', '_overlay')
    names = ('a/b/two', 'a/one', 'one')
    assert written(out) == sorted(f'{name}{kind}.png' for name in names for kind in kinds)
    for name, size in zip(names, [(33, 21), (80, 64), (100, 60)], strict=True):
        mask, confidence, overlay = (Image.open(out / f'{name}{kind}.png') for kind in kinds)
        assert (mask.mode, confidence.mode, overlay.mode) == ('L', 'L', 'RGB')
        assert mask.size == confidence.size == overlay.size == size
        assert np.asarray(mask).max() < 19
        assert np.asarray(confidence).min() >= 255 // 19

    (tmp_path / 'pictures/a/list.txt').write_text(f'b/two.webp\n\n../one.png\n{pictures}/a/one.JPG\n')
    with pytest.raises(SystemExit, match=r'one\.png and .*one\.JPG would both be written to .*listed/one\.png'):
        infer(*network, pictures / 'a/list.txt', '--out', tmp_path / 'listed')
    (tmp_path / 'pictures/a/list.txt').write_text('b/two.webp\n../one.png\n')
    infer(*network, pictures / 'a/list.txt', '--out', tmp_path / 'listed')
    assert written(tmp_path / 'listed') == ['b/two.png', 'one.png']
    assert (tmp_path / 'listed/one.png').read_bytes() == (out / 'one.png').read_bytes()


def test_infer_stops_at_the_first_mistake(infer, network, pictures: Path, tmp_path: Path) -> None:
    def fails(message: str, *arguments: object, out: Path = tmp_path / 'out') -> None:
        with pytest.raises(SystemExit, match=message):
            infer(*network, *arguments, '--out', out)

    fails('missing.png: no such image', pictures, pictures / 'missing.png')
    fails(r'out lies in the input folder', pictures, out=pictures / 'out')
    fails(r'one\.png is an input and would be overwritten', pictures / 'one.png', out=pictures)
    fails('would both be written', pictures, pictures / 'one.png')
    (tmp_path / 'empty').mkdir()
    fails(r'empty: no image', tmp_path / 'empty')
    assert not (tmp_path / 'out').exists()
    (pictures / 'a/one.JPG').write_bytes(b'no picture')
    fails(r'one\.JPG: empty, broken or cut-off image', pictures)
    assert written(tmp_path / 'out') == ['a/b/two.png']


@pytest.fixture
def deep_network(load, tmp_path: Path) -> tuple[Path, Path]:
    """The same of a network that predicts depth."""
    sizes = {key: (128, 64) for key in ('test_pipeline.1.scale', 'test_dataloader.dataset.pipeline.2.scale')}
    config, checkpoint = save_network(load('daf_ida/minicity_stage2_isl.py', **sizes), tmp_path)
    content = torch.load(checkpoint)
    content['state_dict']['student.neck.conv_depth.weight'] *= 20000  # a fresh one sees the same everywhere
    content['state_dict']['student.neck.conv_depth.bias'] += 100
    torch.save(content, checkpoint)
    return config, checkpoint


def test_infer_writes_depth_as_depth_files_are(infer, deep_network, pictures: Path, tmp_path: Path) -> None:
    infer(*deep_network, '--depth', pictures / 'one.png', '--out', tmp_path / 'out')
    assert written(tmp_path / 'out') == ['one.png', 'one_depth.png', 'one_depth_colour.png']
    file = tmp_path / 'out/one_depth.png'
    found = decode_centimetres(file.read_bytes(), str(file))  # as LoadDepth reads them
    config, checkpoint = deep_network
    wanted = Predictor(Config.fromfile(config), checkpoint, depth=True)(str(pictures / 'one.png')).depth
    assert np.array_equal(found, np.rint(100 * wanted))
    assert len(np.unique(found)) > 10
    colours = cv2.imread(str(tmp_path / 'out/one_depth_colour.png')).astype(int)
    assert found.shape == colours.shape[:2] == (60, 100)
    near, far = (colours[found == limit(found)][0] for limit in (np.min, np.max))
    assert near.sum() > far.sum()


def test_infer_writes_density(infer, load, pictures: Path, tmp_path: Path) -> None:
    """And depth, of a network with a head for each (Depth Distribution)."""
    dense = save_network(load('depth_distribution/minicity.py'), tmp_path)
    content = torch.load(dense[1])
    content['state_dict']['student.density_head.conv3.bias'] += 100
    content['state_dict']['student.density_head.conv3.weight'] *= 20000  # a fresh one sees the same everywhere
    torch.save(content, dense[1])
    infer(*dense, '--density', '--depth', pictures / 'one.png', '--out', tmp_path / 'out')
    assert written(tmp_path / 'out') == ['one.png', 'one_density.png', 'one_depth.png', 'one_depth_colour.png']
    found = cv2.imread(str(tmp_path / 'out/one_density.png'), cv2.IMREAD_UNCHANGED)
    predictor = Predictor(Config.fromfile(dense[0]), dense[1], density=True)
    item = predictor.pipeline({'img_path': str(pictures / 'one.png')})
    image = predictor.model.data_preprocessor(pseudo_collate([item]))['inputs']
    with torch.no_grad():
        network = predictor.model.student
        wanted = network.density_head(network.extract_feat(image))
    for size in (image.shape[-2:], found.shape):
        wanted = nn.functional.interpolate(wanted, size=size, mode='bilinear', align_corners=True)
    assert np.abs(found - wanted[0, 0].clamp(0, 255).numpy()).max() <= 0.51
    assert found.std() > 0


def test_density_needs_a_network_that_predicts_it(infer, deep_network, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match='the network predicts no density'):
        infer(*deep_network, '--density', pictures / 'one.png', '--out', tmp_path / 'out')


def test_depth_needs_a_network_that_predicts_it(infer, network, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match='the network predicts no depth'):
        infer(*network, '--depth', pictures / 'one.png', '--out', tmp_path / 'out')


def test_depth_is_scored_where_the_data_have_it(deep_network, city: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = runpy.run_path(str(ROOT / 'tools/test.py'))
    config, checkpoint = deep_network
    monkeypatch.setattr(sys, 'argv', ['test.py', str(config), str(checkpoint), '--depth'])
    cfg = tool['build_config'](tool['parse_args']())
    found = Runner.from_cfg(cfg).test()
    assert {'mIoU', 'depth/abs_rel', 'depth/rmse', 'depth/d1', 'depth/d2', 'depth/d3'} <= found.keys()
    predictor = Predictor(Config.fromfile(config), checkpoint, depth=True)
    dataset = CityscapesDataset(data_root=str(city), split='val', with_depth=True, pipeline=[LoadImage(), LoadDepth()])
    scores = [
        depth_scores(
            torch.from_numpy(predictor(item['img_path']).depth), torch.from_numpy(item['gt_depth_map'] / 100), 80.0
        )
        for item in dataset
    ]
    assert found['depth/abs_rel'] == pytest.approx(float(torch.stack(scores)[:, 0].mean()), rel=1e-4)


def test_compare_draws_the_truth_where_there_is_one(infer, network, city: Path, pictures, tmp_path: Path) -> None:
    other = f'other={":".join(map(str, network))}'
    infer(*network, '--compare', other, '--errors', '--count', 2, '--out', tmp_path / 'val')
    sheets = written(tmp_path / 'val')
    assert len(sheets) == 2
    widths = {Image.open(tmp_path / 'val' / name).width for name in sheets}
    [image, *_] = sorted((city / 'cityscapes/leftImg8bit/val').rglob('*.png'))
    infer(*network, image, pictures / 'one.png', '--compare', other, '--errors', '--out', tmp_path / 'some')
    assert Image.open(tmp_path / 'some' / image.name).width in widths
    assert Image.open(tmp_path / 'some/one.png').width < min(widths)  # image and two predictions
    same = f'{network[0].parent.name}/config={":".join(map(str, network))}'
    with pytest.raises(SystemExit, match='two networks have the same name'):
        infer(*network, '--compare', same, '--out', tmp_path / 'none')
    assert not (tmp_path / 'none').exists()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'name images, folders or .txt lists'),
        (['x.png', '--errors'], '--errors belongs to --compare'),
        (['--compare', 'a=b:c', '--palette'], '--compare writes sheets only'),
        (['--compare', 'a=b'], 'a=b is not of the form NAME=CONFIG:CHECKPOINT'),
    ],
)
def test_infer_explains_its_command_line(infer, capsys, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit):
        infer('config.py', 'network.pth', *arguments, '--out', 'nowhere')
    assert message in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------ pictures


@pytest.fixture
def _log_level() -> None:
    """Put back what a tool changes."""
    level = MMLogger.get_current_instance().level
    yield
    MMLogger.get_current_instance().setLevel(level)


@pytest.fixture
def plot(monkeypatch: pytest.MonkeyPatch, _log_level: None) -> Callable[..., Figure]:
    """tools/plot.py in this process: writes the file, and gives back what it drew."""
    drawn, plain = [], charts.png
    monkeypatch.setattr(charts, 'png', lambda figure: drawn.append(figure) or plain(figure))

    def call(*arguments: object) -> Figure:
        monkeypatch.setattr(sys, 'argv', ['plot.py', *map(str, arguments)])
        runpy.run_path(str(ROOT / 'tools/plot.py'), run_name='__main__')
        return drawn[-1]

    return call


def test_plot_draws_what_a_run_has_logged(run: Path, plot: Callable[..., Figure], tmp_path: Path) -> None:
    out, source = tmp_path / 'curves.png', run / 'run/00_source'
    panels = plot('curves', f'source={source}', run / 'run', '--metric', 'mIoU16', '--out', out).axes
    lines = {panel.get_title(): panel.lines for panel in panels if panel.lines}
    scores = [stamp(folder)['scores']['mIoU16'] for folder in (source, run / 'run/01_ehtdi')]
    assert [line.get_xydata()[-1].tolist() for line in lines['validation: mIoU16']] == [[2, score] for score in scores]
    assert [len(line.get_xdata()) for line in lines['src.loss_seg']] == [2, 2]
    assert len(lines) > 2
    assert cv2.imread(str(out)) is not None
    (tmp_path / 'reused').mkdir()  # its last stage lies in the other run
    handed_over = {'source': {}, 'ehtdi': {'last': '../run/01_ehtdi/iter_2.pth'}}
    (tmp_path / 'reused/outputs.json').write_text(json.dumps(handed_over))
    (tmp_path / 'run').symlink_to(run / 'run')
    assert logs.scalars(logs.trained_stage(tmp_path / 'reused')) == logs.scalars(run / 'run/01_ehtdi')

    bars = plot('bars', f'source={source}', tmp_path / 'reused', '--out', tmp_path / 'bars.png').axes[0].containers
    for drawn, folder in zip(bars, (source, run / 'run/01_ehtdi'), strict=True):
        scores = stamp(folder)['scores']
        wanted = [scores['mIoU'], *(score for name, score in scores.items() if name.startswith('IoU.'))]
        assert len(wanted) == 20
        assert [bar.get_height() for bar in drawn] == pytest.approx(wanted, nan_ok=True)


def test_plot_counts_as_the_validation_does(
    run: Path, plot: Callable[..., Figure], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, plain, stage = [], charts.confusion, run / 'run/01_ehtdi'
    monkeypatch.setattr(charts, 'confusion', lambda *args: drawn.append(args) or plain(*args))
    plot('confusion', stage / 'minicity.py', stage, '--data-root', run / 'data', '--out', tmp_path / 'matrix.png')
    matrix, classes = drawn[0]
    wanted = stamp(stage)['scores']
    found = {
        f'IoU.{name.replace(" ", "_")}': 100 * iou for name, iou in zip(classes, scores(matrix)['IoU'], strict=True)
    }
    assert found == pytest.approx({name: wanted[name] for name in found}, nan_ok=True)
    assert len(found) == 19


def test_plot_explains_mistakes(run: Path, plot: Callable[..., Figure], tmp_path: Path) -> None:
    out, stage = ('--out', tmp_path / 'picture.png'), run / 'run/01_ehtdi'
    with pytest.raises(SystemExit, match='error: two runs are named run: give them names of their own by NAME=RUN'):
        plot('curves', run / 'run', tmp_path / 'run', *out)
    for kind in ('curves', 'bars'):
        with pytest.raises(SystemExit, match=r'error: .*data holds no log of a training: name the folder of a run'):
            plot(kind, run / 'data', *out)
    with pytest.raises(SystemExit, match=r'not validated by miou: choose one of mIoU, mIoU16, mIoU13, aAcc, mAcc, '):
        plot('curves', run / 'run', '--metric', 'miou', *out)
    with pytest.raises(SystemExit, match=r'iter_2\.pth tells no IoU of classes: give a run that was validated, or'):
        plot('bars', stage / 'iter_2.pth', *out)
    (tmp_path / 'two.json').write_text('{"mIoU": 50.0, "IoU.car": 50.0}')
    with pytest.raises(SystemExit, match=r'two\.json has other classes than run: draw them apart'):
        plot('bars', run / 'run', tmp_path / 'two.json', *out)
    log = tmp_path / 'broken/20261121_000000/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text('{"loss": 1.0, "iter": 1, "step": 1}\n{"loss": ')
    with pytest.raises(SystemExit, match=r'scalars\.json, line 2: no values of a step; mend or delete the line'):
        plot('curves', tmp_path / 'broken', *out)
    with pytest.raises(SystemExit, match=r'error: .*data is neither a checkpoint nor a run of'):
        plot('confusion', stage / 'minicity.py', run / 'data', '--data-root', run / 'data', *out)
    assert not (tmp_path / 'picture.png').exists()


def test_plot_lays_out_both_domains(load, plot: Callable[..., Figure], tmp_path: Path, capsys) -> None:
    config, checkpoint = save_network(load('depth_distribution/minicity_stage1_uda.py'), tmp_path)
    networks = [f'{name}={config}:{checkpoint}' for name in ('one', 'two')]
    settings = ('--images', 2, '--cells', 10, '--out', tmp_path / 'tsne.png')
    panels = plot('tsne', config, *networks, *settings).axes
    assert [panel.get_title() for panel in panels] == ['one', 'two']
    places = [[group.get_offsets() for group in panel.collections] for panel in panels]
    assert np.array_equal(*places)  # one network, two names
    assert np.shape(places) == (2, 2, 20, 2)
    assert not np.array_equal(*places[0])
    with pytest.raises(SystemExit):
        plot('tsne', config, 'nameless', *settings)
    assert 'nameless is not of the form NAME=CONFIG:CHECKPOINT' in capsys.readouterr().err
