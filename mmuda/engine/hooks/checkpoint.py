"""Checkpoints that are safe to read, whole on disk, and placed so that a resume repeats nothing and skips nothing."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from mmuda.registry import HOOKS
from mmuda.utils.distributed import averaged_statistics
from mmuda.utils.files import write_whole


@HOOKS.register_module()
class SafeCheckpointHook(Hook):
    """Writes ``iter_<n>.pth`` every ``interval`` iterations and at the end, and ``best.pth`` when validation improves.

    * A file holds tensors and plain Python types only, so it loads with ``weights_only=True`` and an empty allow-list.
    * A file appears under its name when it is complete; older files go after the newer one is there. A full disk or a
      read-only folder ends the run with the last good checkpoint in place.
    * When a validation falls on the same iteration the checkpoint is written after it. A run that is killed in between
      validates again when it is resumed, so its scores and its best checkpoint are those of an uninterrupted run.
    * With several processes the weights carry the mean of their batch-norm statistics; each one's own are kept beside
      them for a resume.

    Args:
        interval: Iterations between two checkpoints; None takes the validation interval.
        keep: Number of ``iter_<n>.pth`` files to keep.
        save_best: Validation score (larger is better) that decides on ``best.pth``; None keeps no best.
    """

    priority = 'VERY_LOW'

    def __init__(self, interval: int | None = None, keep: int = 2, save_best: str | None = None) -> None:
        self.interval = interval
        self.keep = keep
        self.save_best = save_best
        self.rank_statistics: list[torch.Tensor] = []  # of every process

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save when due, unless a validation of this iteration comes first."""
        step = runner.iter + 1
        if self._is_due(runner, step) and not _validates_at(runner, step):
            self._save_latest(runner, step)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Keep the best, then save what :meth:`after_train_iter` left for now."""
        step = runner.iter
        if step == 0:  # Runner.val() without training
            return
        self._save_if_best(runner, step, metrics or {})
        if self._is_due(runner, step):
            self._save_latest(runner, step)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Turn MMEngine's log history into tensors."""
        hub = checkpoint['message_hub']
        checkpoint['message_hub'] = {
            'log_scalars': {
                key: [torch.from_numpy(np.asarray(data, dtype=np.float64)) for data in buffer.data]
                for key, buffer in hub['log_scalars'].items()
            },
            'runtime_info': {key: _plain(value) for key, value in hub['runtime_info'].items()},
            'resumed_keys': dict(hub['resumed_keys']),
        }
        checkpoint['meta'] = _plain(checkpoint['meta'])
        if self.rank_statistics:
            checkpoint['rank_statistics'] = torch.stack(self.rank_statistics).cpu()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Turn the tensors back into a log history."""
        scalars = checkpoint.get('message_hub', {}).get('log_scalars', {})
        for key, data in scalars.items():
            scalars[key] = HistoryBuffer(*(values.cpu().numpy() for values in data))

    def _is_due(self, runner: Runner, step: int) -> bool:
        return step % (self.interval or runner.val_interval) == 0 or step == runner.max_iters

    def _save_if_best(self, runner: Runner, step: int, metrics: dict) -> None:
        if self.save_best is None:
            return
        if self.save_best not in metrics:
            raise ValueError(
                f'default_hooks.checkpoint.save_best={self.save_best!r} is no score of the validation: choose one of '
                + ', '.join(sorted(metrics, key=lambda name: '.' in name))  # those of single classes last
            )
        hub, score = runner.message_hub, float(metrics[self.save_best])
        if score > hub.runtime_info.get('best_score', -np.inf):
            hub.update_info('best_score', score)
            hub.update_info('best_iter', step)
            self._save(runner, step, 'best.pth', save_optimizer=False, save_param_scheduler=False)
            runner.logger.info(f'best.pth: {self.save_best} {score:.2f} at iteration {step}, chosen with val labels')

    def _save_latest(self, runner: Runner, step: int) -> None:
        path = self._save(runner, step, f'iter_{step}.pth')
        if is_main_process():
            write_whole(path.with_name('last_checkpoint'), str(path))
            files = sorted(path.parent.glob('iter_*.pth'), key=lambda file: int(file.stem[5:]))
            for old in files[: -self.keep]:
                old.unlink()

    def _save(self, runner: Runner, step: int, name: str, **what: bool) -> Path:
        path, part = Path(runner.work_dir, name), Path(runner.work_dir, f'{name}.part')
        try:
            meta = {'epoch': 0, 'iter': step}
            with averaged_statistics(runner.model) as own:
                self.rank_statistics = [] if own is None else all_gather(own)
                runner.save_checkpoint(runner.work_dir, part.name, meta=meta, by_epoch=False, **what)
            if is_main_process():
                os.replace(part, path)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise OSError(
                f'{path} could not be written ({error.strerror}); the checkpoints that are there are complete: '
                'make room or mend the folder, then go on with --resume'
            ) from error
        return path


def _validates_at(runner: Runner, step: int) -> bool:
    loop = runner.train_loop
    return (
        runner.val_loop is not None
        and step >= loop.val_begin
        and (step % loop.val_interval == 0 or step == loop.max_iters)
    )


def _plain(value: Any) -> Any:
    """The value in tensors and plain Python types; an error for anything a safe reader would refuse."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str, torch.Tensor)):
        return value
    raise TypeError(f'a checkpoint may hold tensors and plain types only, not {type(value).__name__}')
