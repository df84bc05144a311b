"""Random numbers as a function of the iteration."""

import random
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmuda.registry import HOOKS


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seeds NumPy and torch from (seed, rank, iteration), Python from (seed, iteration), before every training step.

    So a step draws by :mod:`random` what has to be the same on every process, and by the others what has not.

    What a step draws (dropout, say) then depends on the iteration alone: not on what loaders, validations or an
    interruption drew before. Together with the draw sampler, whose samples are functions of their draw number, this
    makes a resumed run equal to an uninterrupted one without storing any generator's state.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed all generators."""
        own, shared = (
            int(np.random.SeedSequence([runner.seed, rank, runner.iter]).generate_state(1)[0])
            for rank in (get_rank(), 0)
        )
        random.seed(shared)
        np.random.seed(own)
        torch.manual_seed(own)
