"""Selectors beside each other, on MiniCity: the labels are those that are written, the truth is read when asked for."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import SMALL_CITY, in_processes
from mmengine.config import Config
from PIL import Image

from mmuda.datasets.classes import CITYSCAPES_IDS, id_table
from mmuda.engine.hooks import LabelFirewallHook
from mmuda.offline import RULES, SELECTORS, compare_selectors, comparison, predictions, write_pseudo_labels

COUNT = SMALL_CITY['target_train']
FIXED = {'type': 'FixedThreshold', 'threshold': 0.5}
SMALL = {'type': 'InstanceAdaptive'}  # its labels are half as high and wide as the image


@pytest.fixture
def compare(cfg: Config, checkpoint: Path) -> Callable[..., dict]:
    """The step on the small city."""

    def run(out: Path, selectors: list[dict], **settings: object) -> dict:
        return compare_selectors(cfg, checkpoint, out, selectors, **{'num_workers': 0, **settings})

    return run


def title(selector: dict) -> str:
    return ' '.join([selector['type'], *(f'{key}={value}' for key, value in selector.items() if key != 'type')])


def test_the_labels_are_those_that_are_written(
    compare: Callable, cfg: Config, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {rule['type'] for rule in RULES} == set(SELECTORS)
    drawn, plain_sheet = [], comparison.sheet
    monkeypatch.setattr(
        comparison, 'sheet', lambda rows, *args, **kwargs: drawn.extend(rows) or plain_sheet(rows, *args, **kwargs)
    )
    found = compare(tmp_path / 'out', RULES, images=COUNT)
    assert len(drawn) == found['images'] == COUNT
    assert (tmp_path / 'out/comparison.png').is_file()
    assert json.loads((tmp_path / 'out/comparison.json').read_text()) == found
    for number, selector in enumerate(RULES, start=1):
        folder = tmp_path / str(number)
        written = write_pseudo_labels(cfg, checkpoint, folder, selector, num_workers=0)
        rule = found['rules'][title(selector)]
        assert (rule['selector'], rule['pixels']) == (written['selector'], written['pixels'])
        assert rule['coverage'] == pytest.approx(sum(written['coverage'].values()))
        for row, file in zip(drawn, written['files'], strict=True):
            assert np.array_equal(row[f'{number} {title(selector)}'], np.asarray(Image.open(folder / file)))
    everything, balanced = (found['rules'][title(RULES[number])] for number in (0, 2))
    assert everything['coverage'] == 1
    assert set(everything['class_coverage'].values()) <= {1, None}
    assert [share is None for share in everything['class_coverage'].values()] == [
        count == 0 for count in everything['pixels'].values()
    ]
    most = max(everything['pixels'], key=everything['pixels'].get)
    assert balanced['class_coverage'][most] == pytest.approx(0.2, abs=0.05)


def test_what_is_studied(compare: Callable, cfg: Config, checkpoint: Path, city: Path, tmp_path: Path) -> None:
    found = compare(tmp_path / 'out', [FIXED, SMALL], study_labels=True)
    for selector in (FIXED, SMALL):
        folder, rule = tmp_path / selector['type'], found['rules'][title(selector)]
        files = write_pseudo_labels(cfg, checkpoint, folder, selector, num_workers=0)['files']
        pairs = []
        for file in files:
            label = cv2.imread(str(folder / file), cv2.IMREAD_UNCHANGED)
            truth = city / 'cityscapes/gtFine' / file.replace('leftImg8bit', 'gtFine_labelIds')
            truth = id_table(CITYSCAPES_IDS, 19)[cv2.imread(str(truth), cv2.IMREAD_UNCHANGED)]
            stride = len(truth) // len(label)
            pairs.append(np.stack([label, truth[::stride, ::stride]]).reshape(2, -1))
        label, truth = np.concatenate(pairs, 1)
        label, truth = label[(label < 255) & (truth < 255)], truth[(label < 255) & (truth < 255)]
        assert rule['accuracy'] == pytest.approx((label == truth).mean())
        for number, name in enumerate(found['classes']):
            precision = rule['precision'][name]
            assert (precision is None) == (not (label == number).any())
            assert precision is None or precision == pytest.approx((truth[label == number] == number).mean())
        right = [value for value in rule['precision'].values() if value is not None]
        assert rule['mPrecision'] == pytest.approx(np.mean(right))
        union = [((label == c) | (truth == c)).sum() for c in range(19)]
        iou = [((label == c) & (truth == c)).sum() / union[c] for c in range(19) if union[c]]
        assert rule['mIoU'] == pytest.approx(np.mean(iou))


def test_labels_are_read_only_when_asked_for(compare: Callable, city: Path, tmp_path: Path) -> None:
    firewall = LabelFirewallHook({'target_labels': [str(city / 'cityscapes/gtFine/train')]})
    found = compare(tmp_path, [FIXED])
    assert not found['studied']
    assert not found['rules'][title(FIXED)].keys() & {'accuracy', 'precision', 'mIoU'}
    assert firewall.opened[0] == 0
    with pytest.raises(PermissionError, match='belongs to the target labels'):
        compare(tmp_path, [FIXED], study_labels=True)


def test_scores_are_computed_once(compare: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forwards, plain = [], predictions.UDASegmentor._forward
    monkeypatch.setattr(
        predictions.UDASegmentor, '_forward', lambda self, *args: forwards.append(1) or plain(self, *args)
    )
    first = compare(tmp_path, [FIXED, SMALL])
    assert len(forwards) == COUNT
    second = compare(tmp_path, [{'type': 'HalfClassBalanced'}, FIXED])
    assert len(forwards) == COUNT
    assert second['rules'][title(FIXED)] == first['rules'][title(FIXED)]
    with pytest.raises(ValueError, match='holds comparison of another bn_mode; delete it or choose another folder'):
        compare(tmp_path, [FIXED], bn_mode='batch')


def test_processes_make_no_difference(compare: Callable, tmp_path: Path) -> None:
    settings = {'selectors': [SMALL, {'type': 'GlobalLocal', 'prop': 0.1}], 'study_labels': True}
    one = compare(tmp_path / 'one', **settings)
    in_processes(lambda _: compare(tmp_path / 'two', **settings), tmp_path / 'meet')
    assert json.loads((tmp_path / 'two/comparison.json').read_text()) == one
    pictures = [(tmp_path / run / 'comparison.png').read_bytes() for run in ('one', 'two')]
    assert pictures[0] == pictures[1]


def test_mistakes(compare: Callable, cfg: Config, checkpoint: Path, city: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='images=0: give a number above 0'):
        compare(tmp_path, [FIXED], images=0)
    with pytest.raises(ValueError, match=r'the selector FixedThreshold threshold=0\.5 is given twice: leave one out'):
        compare(tmp_path, [FIXED, SMALL, FIXED])
    with pytest.raises(ValueError, match=r"selector\.type='Best': choose one of FixedThreshold, "):
        compare(tmp_path, [{'type': 'Best'}])
    assert not list(tmp_path.glob('*/'))  # nothing was begun
    write_pseudo_labels(cfg, checkpoint, tmp_path / 'labels', FIXED, num_workers=0)
    with pytest.raises(ValueError, match='is a manifest of pseudo-labels, not of comparison'):
        compare(tmp_path / 'labels', [FIXED])
    (tmp_path / 'data/cityscapes').mkdir(parents=True)
    (tmp_path / 'data/cityscapes/leftImg8bit').symlink_to(city / 'cityscapes/leftImg8bit')
    cfg.train_dataloader.dataset.target.data_root = str(tmp_path / 'data')
    compare(tmp_path / 'unlabelled', [FIXED])
    with pytest.raises(FileNotFoundError, match='gtFine'):
        compare(tmp_path / 'unlabelled', [FIXED], study_labels=True)


def test_shares_of_nothing() -> None:
    matrix = torch.zeros(3, 3, dtype=torch.int64)
    matrix[2] = torch.tensor([3, 0, 5])  # no truth; 3 pixels selected as the first class, 5 not
    found = comparison.coverage(matrix, torch.tensor([6, 0]), ['a', 'b'])
    assert found == {
        'pixels': {'a': 3, 'b': 0},
        'coverage': 3 / 8,
        'class_coverage': {'a': 0.5, 'b': None},
    }
    none = comparison.quality(matrix, ['a', 'b'])
    assert none == {'accuracy': None, 'mIoU': None, 'mPrecision': None, 'precision': {'a': None, 'b': None}}
    matrix[0, 0], matrix[1, 0], matrix[1, 2] = 3, 1, 7
    assert comparison.quality(matrix, ['a', 'b'])['precision'] == {'a': 0.75, 'b': None}
    assert comparison.quality(matrix, ['a', 'b'])['accuracy'] == 0.75


def test_the_command(command: Callable, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = ('--out', tmp_path / 'out', '--images', 1)
    command('compare', checkpoint, *out, '--selector', 'type=FixedThreshold', 'threshold=0.5', '--selector',
            'type=ClassBalanced', 'prop=0.1', '--study-labels')  # fmt: skip
    found = json.loads((tmp_path / 'out/comparison.json').read_text())
    assert [rule['selector']['type'] for rule in found['rules'].values()] == ['FixedThreshold', 'ClassBalanced']
    printed = capsys.readouterr().out
    rule = found['rules']['ClassBalanced prop=0.1']
    values = [f'{100 * rule[key]:.1f}' for key in ('coverage', 'accuracy', 'mPrecision', 'mIoU')]
    line = next(line for line in printed.splitlines() if 'ClassBalanced prop=0.1' in line)
    assert line.replace('|', ' ').split() == ['2', 'ClassBalanced', 'prop=0.1', *values]
    assert sum(f'| {name} ' in printed for name in found['classes']) == 19

    command('compare', checkpoint, *out)
    found = json.loads((tmp_path / 'out/comparison.json').read_text())
    assert len(found['rules']) == len(RULES)
    assert 'precision' not in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r'^error: selector\.prop=3'):
        command('compare', checkpoint, *out, '--selector', 'type=ClassBalanced', 'prop=3')
    with pytest.raises(SystemExit, match=r'^error: .* is neither a checkpoint nor a run of '):
        command('compare', tmp_path, *out)
    (tmp_path / 'outputs.json').write_text(json.dumps({'ehtdi': {'last': checkpoint.name}}))
    command('compare', tmp_path, *out)
