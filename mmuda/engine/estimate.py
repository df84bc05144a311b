"""What a recipe will cost, before it is paid: a few real steps of each stage, timed and multiplied.

.. code:: text

 estimate()   every stage that is to do, in order, in a temporary folder
 _train()     the stage itself: a few iterations, then one validation of a few images
 _offline()   the stage itself on a few images, and on some more: what the further ones took is the cost of an image

The shortened stages hand over what they make as the real ones do, so each finds a checkpoint and labels (those of the
few images) before any exist: of random weights, which changes what is predicted, not how long it takes.
"""

import inspect
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.dist import barrier, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmuda.engine.hooks import SafeCheckpointHook
from mmuda.engine.recipe import Recipe, from_main, prepare_data
from mmuda.engine.stages import OFFLINE, Offline, Stage, Train
from mmuda.offline import manifest
from mmuda.offline.density import source_grid
from mmuda.offline.predictions import images_of, target_images
from mmuda.registry import DATASETS
from mmuda.utils.checkpoint import load_safe
from mmuda.utils.files import write_whole
from mmuda.utils.memory import free_memory, peak_memory, reset_peak_memory

WARM_UP, MEASURED = 3, 5  # times the number of loader workers, which deliver in bursts
FEW, MORE = 4, 16  # images of an offline stage


@dataclass
class Cost:
    """What a stage takes.

    Args:
        seconds: From its start to its end.
        memory: GB, of the device if there is one, else of the process.
        kept: GB on disk that it leaves.
        passing: GB on disk that it needs beside them while it runs.
        how: What was multiplied, for people.
    """

    seconds: float
    memory: float
    kept: float
    passing: float
    how: str


def estimate(recipe: Recipe) -> dict[str, Cost]:
    """Measure the stages of a recipe that are to do; one that would be resumed counts as a whole.

    Nothing is written but to a temporary folder (below ``TMPDIR``), which is gone at the end, and a MiniCity that the
    recipe asks for and that is not there.

    Returns:
        Stage -> its cost.

    Raises:
        OSError: As in training: a file that a stage needs is missing, say.
    """
    costs: dict[str, Cost] = {}
    ends: dict[str, int] = {}  # of the trainings that were shortened: their real last iteration
    lists: dict[str, str] = {}  # of the labels that were shortened: the list of their images
    with tempfile.TemporaryDirectory(prefix='mmuda_estimate_') as own:
        folder = Path(from_main(str, own))
        for stage, decision in recipe.plan():
            if decision.action not in ('todo', 'resume'):
                continue
            if is_main_process():
                print(f'measuring stage {stage.name} ({stage.index + 1} of {len(recipe.stages)})', flush=True)
            init_default_scope(stage.cfg.default_scope)
            stage.cfg.log_level = 'WARNING'
            prepare_data(stage.cfg)
            reset_peak_memory()
            stage.work_dir = folder / stage.work_dir.name
            costs[stage.name] = _train(stage, ends, lists) if isinstance(stage, Train) else _offline(stage, lists)
            stage.output = from_main(stage.artifacts)
            free_memory()
        barrier()  # before the main process's folder goes
    return costs


def cost_table(recipe: Recipe, costs: dict[str, Cost]) -> str:
    """The costs for people, and in total."""
    memory = 'device memory' if torch.cuda.is_available() else 'memory'
    total = Cost(
        seconds=sum(cost.seconds for cost in costs.values()),
        memory=max((cost.memory for cost in costs.values()), default=0.0),
        kept=sum(cost.kept for cost in costs.values()),
        passing=max((cost.passing for cost in costs.values()), default=0.0),
        how=f'{len(costs)} of {len(recipe.stages)} stages; the others are done, given or not asked for',
    )
    return '\n'.join(
        [
            f'An estimate, measured on {_device()}, {get_world_size()} process(es), as busy as it was just now:',
            f'{"stage":<12}{"hours":>9}{f"{memory}, GB":>19}{"disk, GB":>10}{"cache, GB":>11}',
            *(
                f'{name:<12}{cost.seconds / 3600:>9.3f}{cost.memory:>19.2f}{cost.kept:>10.3f}{cost.passing:>11.3f}'
                f'  {cost.how}'
                for name, cost in (costs | {'total': total}).items()
            ),
            'disk: checkpoints, pictures and labels, which stay; cache: what a stage needs beside them while it runs',
        ]
    )


# --------------------------------------------------------------------------------------------------------- training


class _Whole(NamedTuple):
    """A training before it is shortened.

    Attributes:
        begin: Iterations of the stages that it continues.
        end: Its last iteration.
        interval: Iterations between two validations.
        images: How many are validated.
        batches: The same in batches, in each process.
    """

    begin: int
    end: int
    interval: int
    images: int
    batches: int

    @property
    def sheets(self) -> int:
        """How often a validation interval ends, and pictures are drawn."""
        return self.end // self.interval - self.begin // self.interval

    @property
    def dues(self) -> int:
        """How often it validates and writes a checkpoint: also on the last step, which is not drawn."""
        return self.sheets + (self.end % self.interval > 0)


class _Clock(Hook):
    """When the steps and the validated batches of a training ended, and how large its log became.

    Args:
        workers: Of the loader.
    """

    priority = 'LOWEST'

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.steps: list[float] = []
        self.batches: list[float] = []
        self.end = 0.0
        self.history = 0  # bytes
        self.keep = 0  # checkpoints

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """End of a step, and of what falls on it."""
        self.end = _now()
        self.steps.append(self.end)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """End of a validated batch."""
        self.batches.append(_now())

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """End of the validation, and of what follows on it."""
        self.end = _now()

    def after_train(self, runner: Runner) -> None:
        """Look at what the checkpoints hold beside the model, and how many stay."""
        scalars = runner.message_hub.log_scalars
        self.history = sum(16 * len(buffer.data[0]) for key, buffer in scalars.items() if key.startswith('train/'))
        self.keep = next(hook.keep for hook in runner.hooks if isinstance(hook, SafeCheckpointHook))

    @property
    def step(self) -> float:
        """Seconds of a step."""
        bursts = self.steps[WARM_UP * self.workers - 1 : -1 : self.workers]
        return median(after - before for before, after in pairwise(bursts)) / self.workers

    @property
    def due(self) -> float:
        """Seconds of what falls on the last step: one validation of a few images, checkpoint and pictures."""
        return self.end - self.steps[-2] - self.step

    @property
    def batch(self) -> float:
        """Seconds of a validated batch; 0 where nothing is validated."""
        return (self.batches[-1] - self.batches[0]) / max(len(self.batches) - 1, 1) if self.batches else 0.0


def _train(stage: Train, ends: dict[str, int], lists: dict[str, str]) -> Cost:
    """Shorten a training, run it, multiply."""
    clock = _Clock(max(1, stage.cfg.train_dataloader.num_workers))
    whole = _shorten(stage, clock.workers, ends, lists)
    seconds = _timed(stage, hooks=[clock])
    steps, left = whole.end - whole.begin, whole.batches - len(clock.batches)  # of a validation
    seconds += (steps - len(clock.steps)) * clock.step + (whole.dues - 1) * clock.due + whole.dues * left * clock.batch
    how = f'{steps} steps of {clock.step:.3g} s'
    if whole.images:
        one = clock.due + left * clock.batch
        how += f', {whole.dues} validations of {whole.images} images, {one:.3g} s each'
    return Cost(seconds, peak_memory(), _kept(stage, whole, clock) / 1e9, 0.0, how)


def _shorten(stage: Train, workers: int, ends: dict[str, int], lists: dict[str, str]) -> _Whole:
    """Let a training take a few steps and, on the last one, validate a few images; returns what it was."""
    cfg = stage.cfg
    end, interval = cfg.train_cfg.max_iters, cfg.train_cfg.get('val_interval', 1000)  # MMEngine's
    begin = short_begin = 0
    if 'continues' in stage.inputs:
        before = stage.inputs['continues']
        short_begin = load_safe(before.path)['meta']['iter']
        begin = ends.get(before.stage.name, short_begin)
    ends[stage.name] = end
    short_end = short_begin + (WARM_UP + MEASURED) * workers + 1
    cfg.train_cfg.update(max_iters=short_end, val_interval=short_end)
    if 'labels' in stage.inputs and (given := stage.inputs['labels'].stage.name) in lists:
        cfg.train_dataloader.dataset.target.split = lists[given]
    return _Whole(begin, end, interval, *_shorten_validation(cfg))


def _shorten_validation(cfg: Config) -> tuple[int, int]:
    """Validate a few batches; returns how many images and, in each process, batches there are."""
    if not cfg.get('val_dataloader'):
        return 0, 0
    loader = cfg.val_dataloader
    images, at_once = len(DATASETS.build(loader.dataset)), loader.batch_size * get_world_size()
    loader.dataset.indices = (2 * max(1, loader.num_workers) + 1) * at_once
    return images, ceil(images / at_once)


def _kept(stage: Train, whole: _Whole, clock: _Clock) -> float:
    """Bytes that the whole training leaves, by what the short one left: checkpoints and pictures."""
    end = stage.cfg.train_cfg.max_iters
    more_log = clock.history / end * (whole.end - end)  # a checkpoint holds the log of every step
    sizes = {name: os.path.getsize(file) + more_log for name, file in stage.artifacts().items()}
    pictures = _size(stage.work_dir / 'pictures') / 2  # those of the first and the last step
    return sizes.pop('last') * min(clock.keep, whole.dues) + sum(sizes.values()) + pictures * (1 + whole.sheets)


# ---------------------------------------------------------------------------------------------------------- offline


def _offline(stage: Offline, lists: dict[str, str]) -> Cost:
    """Run an offline stage on a few images and on some more, and go on in a straight line."""
    folder, can_be_told = stage.work_dir, inspect.signature(OFFLINE[stage.kind]).parameters
    if 'keep_scores' in can_be_told:
        stage.settings.keep_scores = True  # to see how large they are
    total, take = _cells(stage) if 'images' in can_be_told else _images(stage, lists)
    few, more = max(1, min(FEW, total // 2)), min(MORE, total)
    found = []
    for name, count in (('warm-up', few), ('few', few), ('more', more)):
        take(count)
        stage.work_dir = folder / name
        seconds, passing = _timed(stage), _size(stage.work_dir / manifest.UNFINISHED)
        found.append((seconds, _size(stage.work_dir) - passing, passing))
    _, a, b = found
    rates = [max(0.0, (after - before) / max(1, more - few)) for before, after in zip(a, b, strict=True)]
    seconds, kept, passing = (after + rate * (total - more) for after, rate in zip(b, rates, strict=True))
    return Cost(seconds, peak_memory(), kept / 1e9, passing / 1e9, f'{total} images of {rates[0]:.3g} s')


def _cells(stage: Offline) -> tuple[int, Callable[[int], None]]:
    """The number of images whose cells a fit takes, and what lets it take as many cells as belong to so many images."""
    settings, can_be_told = stage.settings, inspect.signature(OFFLINE[stage.kind]).parameters
    images, pixels = (settings.get(key, can_be_told[key].default) for key in ('images', 'pixels'))
    total = min(images, len(source_grid(stage.cfg)))
    return total, lambda count: settings.update(images=count, pixels=ceil(pixels * count / total))


def _images(stage: Offline, lists: dict[str, str]) -> tuple[int, Callable[[int], None]]:
    """The number of images that a stage labels, and what lets it take so many of them."""
    names, file = images_of(target_images(stage.cfg)), stage.work_dir / 'images.txt'
    stage.settings.pop('easy_list', None)  # it names images that are not taken

    def take(count: int) -> None:
        if is_main_process():
            write_whole(file, '\n'.join(names[:: len(names) // count][:count]))
        stage.cfg.train_dataloader.dataset.target.split = lists[stage.name] = str(file)

    return len(names), take


# ----------------------------------------------------------------------------------------------------------- common


def _now() -> float:
    """Seconds, when the device has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _timed(stage: Stage, **more: Any) -> float:
    """Run a stage in a new folder, with what more its kind takes; returns the seconds."""
    if is_main_process():
        stage.work_dir.mkdir(parents=True)
    barrier()
    began = _now()
    stage.run(False, **more)
    return _now() - began


def _size(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob('*') if file.is_file())


def _device() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f'a CPU ({platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads)'
