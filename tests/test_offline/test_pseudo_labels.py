"""The whole step on MiniCity: against its plain form, interrupted, on several processes, with all that can be wrong."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import plain_ldbe as plain
import pytest
import torch
from helpers import ROOT, SMALL_CITY, actions, contents, die, in_processes
from mmengine.config import Config
from mmengine.dist import all_gather_object
from mmengine.logging import MMLogger
from PIL import Image
from torch import Tensor

from mmuda.engine.recipe import Recipe
from mmuda.offline import manifest, predictions, pseudo_labels, selectors, write_pseudo_labels
from mmuda.offline.predictions import Scores, target_images
from mmuda.offline.selectors import Selector, confidence
from mmuda.utils.inference import load_model

COUNT = SMALL_CITY['target_train']
LDBE = {'type': 'GlobalLocal', 'prop': 0.1}


def read_labels(folder: Path) -> dict[str, np.ndarray]:
    """Every PNG below a folder."""
    return {path.relative_to(folder).as_posix(): np.asarray(Image.open(path)) for path in sorted(folder.rglob('*.png'))}


@pytest.fixture
def write(cfg: Config, checkpoint: Path) -> Callable[..., dict]:
    """The step with LDBE's selector."""

    def run(out: Path, **settings: object) -> dict:
        return write_pseudo_labels(cfg, checkpoint, out, **{'selector': LDBE, 'num_workers': 0, **settings})

    return run


def plain_logits(cfg: Config, checkpoint: Path, train: bool) -> tuple[list[Tensor], list[dict]]:
    """Input-size logits (1, C, H, W) of every image by stock means, and the network after each of two passes."""
    model = load_model(cfg, checkpoint).train(train)
    dataset, states = target_images(cfg), []
    for _ in range(2):
        logits = []
        for item in dataset:
            inputs = model.data_preprocessor({'inputs': [item['inputs']], 'data_samples': [item['data_samples']]})
            with torch.no_grad():
                low = model.student(inputs['inputs'], mode='tensor')
            logits.append(plain.upsample(low, (32, 64)))
        states.append({key: value.clone() for key, value in model.student.state_dict().items()})
    return logits, states


# ---------------------------------------------------------------------------------------------- what it writes


@pytest.mark.parametrize('bn_mode', ['batch', 'running'])
def test_an_offline_round_equals_the_plain_form(
    bn_mode: str, write: Callable, cfg: Config, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forwards = []
    plain_call = predictions.UDASegmentor._forward
    monkeypatch.setattr(
        predictions.UDASegmentor, '_forward', lambda self, *args: forwards.append(1) or plain_call(self, *args)
    )
    done = write(tmp_path / 'labels', bn_mode=bn_mode)
    assert len(forwards) == COUNT  # one forward pass for each image
    logits, states = plain_logits(cfg, checkpoint, train=bn_mode == 'batch')
    delta, wanted = plain.offline_round(logits, (64, 128), 0.1)
    assert done['thresholds'] == [value if value < 2 else None for value in torch.tensor(delta).tolist()]

    labels = read_labels(tmp_path / 'labels')
    images = [item['image'] for item in target_images(cfg).load_data_list()]
    assert done['files'] == images  # MiniCity's images are PNGs themselves
    assert set(labels) == set(images)
    assert images[0].startswith('train/')
    for file, right in zip(images, wanted, strict=True):
        assert np.array_equal(labels[file], right)
    assert Image.open(tmp_path / 'labels' / done['files'][0]).mode == 'L'
    pixels = np.bincount(np.concatenate([label.ravel() for label in wanted]), minlength=256)
    assert list(done['pixels'].values()) == pixels[:19].tolist()
    assert done['ignored'] == pixels[255] > 0
    assert done['coverage']['road'] == pixels[0] / (COUNT * 64 * 128)
    assert done['pixels_by_image'][3] == np.bincount(wanted[3].ravel(), minlength=256)[:19].tolist()
    assert all((done['confidence'][name] > 0) == (count > 0) for name, count in done['pixels'].items())
    assert (done['kind'], done['count'], done['classes'][10]) == ('pseudo-labels', COUNT, 'sky')
    assert not (tmp_path / 'labels/unfinished').exists()

    file = tmp_path / 'labels/running_statistics.pth'
    assert file.exists() == (bn_mode == 'batch')
    if bn_mode == 'batch':  # as the reference's two passes leave them
        for found, state in zip(torch.load(file), states, strict=True):
            assert found.keys() == {key for key in state if 'running' in key or 'tracked' in key}
            for key, value in found.items():
                torch.testing.assert_close(value, state[key], rtol=1e-5, atol=1e-7)
            assert not torch.equal(
                found['backbone.bn1.running_mean'], load_model(cfg, checkpoint).student.backbone.bn1.running_mean
            )


def test_kept_scores_are_the_logits(write: Callable, cfg: Config, checkpoint: Path, tmp_path: Path) -> None:
    write(tmp_path / 'labels', keep_scores=True)
    logits, _ = plain_logits(cfg, checkpoint, train=False)
    for index, right in enumerate(logits):
        kept = np.load(tmp_path / f'labels/unfinished/{index:06d}.npz')
        assert kept['sizes'].tolist() == [[32, 64], [64, 128]]
        assert torch.equal(plain.upsample(torch.from_numpy(kept['logits']), (32, 64)), right)


def test_a_finished_folder_is_left_alone(write: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = write(tmp_path / 'labels')
    before = contents(tmp_path / 'labels')
    monkeypatch.setattr(pseudo_labels, 'predict', lambda *_: pytest.fail('there is nothing to do'))
    assert write(tmp_path / 'labels', num_workers=2) == done
    assert contents(tmp_path / 'labels') == before
    for settings, changed in (({'selector': {**LDBE, 'prop': 0.2}}, 'selector'), ({'bn_mode': 'batch'}, 'bn_mode')):
        with pytest.raises(ValueError, match=f'labels holds pseudo-labels of another {changed}; delete it or choose'):
            write(tmp_path / 'labels', **settings)


def test_the_log_says_how_long_it_takes(write: Callable, tmp_path: Path) -> None:
    MMLogger.get_instance(str(tmp_path), log_file=str(tmp_path / 'log'))
    write(tmp_path / 'labels')
    log = (tmp_path / 'log').read_text()
    assert f'pseudo-labels, look 1 of 2: {COUNT}/{COUNT}, ' in log
    assert '0:00:00 left' in log
    assert 'scores are kept in' in log


# --------------------------------------------------------------------------------- whoever does it, and however often


def die_at_rename(number: int, suffix: str = '') -> None:
    """Let this process kill itself just before a file of a kind gets its final name for the n-th time."""
    plain_replace, seen = os.replace, []

    def replace(part: Path, path: Path) -> None:
        seen.extend([path] if str(path).endswith(suffix) else [])
        if len(seen) >= number:  # threads write
            os.kill(os.getpid(), signal.SIGKILL)
        plain_replace(part, path)

    os.replace = replace


# The job, a file of scores for each image, a label for each image.
@pytest.mark.parametrize('renames', [4, 1 + COUNT + 3])
def test_a_killed_step_goes_on(renames: int, write: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / 'whole', bn_mode='batch')

    def killed() -> None:
        die_at_rename(renames)
        write(tmp_path / 'labels', bn_mode='batch')

    die(killed)
    with pytest.raises(FileNotFoundError, match=r'labels has no manifest\.json: no finished pseudo-labels'):
        manifest.read(tmp_path / 'labels', 'pseudo-labels')
    parts = list((tmp_path / 'labels').rglob('*.part'))
    assert parts  # it was killed while it wrote
    whole, there = read_labels(tmp_path / 'whole'), read_labels(tmp_path / 'labels')
    assert len(there) < COUNT
    assert all(np.array_equal(whole[file], label) for file, label in there.items())

    scores = len(list((tmp_path / 'labels/unfinished').glob('*.npz')))
    forwards = []
    plain_call = predictions.UDASegmentor._forward
    monkeypatch.setattr(
        predictions.UDASegmentor, '_forward', lambda self, *args: forwards.append(1) or plain_call(self, *args)
    )
    written = {file: os.stat(tmp_path / 'labels' / file).st_mtime_ns for file in there}
    write(tmp_path / 'labels', bn_mode='batch')
    assert len(forwards) == COUNT - scores < COUNT
    assert written == {file: os.stat(tmp_path / 'labels' / file).st_mtime_ns for file in there}
    assert contents(tmp_path / 'labels') == contents(tmp_path / 'whole')


def test_killed_before_the_scores_are_gone(write: Callable, tmp_path: Path) -> None:
    write(tmp_path / 'whole')
    write(tmp_path / 'labels', keep_scores=True)
    write(tmp_path / 'labels')
    assert contents(tmp_path / 'labels') == contents(tmp_path / 'whole')


def test_an_unfinished_folder_belongs_to_its_job(write: Callable, tmp_path: Path) -> None:
    def killed() -> None:
        die_at_rename(4)
        write(tmp_path / 'labels')

    die(killed)
    with pytest.raises(ValueError, match='labels holds pseudo-labels of another selector'):
        write(tmp_path / 'labels', selector={'type': 'FixedThreshold'})


@pytest.mark.parametrize(
    'selector',
    [
        LDBE,
        {'type': 'ClassBalanced', 'prop': 0.2},
        {'type': 'FixedThreshold'},
        {'type': 'InstanceAdaptive'},
        {'type': 'HalfClassBalanced'},
    ],
)
def test_processes_and_workers_make_no_difference(selector: dict, write: Callable, tmp_path: Path) -> None:
    settings = {'selector': selector, 'bn_mode': 'batch'}
    write(tmp_path / 'one', **settings)
    write(tmp_path / 'workers', num_workers=2, **settings)
    in_processes(lambda _: write(tmp_path / 'two', num_workers=1, **settings), tmp_path)
    wanted = contents(tmp_path / 'one')
    assert len(wanted) == COUNT + 2
    assert contents(tmp_path / 'workers') == wanted
    assert contents(tmp_path / 'two') == wanted


@dataclass
class Running(Selector):
    """A threshold that runs through the images in the order of their numbers, as HIAST's does."""

    looks = 1

    def start(self, num_classes: int, device: torch.device | str) -> None:
        self.means: dict[int, float] = {}

    def observe(self, scores: Scores) -> None:
        self.means[scores.index] = float(confidence(scores.at_input())[0].mean())

    def merge(self) -> None:
        gathered = {index: mean for means in all_gather_object(self.means) for index, mean in means.items()}
        self.thresholds, threshold = {}, 0.9
        for index in sorted(gathered):
            threshold = self.thresholds[index] = 0.9 * threshold + 0.1 * gathered[index]

    def select(self, scores: Scores) -> tuple[Tensor, Tensor]:
        conf, label = confidence(scores.at_label())
        return label.masked_fill_(conf < self.thresholds[scores.index], 255), conf


def test_the_interface_carries_a_recursion_over_images(
    write: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(selectors.SELECTORS, 'Running', Running)
    write(tmp_path / 'one', selector={'type': 'Running'})
    in_processes(lambda _: write(tmp_path / 'three', selector={'type': 'Running'}), tmp_path, count=3)
    assert contents(tmp_path / 'three') == contents(tmp_path / 'one')


def test_more_processes_than_images(write: Callable, cfg: Config, tmp_path: Path) -> None:
    cfg.train_dataloader.dataset.target.indices = 2
    write(tmp_path / 'one')
    in_processes(lambda _: write(tmp_path / 'three'), tmp_path, count=3)
    assert contents(tmp_path / 'three') == contents(tmp_path / 'one')
    assert len(read_labels(tmp_path / 'one')) == 2


# ------------------------------------------------------------------------------------------------- what is wrong


def test_ground_truth_need_not_exist(
    write: Callable, city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(city / 'cityscapes/leftImg8bit', tmp_path / 'data/cityscapes/leftImg8bit')
    monkeypatch.setattr(
        pseudo_labels, 'target_images', lambda cfg, plain=target_images: plain(_moved(cfg, tmp_path / 'data'))
    )
    assert write(tmp_path / 'labels')['count'] == COUNT


def _moved(cfg: Config, root: Path) -> Config:
    cfg.train_dataloader.dataset.target.data_root = str(root)
    return cfg


def test_a_folder_that_cannot_be_written(write: Callable, tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match=r'file/labels/unfinished/job\.json could not be written \(Not a directory\)'):
        write(tmp_path / 'file/labels')


def test_a_full_disk_keeps_what_is_there(write: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain_write, left = Path.write_bytes, [1 + COUNT + 2]

    def write_or_fail(self: Path, data: bytes) -> int:
        left[0] -= 1
        if left[0] < 0:
            plain_write(self, data[:10])
            raise OSError(28, 'No space left on device')
        return plain_write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, 'write_bytes', write_or_fail)
        with pytest.raises(OSError, match=r'\.png could not be written \(No space left on device\)'):
            write(tmp_path / 'labels')
    assert len(read_labels(tmp_path / 'labels')) == 2
    write(tmp_path / 'labels')
    write(tmp_path / 'whole')
    assert contents(tmp_path / 'labels') == contents(tmp_path / 'whole')


def test_labels_of_somebody_else_are_not_overwritten(write: Callable, cfg: Config, tmp_path: Path) -> None:
    file = tmp_path / target_images(cfg).get_data_info(3)['image']
    file.parent.mkdir(parents=True)
    file.write_bytes(b'mine')
    with pytest.raises(ValueError, match='holds labels, but neither finished nor unfinished pseudo-labels'):
        write(tmp_path)
    assert file.read_bytes() == b'mine'


@pytest.mark.parametrize('num_workers', [0, 1])
def test_a_broken_image_is_named(
    num_workers: int, write: Callable, cfg: Config, city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(city / 'cityscapes/leftImg8bit', tmp_path / 'data/cityscapes/leftImg8bit')
    _moved(cfg, tmp_path / 'data')
    broken = tmp_path / 'data/cityscapes/leftImg8bit' / target_images(cfg).get_data_info(5)['image']
    broken.write_bytes(broken.read_bytes()[:50])
    with pytest.raises(ValueError, match=f'{broken}: empty, broken or cut-off image'):
        write(tmp_path / 'labels', num_workers=num_workers)


def test_scores_that_are_no_numbers(write: Callable, checkpoint: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoint)
    state['state_dict']['student.decode_head.convs.0.bias'][3] = float('nan')
    torch.save(state, checkpoint)
    with pytest.raises(ValueError, match=r'\.png: the network gives scores that are not finite'):
        write(tmp_path / 'labels')


def test_foreign_and_incomplete_checkpoints(write: Callable, checkpoint: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoint)['state_dict']
    del state['student.backbone.conv1.weight']
    torch.save({'state_dict': state}, checkpoint)
    with pytest.raises(ValueError, match=r'weights.pth does not fit .*: only one of them has student.backbone'):
        write(tmp_path / 'labels')
    torch.save({'state_dict': {'encoder.weight': torch.zeros(3)}}, checkpoint)
    with pytest.raises(ValueError, match='no weights of a segmentation network found'):
        write(tmp_path / 'others')


def test_classes_that_differ(write: Callable, cfg: Config, tmp_path: Path) -> None:
    cfg.train_dataloader.dataset.target.classes = 16
    with pytest.raises(ValueError, match='the network has 19 classes, the target data set 16'):
        write(tmp_path / 'labels')
    assert not (tmp_path / 'labels').exists()  # nothing in the way of the next try


def test_a_config_without_target(write: Callable, cfg: Config, tmp_path: Path) -> None:
    cfg.train_dataloader.dataset.target = None
    with pytest.raises(ValueError, match=r'minicity\.py: train_dataloader\.dataset has no target to label'):
        write(tmp_path / 'labels')


def test_windows_are_refused(write: Callable, cfg: Config, tmp_path: Path) -> None:
    cfg.model.student.test_cfg = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))
    with pytest.raises(ValueError, match=r"model.student.test_cfg.mode must be 'whole'"):
        write(tmp_path / 'labels')


def test_batch_mode_needs_a_memory_of_batches(write: Callable, cfg: Config, tmp_path: Path) -> None:
    cfg.model.student.backbone.norm_cfg.momentum = None
    with pytest.raises(ValueError, match=r"bn_mode='batch': backbone\.bn1 has momentum=None"):
        write(tmp_path / 'labels', bn_mode='batch')
    with pytest.raises(ValueError, match="bn_mode='eval': choose 'running' or 'batch'"):
        write(tmp_path / 'others', bn_mode='eval')


def test_reading_a_manifest(write: Callable, tmp_path: Path) -> None:
    done = write(tmp_path / 'labels')
    assert manifest.read(tmp_path / 'labels', 'pseudo-labels') == done
    with pytest.raises(ValueError, match='is a manifest of pseudo-labels, not of class-stats'):
        manifest.read(tmp_path / 'labels', 'class-stats')
    (tmp_path / 'labels' / done['files'][2]).unlink()
    with pytest.raises(FileNotFoundError, match=f'{done["files"][2]} of {COUNT} is gone'):
        manifest.read(tmp_path / 'labels', 'pseudo-labels')
    (tmp_path / 'labels/manifest.json').write_text('[1, 2')
    with pytest.raises(ValueError, match=r'manifest\.json is no manifest of an offline step'):
        manifest.read(tmp_path / 'labels', 'pseudo-labels')


# -------------------------------------------------------------------------------------------------- the command


@pytest.mark.slow
def test_a_stage_of_a_recipe(options: dict, tmp_path: Path) -> None:
    """Killed while it writes labels, it goes on; finished, it is not run again."""
    (tmp_path / 'config.py').write_text(f"""
_base_ = '{ROOT}/configs/ehtdi/minicity.py'
recipe = [
    dict(name='source', config='{ROOT}/configs/baselines/minicity_source.py'),
    dict(type='PseudoLabels', name='labels', checkpoint='source.last', selector={LDBE}, bn_mode='batch'),
]
""")
    short = {'train_cfg.max_iters': 1, 'train_cfg.val_interval': 1}
    source = tmp_path / 'whole/run/00_source/iter_1.pth'

    def recipe(run: str, **more: object) -> Recipe:
        given, init = {**options, **short, **more}, {'source': source} if run == 'killed' else {}
        return Recipe.load(tmp_path / 'config.py', tmp_path / run / 'run', options=given, init=init, resume=True)

    def killed() -> None:
        die_at_rename(7, '.png')
        recipe('killed').run()

    recipe('whole').run()
    die(killed)
    assert 0 < len(read_labels(tmp_path / 'killed/run/01_labels')) < COUNT
    assert actions(recipe('killed')) == ['init', 'resume']
    recipe('killed').run()
    assert actions(recipe('whole')) == ['done', 'done']
    assert actions(recipe('whole', **{'labels:selector.prop': 0.2})) == ['done', 'todo']

    whole, again = (tmp_path / run / 'run/01_labels' for run in ('whole', 'killed'))
    for folder in (whole, again):
        assert f'look 2 of 2: {COUNT}/{COUNT}' in (folder / 'offline.log').read_text()
        for own in ('offline.log', 'stamp.json'):  # they tell times
            (folder / own).unlink()
    assert manifest.read(whole, 'pseudo-labels')['selector']['prop'] == 0.1
    assert contents(whole) == contents(again)


def test_the_command(command: Callable, checkpoint: Path, tmp_path: Path) -> None:
    out, stats = tmp_path / 'labels', ('--out', tmp_path / 'stats', '--domain', 'target')
    command(
        'pseudo-labels', checkpoint, '--out', out, '--bn-mode', 'batch', '--selector', 'type=GlobalLocal', 'prop=0.1'
    )
    found = manifest.read(out, 'pseudo-labels')
    assert (found['selector']['prop'], found['bn_mode'], found['count']) == (0.1, 'batch', COUNT)
    command('class-stats', *stats, '--label-dir', out)
    assert manifest.read(tmp_path / 'stats', 'class-stats')['pixels'] == found['pixels']

    cv2.imwrite(str(out / found['files'][0]), np.full((64, 128), 40, np.uint8))
    with pytest.raises(SystemExit, match=f'^error: .*{found["files"][0]}: holds the id 40, which is none of the 19'):
        command('class-stats', *stats, '--label-dir', out)
    with pytest.raises(SystemExit, match=r'^error: selector\.prop=3'):
        command('pseudo-labels', checkpoint, '--out', out, '--selector', 'type=ClassBalanced', 'prop=3')


@pytest.mark.slow
def test_the_command_on_two_processes(
    cfg: Config, checkpoint: Path, city: Path, write: Callable, tmp_path: Path
) -> None:
    cfg.dump(tmp_path / 'config.py')
    command = [
        sys.executable,
        '-m',
        'torch.distributed.run',
        '--standalone',
        '--nproc_per_node=2',
        ROOT / 'tools/offline.py',
    ]
    command += ['pseudo-labels', tmp_path / 'config.py', checkpoint, '--out', tmp_path / 'two', '--launcher', 'pytorch']
    command += ['--selector', 'type=GlobalLocal', 'prop=0.1', '--data-root', city]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    write(tmp_path / 'one')
    assert read_labels(tmp_path / 'two').keys() == read_labels(tmp_path / 'one').keys()
    assert contents(tmp_path / 'two') == contents(tmp_path / 'one')
