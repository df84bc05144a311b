"""Batch-norm statistics of several processes."""

from typing import Any

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmuda.registry import HOOKS
from mmuda.utils.distributed import averaged_statistics, set_statistics


@HOOKS.register_module()
class RankStatisticsHook(Hook):
    """Validates with the mean of all processes' batch-norm statistics, while each trains on with its own.

    A checkpoint carries the mean where its weights are and every process's own beside them
    (:class:`SafeCheckpointHook` writes both), so that a resumed run is exact.
    """

    def __init__(self) -> None:
        self.own: torch.Tensor | None = None
        self.validation: Any = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take this process's own statistics from a checkpoint that is resumed."""
        by_rank = checkpoint.get('rank_statistics')
        self.own = by_rank[get_rank()] if by_rank is not None and len(by_rank) == get_world_size() else None

    def before_train(self, runner: Runner) -> None:
        """Go on with them; a run that starts has those of its start weights."""
        if self.own is not None and runner.iter > 0:
            set_statistics(runner.model, self.own)

    def before_val_epoch(self, runner: Runner) -> None:
        """Let the model carry the mean."""
        self.validation = averaged_statistics(runner.model)
        self.validation.__enter__()

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Give the model this process's own again."""
        self.validation.__exit__(None, None, None)
