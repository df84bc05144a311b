"""What an offline step wrote, from what and with which settings: ``manifest.json``, written last."""

import json
from pathlib import Path
from typing import Any

from mmengine import fileio

from mmuda.engine.stamps import MANIFEST
from mmuda.utils.files import write_whole


def write(folder: Path, content: dict[str, Any], name: str = MANIFEST) -> None:
    """Write a folder's manifest: plain types, ``kind`` and, where the step writes files, ``files`` and ``count``."""
    write_whole(folder / name, json.dumps(content, indent=1, allow_nan=False))


def read(folder: str | Path, kind: str) -> dict[str, Any]:
    """Read a folder's manifest and check that the folder holds what it says.

    Args:
        folder: By any backend of ``mmengine.fileio``.
        kind: What the step wrote, e.g. ``'pseudo-labels'``.

    Raises:
        FileNotFoundError: There is no manifest, so the step has not finished, or a file that it lists is gone.
        ValueError: The manifest cannot be read or is of another kind.
    """
    path = fileio.join_path(str(folder), MANIFEST)
    if not fileio.isfile(path):
        raise FileNotFoundError(f'{folder} has no {MANIFEST}: no finished {kind} lie there; run the step to its end')
    try:
        content = json.loads(fileio.get_text(path))
        found, files, count = content['kind'], content['files'], content['count']
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f'{path} is no manifest of an offline step; delete the folder and run the step again'
        ) from error
    if found != kind:
        raise ValueError(f'{path} is a manifest of {found}, not of {kind}; name the right folder')
    present = set(fileio.list_dir_or_file(str(folder), list_dir=False, recursive=True))
    missing = [file for file in files if file not in present]
    if missing or len(files) != count:
        raise FileNotFoundError(
            f'{folder}: {missing[0] if missing else "a file"} of {count} is gone since the step finished; delete the '
            'folder and run the step again'
        )
    return content


def claim(out: Path, job: dict[str, Any], unfinished: str) -> dict[str, Any] | None:
    """Look whether a step's folder is free for a job.

    Args:
        out: The folder.
        job: What its files are a function of, ``kind`` and ``files`` among it; equal jobs give equal files.
        unfinished: Sub-folder in which the step keeps what it needs until the end, ``job.json`` among it.

    Returns:
        The manifest if this job is finished, None if it is to be done.

    Raises:
        ValueError: The folder holds something else.
    """
    kind = job['kind']
    if (out / MANIFEST).is_file():
        found = read(out, kind)
        _same(out, job, found)
        return found
    begun = out / unfinished / 'job.json'
    if begun.is_file():
        _same(out, job, json.loads(begun.read_text()))
    elif out.is_dir() and any((out / file).is_file() for file in job['files']):
        raise ValueError(f'{out} holds labels, but neither finished nor unfinished {kind}; choose another folder')
    return None


def _same(out: Path, job: dict, found: dict) -> None:
    differing = [key for key in job if found.get(key) != job[key]]
    if differing:
        raise ValueError(
            f'{out} holds {found.get("kind")} of another {" and ".join(differing)}; delete it or choose another folder'
        )
