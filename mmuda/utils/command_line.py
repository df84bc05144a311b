"""What the commands that run a model have in common."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mmuda.engine.recipe import RecipeError
from mmuda.utils.distributed import LAUNCHERS, LaunchError, launch


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--data-root``, ``--amp`` and ``--launcher``; :func:`running` follows the first and the last."""
    parser.add_argument('--data-root', help='folder that holds the data sets (or set MMUDA_DATA)')
    parser.add_argument(
        '--amp',
        nargs='?',
        const='bf16',
        choices=['bf16', 'fp16'],
        help='compute the networks in this precision; bf16 if none is named',
    )
    parser.add_argument(
        '--launcher', choices=LAUNCHERS, default='none', help='how several processes were started; see dist_*.sh'
    )
    parser.add_argument('--local-rank', '--local_rank', type=int, help=argparse.SUPPRESS)  # older launchers pass it


def choose_data_root(data_root: str | None) -> None:
    """Make configs that are read from now on look for data in this folder; None leaves it to MMUDA_DATA and to them."""
    if data_root:
        os.environ['MMUDA_DATA'] = data_root
    elif not os.environ.get('MMUDA_DATA'):
        os.environ.pop('MMUDA_DATA', None)  # set but empty: a config's default counts


@contextmanager
def running(args: argparse.Namespace) -> Iterator[None]:
    """The environment that the options ask for: the data folder and, with a launcher, the group of processes.

    An error that the user can mend ends the command with its sentence.
    """
    choose_data_root(args.data_root)
    try:
        launch(args.launcher)
        yield
    except (LaunchError, RecipeError, OSError, FloatingPointError) as error:
        sys.exit(f'error: {error}')
    if torch.distributed.is_initialized():  # not after an error: the others would be waited for
        torch.distributed.destroy_process_group()
