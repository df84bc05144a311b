"""The data doctor: nothing to say of a good city, and the right word for each thing that is wrong with a bad one."""

import json
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import ROOT, SMALL_CITY
from mmengine.config import Config
from PIL import Image
from tiny_sets import write_red16

from mmuda.datasets.check import Checked, check, report_text
from mmuda.minicity.labels import TRAIN_ID
from mmuda.offline import class_statistics

SOURCE, TARGET, VAL = 'GTA5', 'cityscapes/leftImg8bit/train', 'cityscapes/leftImg8bit/val'


@pytest.fixture
def copy(city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A city to spoil."""
    for folder in ('GTA5', 'SYNTHIA', 'cityscapes'):
        shutil.copytree(city / folder, tmp_path / folder)
    shutil.copy(city / 'minicity.json', tmp_path)  # or a command would make what is missing
    monkeypatch.setenv('MMUDA_DATA', str(tmp_path))
    return tmp_path


def plain() -> Config:
    """GTA5 to Cityscapes on MiniCity."""
    cfg = Config.fromfile(ROOT / 'configs/ehtdi/minicity.py')
    cfg.minicity.update(SMALL_CITY)
    return cfg


def deep() -> Config:
    """SYNTHIA with depth to Cityscapes, a paper's data config."""
    cfg = Config.fromfile(ROOT / 'configs/_base_/datasets/synthia2city_depth_16.py')
    return Config(dict(cfg, default_scope='mmuda'))


def by_role(cfg: Config) -> dict[str, Checked]:
    found = check([cfg], num_workers=0)
    return {checked.role: checked for checked in found}


def rewrite(folder: Path, change: Callable[[np.ndarray], np.ndarray], pattern: str = '*.png') -> None:
    """Change the pixels, as Pillow reads them, of each picture below a folder."""
    files = sorted(folder.rglob(pattern))
    assert files
    for file in files:
        Image.fromarray(change(np.asarray(Image.open(file)))).save(file)


def test_a_good_city(city: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MMUDA_DATA', str(city))
    found = by_role(plain())
    assert [*found] == ['source', 'target', 'val']  # test is the same as val
    assert not any(checked.errors for checked in found.values())
    source = found['source']
    labels = [np.asarray(Image.open(path)) for path in sorted((city / 'GTA5/labels').iterdir())]
    assert source.sizes == {'128x64': SMALL_CITY['source']}
    assert source.ids == {int(raw): pytest.approx(np.mean(np.equal(labels, raw))) for raw in np.unique(labels)}
    assert source.classes['car'] == pytest.approx(np.mean(np.equal(labels, 26)))
    assert source.expected == source.count == SMALL_CITY['source']
    assert not found['target'].ids  # its labels stay closed
    assert report_text([*found.values()]).endswith(
        f'0 error(s), {sum(len(c.warnings) for c in found.values())} warning(s)'
    )


def test_labels_of_the_target_are_not_opened(copy: Path) -> None:
    shutil.rmtree(copy / 'cityscapes/gtFine/train')
    assert not by_role(plain())['target'].errors


def test_depth_and_published_counts(city: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MMUDA_DATA', str(city))
    found = by_role(deep())
    maps = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., 0] for path in sorted((city / 'SYNTHIA/Depth').iterdir())]
    near = np.concatenate([depth[depth < 65535] for depth in maps])
    wanted = {'nearest': near.min() / 100, 'farthest': near.max() / 100, 'far': np.mean(np.equal(maps, 65535))}
    assert found['source'].depth == pytest.approx(wanted)
    assert found['source'].errors == [
        f'{SMALL_CITY["source"]} images instead of 9400. Complete the data set, or name a list of what you have '
        '(split=FILE).'
    ]
    assert [found[role].expected for role in ('target', 'val')] == [2975, 500]


def grey(root: Path) -> None:
    for file in (root / 'GTA5/labels').iterdir():
        file.write_bytes(cv2.imencode('.png', cv2.imread(str(file), cv2.IMREAD_GRAYSCALE))[1])


def colours(root: Path) -> None:
    for file in (root / 'GTA5/labels').iterdir():
        Image.open(file).convert('RGB').save(file)


def train_ids(root: Path) -> None:
    rewrite(root / 'GTA5/labels', lambda ids: np.take(TRAIN_ID, ids))


def foreign_id(root: Path) -> None:
    rewrite(root / 'GTA5/labels', lambda ids: np.where(ids == 21, 77, ids).astype(np.uint8))


def ignored(root: Path) -> None:
    rewrite(root / 'GTA5/labels', lambda ids: np.where(np.isin(ids, (7, 11, 21)), 0, ids).astype(np.uint8))


def broken_image(root: Path) -> None:
    file = root / 'GTA5/images/00003.png'
    file.write_bytes(file.read_bytes()[:-2000])


def broken_label(root: Path) -> None:
    (root / 'GTA5/labels/00003.png').write_bytes(b'')


def lost_label(root: Path) -> None:
    (root / 'GTA5/labels/00003.png').unlink()


def lost_image(root: Path) -> None:
    (root / 'GTA5/images/00003.png').unlink()


def wrong_size(root: Path) -> None:
    rewrite(root / 'GTA5/labels', lambda ids: np.repeat(np.repeat(ids, 2, 0), 2, 1), '00003.png')


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (grey, 'as grey values of a palette picture read as a photo they have'),
        (colours, 'Pillow mode RGB. Use the id files of the data set, not its colour pictures'),
        (train_ids, 'as train ids they have'),
        (foreign_id, 'this data set has no ids above 34, but the labels hold 77.'),
        (ignored, '% of the pixels are ignored: check what the ids mean'),
        (broken_image, 'GTA5/images/00003.png: empty, broken or cut-off image'),
        (broken_label, 'GTA5/labels/00003.png: empty, broken or cut-off label file (0 bytes)'),
        (lost_label, 'GTA5/labels/00003.png: missing, but asked for by its image'),
        (lost_image, 'GTA5/images/00003.png: missing, but asked for by'),
        (wrong_size, 'GTA5/labels/00003.png: 256x128, but its image is 128x64'),
    ],
)
def test_a_bad_source(copy: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(copy)
    found = by_role(plain())
    assert message in found['source'].errors[0]
    assert not found['val'].errors


def test_raw_ids_taken_for_train_ids(copy: Path) -> None:
    cfg = plain()
    cfg.val_dataloader.dataset.label_kind = 'labelTrainIds'
    rewrite(
        copy / 'cityscapes/gtFine/val',
        lambda ids: np.argmax(ids[..., None] == TRAIN_ID, -1).astype(np.uint8),
        '*TrainIds.png',
    )
    assert 'as ids of Cityscapes and GTA5 they have' in by_role(cfg)['val'].errors[0]


def high_bytes(root: Path) -> None:
    """What Pillow makes of the 16-bit labels."""
    (root / 'SYNTHIA/parsed_LABELS').mkdir()
    for file in (root / 'SYNTHIA/GT/LABELS').iterdir():
        Image.fromarray(np.asarray(Image.open(file))[..., 0]).save(root / 'SYNTHIA/parsed_LABELS' / file.name)
    shutil.rmtree(root / 'SYNTHIA/GT')


def eight_bit(root: Path) -> None:
    rewrite(root / 'SYNTHIA/GT/LABELS', lambda rgb: rgb)


def synthia_train_ids(root: Path) -> None:
    for file in (root / 'SYNTHIA/GT/LABELS').iterdir():
        number = int(file.stem) + 1
        write_red16(file, np.take(TRAIN_ID, np.asarray(Image.open(root / f'GTA5/labels/{number:05d}.png'))))


def metres(root: Path) -> None:
    for file in (root / 'SYNTHIA/Depth').iterdir():
        file.write_bytes(cv2.imencode('.png', cv2.imread(str(file), cv2.IMREAD_UNCHANGED) // 100)[1])


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (high_bytes, 'nearly every pixel has the id 0. 16-bit labels such as those of SYNTHIA become 0'),
        (eight_bit, 'this one has 3 of 8 bits'),
        (synthia_train_ids, 'as train ids they have'),
        (metres, 'no depth between 10 and 655 m: depth files hold centimetres, not metres'),
    ],
)
def test_a_bad_synthia(copy: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(copy)
    count, *errors = by_role(deep())['source'].errors
    assert 'instead of 9400' in count
    assert message in errors[0]


def test_a_validation_image_that_is_trained_on(copy: Path) -> None:
    known, other = sorted((copy / TARGET).rglob('*.png'))[0], sorted((copy / VAL).rglob('*.png'))[1]
    shutil.copy(known, other)  # the same picture under another name
    found = by_role(plain())
    assert (
        found['val']
        .errors[0]
        .startswith(
            f'1 images are trained on, too: {other.relative_to((copy / VAL).parent)} is target '
            f'{known.relative_to((copy / TARGET).parent)}.'
        )
    )
    assert not found['target'].errors


def test_validation_on_what_the_oracle_learns(copy: Path) -> None:
    cfg = Config.fromfile(ROOT / 'configs/baselines/minicity_oracle.py')
    cfg.minicity.update(SMALL_CITY)
    cfg.val_dataloader.dataset = dict(cfg.train_dataloader.dataset.source)  # even its settings are the same
    found = by_role(cfg)
    assert f'{SMALL_CITY["target_train"]} images are trained on, too' in found['val'].errors[0]
    assert not found['test'].errors


def test_the_command(copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """Exit status, JSON, and the same class statistics as those of ``class-stats``."""
    tool = runpy.run_path(str(ROOT / 'tools/check_dataset.py'))
    cfg = plain()
    cfg.pop('recipe')
    cfg.dump(copy / 'config.py')

    def status(*options: object) -> int:
        monkeypatch.setattr(
            sys, 'argv', ['check_dataset.py', str(copy / 'config.py'), '--num-workers', '2', *map(str, options)]
        )
        with pytest.raises(SystemExit) as end:
            tool['main']()
        return int(end.value.code)

    assert status('--json', copy / 'report.json', '--class-stats', copy / 'stats') == 0
    report = json.loads((copy / 'report.json').read_text())
    assert [entry['role'] for entry in report] == ['source', 'target', 'val']
    assert report[0]['count'] == SMALL_CITY['source']
    class_statistics(cfg, copy / 'wanted', num_workers=0)
    assert (copy / 'stats/source/manifest.json').read_bytes() == (copy / 'wanted/manifest.json').read_bytes()
    assert not (copy / 'stats/target').exists()
    for file in (copy / 'GTA5/labels').iterdir():
        file.write_bytes(b'')
    assert status('--json', copy / 'report.json') == 1
    assert len(json.loads((copy / 'report.json').read_text())[0]['errors']) == SMALL_CITY['source']
    text = capsys.readouterr().out
    assert f'error: and {SMALL_CITY["source"] - 3} more; --json lists them' in text
    assert text.splitlines()[-1].startswith(f'{SMALL_CITY["source"]} error(s)')
