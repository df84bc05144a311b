"""Where a data set lies on disk and which of its files a split takes. The one place that searches folders."""

import os
from collections.abc import Iterable
from pathlib import Path

from mmengine import fileio

DEFAULT_ROOT = 'data'
SPLITS = ('train', 'val', 'test')
_CURE = 'Set the folder with the option --data-root, the variable MMUDA_DATA or data_root in the config.'
_SHIPPED = Path(__file__).parent / 'splits'


def join(*parts: str) -> str:
    """Join path parts, leaving out empty ones."""
    first, *rest = (part for part in parts if part)
    return fileio.join_path(first, *rest)


def candidate_roots(data_root: str) -> list[str]:
    """Return the folders that ``data_root`` may mean.

    The default ``data`` gives way to the variable ``MMUDA_DATA`` where that is set, and else means ``data`` or
    ``datasets``; any other value means itself.
    """
    if data_root != DEFAULT_ROOT:
        return [data_root]
    variable = os.environ.get('MMUDA_DATA')
    return [variable] if variable else [DEFAULT_ROOT, 'datasets']


def find_dataset(data_root: str, names: Iterable[str], inner: Iterable[str]) -> tuple[str, str]:
    """Find a data set's folder, which is ``data_root`` itself or lies in it under one of ``names``.

    Args:
        data_root: folder of all data sets, or of this one.
        names: names the data set's folder goes by.
        inner: image folders, relative to the data set's folder, of which one must exist.

    Returns:
        The data set's folder and its image folder.

    Raises:
        FileNotFoundError: none exists; names every folder that was tried.
    """
    homes = [join(root, name) for root in candidate_roots(data_root) for name in (*names, '')]
    return _first_folder([(home, join(home, folder)) for home in homes for folder in inner])


def find_folder(home: str, inner: Iterable[str]) -> str:
    """Return the first folder of ``inner`` that exists in ``home``.

    Raises:
        FileNotFoundError: none exists; names every folder that was tried.
    """
    return _first_folder([(home, join(home, folder)) for folder in inner])[1]


def _first_folder(pairs: list[tuple[str, str]]) -> tuple[str, str]:
    for home, folder in pairs:
        if fileio.isdir(folder):
            return home, folder
    raise FileNotFoundError(f'None of these folders exists: {", ".join(folder for _, folder in pairs)}. {_CURE}')


def find_list(split: str, home: str, list_dir: str, shipped: str | None) -> str | None:
    """Find the file that lists a split's images.

    Args:
        split: ``train``, ``val``, ``test`` or the path of a list file, as it stands, within the data set's folder or
            among the lists this package brings along.
        home: the data set's folder.
        list_dir: name of the reference codes' list folder, looked for in ``home`` and beside it.
        shipped: start of the names of the lists this package brings along, if it does.

    Returns:
        Path of the list, or None where a plain split has none (it then takes every file of its folder).

    Raises:
        FileNotFoundError: ``split`` is a path and no such file exists.
    """
    if split not in SPLITS:
        tried = [split, join(home, split), str(_SHIPPED / split)]
    else:
        beside = os.path.dirname(home.rstrip('/\\'))
        tried = [join(folder, list_dir, f'{split}.txt') for folder in (home, beside or '.')]
        tried += [str(_SHIPPED / f'{shipped}_{split}.txt')] if shipped else []
    found = next((path for path in tried if fileio.isfile(path)), None)
    if found is None and split not in SPLITS:
        raise FileNotFoundError(
            f'split={split!r} is neither one of {", ".join(SPLITS)} nor a list file (tried {", ".join(tried)}).'
        )
    return found


def read_list(path: str) -> list[str]:
    """Return the lines of a list file that are not blank, stripped."""
    return [line.strip() for line in fileio.list_from_file(path) if line.strip()]


def list_files(folder: str, inner: str, suffix: str) -> list[str]:
    """Return the files below ``folder``/``inner`` with a suffix, sorted, as paths relative to ``folder``.

    A folder that does not exist has no files.
    """
    start = join(folder, inner)
    if not fileio.isdir(start):
        return []
    found = fileio.list_dir_or_file(start, list_dir=False, suffix=suffix, recursive=True)
    return sorted(Path(inner, path).as_posix() for path in found)


def require(wanted: list[str], available: Iterable[str], folder: str, source: str) -> None:
    """Check that every wanted file of a folder exists, given the folder's listing.

    Raises:
        FileNotFoundError: names the first missing file and who asks for it.
    """
    present = set(available)
    missing = [path for path in wanted if path not in present]
    if missing:
        more = f' and {len(missing) - 1} more' if len(missing) > 1 else ''
        raise FileNotFoundError(
            f'{join(folder, missing[0])}{more}: missing, but asked for by {source}. Complete the data set, or give '
            'the data set a list of the files you have (split=FILE; an empty list takes every file).'
        )
