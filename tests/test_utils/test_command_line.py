"""What the commands share: options, configs, and how an error ends them."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import ROOT
from mmengine.config import Config
from torch.utils.data import DataLoader, Dataset

from mmuda.engine.recipe import Recipe, RecipeError
from mmuda.utils.command_line import add_cfg_options, plain_errors, read_config


class Broken(Dataset):
    """Cannot read its only item."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> None:
        raise ValueError('label.png: broken')


@pytest.mark.parametrize('workers', [0, 1])
def test_an_error_of_a_loader_is_its_sentence(workers: int) -> None:
    with pytest.raises(SystemExit, match=r'^error: label\.png: broken$'), plain_errors():
        next(iter(DataLoader(Broken(), num_workers=workers)))


@pytest.mark.parametrize('error', [ImportError('lmdb is missing'), FloatingPointError('loss'), ValueError('one\ntwo')])
def test_other_errors_are_told_whole(error: Exception) -> None:
    with pytest.raises(SystemExit) as end, plain_errors():
        raise error
    assert end.value.code == f'error: {error}'


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(KeyError), plain_errors():
        raise KeyError('x')


def test_an_option_needs_a_value(capsys: pytest.CaptureFixture) -> None:
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    assert parser.parse_args(['--cfg-options', 'a.b=1', 'c=x=y']).cfg_options == {'a.b': 1, 'c': 'x=y'}
    with pytest.raises(SystemExit):
        parser.parse_args(['--cfg-options', 'a=1', 'foo'])
    assert 'error: argument --cfg-options: foo is not of the form K=V' in capsys.readouterr().err


def test_a_config_with_its_options(load: Callable[..., Config], tmp_path: Path) -> None:
    file = tmp_path / 'config.py'
    load('ehtdi/minicity.py').dump(file)
    cfg = read_config(file, {'model.evaluate': 'student', 'test_pipeline.1.scale': (8, 4)})
    assert (cfg.model.evaluate, cfg.test_pipeline[1].scale) == ('student', (8, 4))
    with pytest.raises(ValueError, match=r'--cfg-options ehtdi:model\.evaluate: STAGE: is for tools/train\.py'):
        read_config(file, {'ehtdi:model.evaluate': 'student'})
    with pytest.raises(ValueError, match=r'--cfg-options modle\.evaluate: .*config\.py has no modle'):
        read_config(file, {'modle.evaluate': 'student'})
    for key in ('test_pipeline.9.scale', 'test_pipeline.scale', 'model.evaluate.network'):
        with pytest.raises(ValueError, match=rf'--cfg-options {key}: .*config\.py has no such place'):
            read_config(file, {key: 1})


@pytest.mark.parametrize('part', ['_base_/models/minicity.py', '_base_/default_runtime.py', 'your_data/base.py'])
def test_a_part_is_no_config(part: str) -> None:
    for read in (read_config, lambda file: Recipe.load(file, 'work_dirs')):
        with pytest.raises(RecipeError, match=rf'{part} has no model\.type: name a config of configs/<paper>/, not'):
            read(ROOT / 'configs' / part)
