"""What the commands have in common: options, how a config is read, how an error ends them."""

import argparse
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger

from mmuda.engine.recipe_file import whole_config
from mmuda.engine.stages import RecipeError
from mmuda.utils.distributed import LAUNCHERS, LaunchError, launch

# ------------------------------------------------------------------------------------------------ options


class KeyValues(DictAction):
    """``K=V ...`` as a dictionary."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Sequence[str], *option: Any
    ) -> None:
        """See argparse."""
        if wrong := [text for text in values if '=' not in text]:
            raise argparse.ArgumentError(self, f'{wrong[0]} is not of the form K=V')
        super().__call__(parser, namespace, values, *option)


def add_cfg_options(parser: argparse.ArgumentParser, what: str = 'change settings of the config') -> None:
    """Add ``--cfg-options``, for :func:`read_config` or a recipe."""
    parser.add_argument('--cfg-options', nargs='+', action=KeyValues, default={}, metavar='K=V', help=what)


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add ``config``, ``checkpoint`` and ``--which``, for ``find_checkpoint``."""
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint, or the folder of a run (its last stage is taken)')
    add_which(parser)


def add_which(parser: argparse.ArgumentParser) -> None:
    """Add ``--which``, for ``find_checkpoint``."""
    parser.add_argument('--which', choices=['last', 'best'], default='last', help='which checkpoint of a run folder')


def add_data_root(parser: argparse.ArgumentParser) -> None:
    """Add ``--data-root``; :func:`running` follows it."""
    parser.add_argument('--data-root', help='folder that holds the data sets (or set MMUDA_DATA)')


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Add ``--launcher``; :func:`running` follows it."""
    parser.add_argument(
        '--launcher', choices=LAUNCHERS, default='none', help='how several processes were started; see dist_*.sh'
    )
    parser.add_argument('--local-rank', '--local_rank', type=int, help=argparse.SUPPRESS)  # older launchers pass it


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--data-root``, ``--launcher`` and ``--amp``."""
    add_data_root(parser)
    add_launcher(parser)
    parser.add_argument(
        '--amp',
        nargs='?',
        const='bf16',
        choices=['bf16', 'fp16'],
        help='compute the networks in this precision; bf16 if none is named',
    )


def named_network(text: str) -> tuple[str, str, str]:
    """Name, config and checkpoint of ``NAME=CONFIG:CHECKPOINT``, as the type of an argument."""
    name, _, run = text.partition('=')
    config, _, checkpoint = run.partition(':')
    if not (name and config and checkpoint):
        raise argparse.ArgumentTypeError(f'{text} is not of the form NAME=CONFIG:CHECKPOINT')
    return name, config, checkpoint


# ------------------------------------------------------------------------------------------------ running


def choose_data_root(data_root: str | None) -> None:
    """Make configs that are read from now on look for data in this folder; None leaves it to MMUDA_DATA and to them."""
    if data_root:
        os.environ['MMUDA_DATA'] = data_root
    elif not os.environ.get('MMUDA_DATA'):
        os.environ.pop('MMUDA_DATA', None)  # set but empty: a config's default counts


def read_config(file: str | Path, options: dict[str, Any] | None = None) -> Config:
    """A config with the options of the command line.

    Raises:
        RecipeError: The file is part of a config only.
        ValueError: An option is for something that it does not have.
    """
    cfg = whole_config(file)
    for key, value in (options or {}).items():
        if ':' in key:
            raise ValueError(
                f'--cfg-options {key}: STAGE: is for tools/train.py; leave it out here, and the whole option if {file} '
                'is not the config of that stage'
            )
        if (top := key.partition('.')[0]) not in cfg:
            raise ValueError(f'--cfg-options {key}: {file} has no {top}; mend the name or leave the option out')
        try:
            cfg.merge_from_dict({key: value})
        except (KeyError, TypeError) as error:  # a list is too short, or a part of the way is a plain value
            raise ValueError(
                f'--cfg-options {key}: {file} has no such place; mend the name or leave the option out'
            ) from error
    return cfg


def quiet() -> None:
    """Silence MMEngine, which tells of every config and checkpoint that it reads."""
    MMLogger.get_current_instance().setLevel('WARNING')


@contextmanager
def plain_errors() -> Iterator[None]:
    """Within, an error that the user can mend ends the command with its sentence."""
    try:
        yield
    except (LaunchError, RecipeError, OSError, ValueError, ImportError, FloatingPointError) as error:
        sys.exit(f'error: {_sentence(error)}')


def _sentence(error: Exception) -> str:
    """What an error says; one of a loader's worker has its whole traceback for a text, which ends with it."""
    text = str(error)
    if re.match(r'Caught \w+ in DataLoader worker', text):
        return text.splitlines()[-1].removeprefix(f'{type(error).__name__}: ')
    return text


@contextmanager
def running(args: argparse.Namespace) -> Iterator[None]:
    """The environment that the options ask for: the data folder and, with a launcher, the group of processes.

    Errors end the command as in :func:`plain_errors`.
    """
    choose_data_root(vars(args).get('data_root'))
    with plain_errors():
        launch(vars(args).get('launcher', 'none'))
        yield
    if torch.distributed.is_initialized():  # not after an error: the others would be waited for
        torch.distributed.destroy_process_group()
