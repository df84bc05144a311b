"""Write a MiniCity to disk: seeding, workers, and the manifest that says what lies there."""

import hashlib
import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.fileio import get_text

from .domains import SOURCE, target
from .render import View, render
from .scene import draw
from .writers import LAYOUTS, Picture

GENERATOR_VERSION = 2  # goes up whenever any pixel of any scene changes
MANIFEST = 'minicity.json'
UNFINISHED = 'minicity.unfinished.json'
_CHOICE = '--data-root, MMUDA_DATA, or --out of tools/minicity.py'
_STREAMS = {'source': 0, 'train': 1, 'val': 2}
_ALONE = 40  # scenes: up to here starting worker processes takes longer than the work


def make(stream: str, index: int, *, seed: int = 0, shift: str = 'medium', size: Sequence[int] = (128, 256)) -> View:
    """One scene in memory; a pure function of its arguments.

    Args:
        stream: ``source``, or the target's ``train`` or ``val``.
        index: Number of the scene, from 0.
        seed: Which city.
        shift: Level of the target's shift; no effect on the source.
        size: (height, width) in pixels.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, _STREAMS[stream], index]))
    domain = SOURCE if stream == 'source' else target(shift)
    return render(draw(rng, domain), domain, (size[0], size[1]), rng)


def generate(
    root: str | Path,
    *,
    seed: int = 0,
    shift: str = 'medium',
    size: Sequence[int] = (128, 256),
    source: int = 300,
    target_train: int = 300,
    target_val: int = 60,
    layouts: Sequence[str] = ('gta5', 'cityscapes'),
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Write a city in the real data sets' layouts; layouts that are complete already are left alone.

    The bytes depend on the first parameters only, not on the number of workers or on earlier, interrupted runs. Files
    appear under their names only when complete, the manifest when all of them are there.

    Args:
        root: Folder that will hold ``GTA5/``, ``cityscapes/`` ... and ``minicity.json``.
        seed: Which city; its source scenes are the same for every shift.
        shift: ``none``, ``mild``, ``medium`` or ``strong``.
        size: (height, width) in pixels.
        source: Number of source scenes.
        target_train: Number of target scenes to train on.
        target_val: Number of target scenes to validate on.
        layouts: Which of ``LAYOUTS`` to write.
        workers: Processes; by default one per processor.
        progress: Print how far it is and how long it will take.

    Returns:
        The manifest: parameters, generator version, and per layout the number of files and a hash of their contents.

    Raises:
        ValueError: If a parameter is not usable.
        FileExistsError: If the folder holds other data.
    """
    root = Path(root)
    counts = {'source': source, 'train': target_train, 'val': target_val}
    wanted = dict(version=GENERATOR_VERSION, seed=seed, shift=shift, size=list(size), scenes=counts)
    _check(wanted, layouts)
    done = _recorded(root / MANIFEST, wanted).get('layouts', {})
    missing = [name for name in layouts if name not in done]
    if missing:
        _claim(root, wanted, missing, done)
        started = time.time()
        done = done | _write_layouts(root, wanted, missing, workers, progress)
        _sweep(root, missing, started)
    manifest = wanted | {'layouts': done}
    if missing:
        _write(root / MANIFEST, json.dumps(manifest, indent=2).encode())
        (root / UNFINISHED).unlink(missing_ok=True)
    return manifest


def ensure(cfg: dict[str, Any]) -> None:
    """Make the city that a config asks for unless it is there.

    Args:
        cfg: Keyword arguments of :func:`generate`, ``root`` among them.

    Raises:
        FileExistsError: If the folder holds a city with other parameters, or other data.
    """
    generate(**cfg)


def _check(wanted: dict[str, Any], layouts: Sequence[str]) -> None:
    target(wanted['shift'])
    if wanted['seed'] < 0:
        raise ValueError(f'MiniCity needs a seed of 0 or more, not {wanted["seed"]}.')
    unknown = set(layouts) - set(LAYOUTS)
    if unknown:
        raise ValueError(f'MiniCity cannot write {", ".join(sorted(unknown))}; choose from {", ".join(LAYOUTS)}.')
    if len(wanted['size']) != 2 or min(wanted['size']) < 16:
        raise ValueError(f'MiniCity needs a size (height, width) of at least 16 pixels each, not {wanted["size"]}.')
    if min(wanted['scenes'].values()) < 1:
        raise ValueError(f'MiniCity needs at least one scene of each kind, not {wanted["scenes"]}.')


def _recorded(path: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """What a manifest says, empty without one; an error when it tells of another city."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(get_text(str(path)))
    except ValueError as error:
        raise ValueError(f'{path} is damaged: delete its folder to have the city made anew.') from error
    other = [f'{key} {found.get(key)} (asked for: {value})' for key, value in wanted.items() if found.get(key) != value]
    if other:
        raise FileExistsError(
            f'{path.parent} holds another MiniCity: {"; ".join(other)}. '
            f'Delete that folder or choose another one ({_CHOICE}).'
        )
    return found


def _claim(root: Path, wanted: dict[str, Any], missing: list[str], done: dict[str, Any]) -> None:
    """Mark the layouts as being written by us, unless their folders hold something else, such as the real data."""
    _recorded(root / UNFINISHED, wanted)  # an error if another city was being written
    ours = done or (root / UNFINISHED).is_file()
    if not ours and root.is_dir() and any(root.iterdir()):
        raise FileExistsError(f'{root} holds other data and is left alone; choose an empty folder ({_CHOICE}).')
    _write(root / UNFINISHED, json.dumps(wanted | {'layouts': missing}, indent=2).encode())


def _write_layouts(
    root: Path, wanted: dict[str, Any], names: list[str], workers: int | None, progress: bool
) -> dict[str, dict[str, Any]]:
    """Write every scene of these layouts; returns the number of files and the content hash per layout."""
    streams = {stream for name in names for stream in LAYOUTS[name].streams}
    jobs = [(stream, i) for stream, count in wanted['scenes'].items() if stream in streams for i in range(count)]
    digests: dict[str, dict[str, str]] = {name: _write_lists(root, name, wanted['scenes']) for name in names}
    for written in _progress(_run(partial(_write_scene, root, wanted, names), jobs, workers), len(jobs), progress):
        for name, files in written.items():
            digests[name] |= files
    return {name: {'files': len(files), 'sha256': _digest(sorted(files.items()))} for name, files in digests.items()}


def _run(task: partial, jobs: list[tuple[str, int]], workers: int | None) -> Iterator[dict[str, dict[str, str]]]:
    workers = workers or (min(len(os.sched_getaffinity(0)), len(jobs) // _ALONE) if len(jobs) > _ALONE else 1)
    if workers == 1:
        yield from map(task, jobs)
        return
    # spawned, not forked: the caller may hold threads and an accelerator
    with ProcessPoolExecutor(workers, multiprocessing.get_context('spawn'), _end_with_parent) as pool:
        yield from pool.map(task, jobs, chunksize=4)


def _end_with_parent() -> None:
    """A killed parent does not tell its workers; without this they would wait for work for ever."""

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _write_scene(
    root: Path, wanted: dict[str, Any], names: list[str], job: tuple[str, int]
) -> dict[str, dict[str, str]]:
    """Render one scene and write it in each layout that holds its stream; returns hashes of the contents by path."""
    stream, index = job
    view = make(stream, index, seed=wanted['seed'], shift=wanted['shift'], size=wanted['size'])
    written = {}
    for name in names:
        if stream in LAYOUTS[name].streams:
            images = LAYOUTS[name].files(view, stream, index)
            written[name] = {path: _write_image(root / path, image) for path, image in images.items()}
    return written


def _write_image(path: Path, image: Picture) -> str:
    if isinstance(image, np.ndarray):
        bgr = np.ascontiguousarray(image[..., ::-1])
        _write(path, cv2.imencode('.png', bgr, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes())
        return _digest([image.dtype.str, image.shape, image.tobytes()])
    buffer = BytesIO()
    if path.suffix == '.jpg':
        image.save(buffer, 'jpeg', quality=100, subsampling=0)  # lossy all the same
    else:
        image.save(buffer, 'png', compress_level=3)
    _write(path, buffer.getvalue())
    return _digest([image.mode, image.size, image.tobytes()])  # of the pixels: the encoder's version does not matter


def _write_lists(root: Path, name: str, counts: dict[str, int]) -> dict[str, str]:
    texts = LAYOUTS[name].lists(counts)
    for path, text in texts.items():
        _write(root / path, text.encode())
    return {path: _digest([text]) for path, text in texts.items()}


def _digest(items: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for item in items:
        digest.update(item if isinstance(item, bytes) else repr(item).encode())
    return digest.hexdigest()


def _write(path: Path, content: bytes) -> None:
    """Write under another name and rename: a file that exists is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'{path.name}.tmp{os.getpid()}')
    temporary.write_bytes(content)
    temporary.replace(path)


def _sweep(root: Path, names: list[str], started: float) -> None:
    """Remove what an interrupted run left behind under a temporary name."""
    for name in names:
        for path in (root / LAYOUTS[name].folder).rglob('*.tmp*'):
            if path.stat().st_mtime < started:
                path.unlink(missing_ok=True)


def _progress(results: Iterable[Any], total: int, show: bool) -> Iterator[Any]:
    """Pass results on and say on stderr how many came and how long the rest will take."""
    live, start, shown = sys.stderr.isatty(), time.time(), 0
    for count, result in enumerate(results, 1):
        yield result
        percent = 100 * count // total
        if show and (percent != shown if live else percent // 25 != shown // 25):
            shown, left = percent, (time.time() - start) / count * (total - count)
            begin, end = ('\r', '\n' if count == total else '') if live else ('', '\n')
            print(f'{begin}MiniCity: {count}/{total} scenes, {left:.0f} s left ', end=end, file=sys.stderr, flush=True)
