"""The speed tables: what a row says of its two sides, and every table at tiny sizes."""

import importlib
import re
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from helpers import ROOT

sys.path.insert(0, str(ROOT / 'tools'))

from speed import measure
from speed.measure import Row, alternate, peak_memory, table


def test_a_row_is_the_median_of_the_ratios_of_neighbours() -> None:
    row = Row('x', [10, 20, 30, 40, 1000], [5, 5, 10, 10, 250], at_least=3, note='equal').cells()
    assert row == ['x', '30', '10', '4', '25.0 %', '>= 3', 'void', 'equal']  # 3, 4, 4 and 3, 4, 4 around the median


@pytest.mark.parametrize(
    ('goal', 'verdict'),
    [
        (dict(at_least=2), 'reached'),
        (dict(at_least=2.5), 'missed'),
        (dict(at_most=2), 'reached'),
        (dict(at_most=1.9), 'missed'),
        ({}, ''),
    ],
)
def test_goals(goal: dict, verdict: str) -> None:
    assert Row('x', [2, 4, 6], [1, 2, 3], **goal).cells()[-2] == verdict


@pytest.fixture(autouse=True)
def _short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, 'TURN', 5)


def test_functions_take_turns() -> None:
    calls = []
    times = alternate(lambda: calls.append('a'), lambda: sum(range(10**5)), lambda: calls.append('b'), rounds=3)
    assert [len(taken) for taken in times] == [3, 3, 3]
    assert max(times[0]) < min(times[1])
    runs = ''.join(one for one, before in zip(calls, ['', *calls], strict=False) if one != before)
    assert runs == 'ab' * (1 + 3 * 5)  # to start with, and in three rounds of five turns


def test_peak_memory_is_that_of_the_call() -> None:
    pieces = [torch.ones(2**12) for _ in range(2**13)]
    del pieces[:-1]  # 128 MB that the heap keeps, for the last piece lies above them
    assert 60 <= peak_memory(lambda: torch.ones(2**24)) < 96  # the kernel counts in batches of pages
    with pytest.raises(EOFError):
        peak_memory(lambda: 1 / 0)


def test_a_table_names_both_sides() -> None:
    head, line, row = table('parts', 'plain, ms', 'mmuda, ms', [Row('x', [4], [2])]).splitlines()[2:]
    assert head.split(' | ')[1:3] == ['plain, ms', 'mmuda, ms']
    assert set(line) <= set('| -')
    assert row == '| x | 4 | 2 | 2 | 0.0 % |  |  |  |'


@pytest.mark.parametrize(
    ('module', 'rows'),
    [
        ('step', ['fp32: whole step', '2x3x40x80 forward$', '2x3x32x32 forward and backward of 2 head']),
        ('step daf', [r'1x3x48x80 forward and backward of 2 head', '1x16x32x64 forward and backward of 1 head']),
        (
            'step depth_distribution',
            ['1x3x48x80 forward and backward of 3 head', '1x16x48x80 forward and backward of 1 head'],
        ),
        (
            'parts',
            [
                *(rf'^\| {part}.* equal \|$' for part in ('class mix 2x', 'border', 'two views', 'label ids')),
                r'^\| average of ',
                r'^\| three losses .*, rank 12: ',
                r'^\| class mix of 3x40x40: .* equal \|$',
                r'^\| four losses 2x19x32x64: each by itself',
                r'^\| cross entropy: boolean gather, ignored index 16x48x80 ',
                r'^\| target density, 7 classes 41x81: ',
            ],
        ),
        (
            'offline',
            [
                r'^\| thresholds and selection .* every threshold and every label equal \|$',
                r'^\| the same, histogram only ',
                r'^\| thresholds \|',
                r'^\| selection \|',
                r'^\| thresholds, selection, statistics and PNG .* every label equal',
                r'^\| ranking: .* every label equal \|$',
                r'^\| region filter: .* every label equal \|$',
                r'^\| mixture of 5 .* means differ by ',
            ],
        ),
        (
            'evaluation',
            [
                'labels 64x128: output to counts .* every label and every count equal',
                r'^\| labels 64x128: counts alone \|',
            ],
        ),
    ],
)
def test_tables(module: str, rows: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A fast form that differed from its plain form would be an error."""
    module, _, method = module.partition(' ')
    configs = {'daf': 'daf_ida/synthia2city_16_stage1_daf.py'}
    configs['depth_distribution'] = 'depth_distribution/synthia2city_16_stage1_uda.py'
    config = configs.get(method, 'ehtdi/gta2city_edge.py')
    method = dict(method=method or 'ehtdi_edge', config=config, scale=None)
    options = Namespace(quick=True, rounds=1, work_dir=tmp_path, **method)
    importlib.import_module(f'speed.{module}').run(options)
    (written,) = tmp_path.glob('*.txt')
    assert capsys.readouterr().out.endswith(written.read_text())
    for row in rows:
        assert re.search(row, written.read_text(), re.MULTILINE), row
    assert f'torch {torch.__version__}' in written.read_text()
