"""Reading checkpoints without running what is inside them (STACK 3.1: a 300-byte file can carry a program)."""

import io
import os
import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine import fileio
from mmengine.dist import barrier, get_local_rank
from mmengine.runner import CheckpointLoader, checkpoint

NUMPY_SCALARS = (
    (np._core.multiarray.scalar, 'numpy._core.multiarray.scalar'),
    (np._core.multiarray.scalar, 'numpy.core.multiarray.scalar'),  # as NumPy 1 wrote it
    np.dtype,
    *{type(np.dtype(code)) for code in '?' + np.typecodes['AllInteger'] + np.typecodes['Float']},
)
"""What a file needs that holds NumPy numbers, for :func:`load_safe`: the scalar, and the types of numbers."""

_LOCAL = ('', r'(\S+\:)?s3://')
_REMOTE = ('http://', 'https://')


def load_safe(
    path: str | Path, map_location: Any = 'cpu', allow: Sequence[Callable | tuple[Callable, str]] = ()
) -> Any:
    """Read a checkpoint that holds tensors and plain Python types.

    Args:
        path: File, by any backend of ``mmengine.fileio``.
        map_location: As in :func:`torch.load`.
        allow: Further types the file may hold; nothing that was allowed elsewhere in the process counts. Never put
            ``getattr`` or anything that calls what it is given here.

    Returns:
        What was saved.

    Raises:
        ValueError: If the file needs anything else, or is no checkpoint; nothing of it has been run.
        FileNotFoundError: If there is no such file.
    """
    path = os.path.expanduser(path)
    buffer = io.BytesIO(fileio.get(path))
    try:
        with _only(allow):
            return torch.load(buffer, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        foreign = re.search(r'GLOBAL (\S+)', str(error))
        if foreign is None:
            raise ValueError(f'{path} is not a readable checkpoint') from error
        cure = (  # numbers are allowed by the converter alone, so there is no further tool to name
            'Ask whoever published it for a file of the state_dict alone'
            if allow
            else 'tools/convert_checkpoint.py brings published checkpoints into that form'
        )
        raise ValueError(
            f'{path} is refused: it needs pickled code ({foreign[1]}), and only tensors and plain Python types are '
            f'read, because anything else could do what it likes. {cure}'
        ) from error
    except (RuntimeError, EOFError) as error:
        raise ValueError(f'{path} is not a readable checkpoint; it may be cut short') from error


def install_safe_loader() -> None:
    """Make MMEngine read checkpoints by :func:`load_safe`, in place of its loader that falls back to running code."""
    CheckpointLoader.register_scheme(prefixes=_LOCAL, loader=load_from_safe, force=True)
    CheckpointLoader.register_scheme(prefixes=_REMOTE, loader=load_from_http, force=True)
    checkpoint.load_from_http = load_from_http  # the zoo aliases (open-mmlab://, torchvision://) call it by this name


def load_from_safe(filename: str, map_location: Any = None) -> Any:
    """:func:`load_safe` as an MMEngine loader (the log names it by what follows ``load_from_``)."""
    return load_safe(filename, map_location)


def load_from_http(filename: str, map_location: Any = None, model_dir: str | None = None, progress: bool = True) -> Any:
    """Download a checkpoint into torch's cache and read it by :func:`load_safe`; one process of a node downloads."""
    folder = Path(model_dir or Path(torch.hub.get_dir(), 'checkpoints'))
    file = folder / Path(urlparse(filename).path).name
    if get_local_rank() == 0 and not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(filename, str(file), progress=progress)
    barrier()
    return load_safe(file, map_location)


@contextmanager
def _only(allow: Sequence[Callable | tuple[Callable, str]]) -> Iterator[None]:
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(list(allow))
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)
