"""The folder of an offline step: whose it is, what is finished, and ``manifest.json``, written last.

.. code:: text

 claim()   nothing but this job lies there, done or begun
 begin()   job.json, in a sub-folder of what an unfinished step keeps
 write()   manifest.json: what was written, from what and with which settings
 finish()  the sub-folder goes
"""

import json
import shutil
from pathlib import Path
from typing import Any

from mmengine import fileio
from mmengine.dist import barrier, is_main_process

from mmuda.engine.stamps import MANIFEST
from mmuda.utils.files import write_whole

UNFINISHED = 'unfinished'
"""Sub-folder of what a step needs until its files are complete."""
_JOB = 'job.json'


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


def claim(out: Path, job: dict[str, Any], kept: str = UNFINISHED) -> bool:
    """Look whether a step's folder is free for a job; when this returns, every process has looked.

    Args:
        out: The folder.
        job: What its files are a function of, ``kind`` and ``files`` among it; equal jobs give equal files.
        kept: Sub-folder of what the step needs again when it goes on.

    Returns:
        Whether there is something to do: not if this job is finished.

    Raises:
        ValueError: The folder holds something else.
    """
    kind, begun = job['kind'], out / kept / _JOB
    finished = (out / MANIFEST).is_file()
    if finished:
        _same(out, job, read(out, kind))
    elif begun.is_file():
        _same(out, job, json.loads(begun.read_text()))
    elif out.is_dir() and any((out / file).is_file() for file in job['files']):
        raise ValueError(f'{out} holds labels, but neither finished nor unfinished {kind}; choose another folder')
    barrier()  # before the first one writes
    return not finished


def begin(out: Path, job: dict[str, Any], kept: str = UNFINISHED) -> None:
    """Say in a claimed folder whose files those are that follow.

    What can be wrong with the job has to be found before: from here on only an equal one may go on in this folder.
    """
    if is_main_process():
        write(out / kept, job, _JOB)
    barrier()  # no file without the job that it belongs to


def finish(out: Path, kind: str, keep: bool = False) -> dict[str, Any]:
    """Remove what only an unfinished step needs, unless it is to be kept, and return the manifest that was written."""
    if is_main_process() and not keep:
        shutil.rmtree(out / UNFINISHED, ignore_errors=True)  # perhaps left by a run that was killed right here
    barrier()
    return read(out, kind)


def _same(out: Path, job: dict, found: dict) -> None:
    differing = [key for key in job if found.get(key) != job[key]]
    if differing:
        raise ValueError(
            f'{out} holds {found.get("kind")} of another {" and ".join(differing)}; delete it or choose another folder'
        )
