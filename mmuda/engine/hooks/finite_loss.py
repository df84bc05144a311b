"""A run whose loss is no longer a number stops, with a word, before it saves anything."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmuda.registry import HOOKS


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Ends training when a loss became NaN or infinite.

    The check runs on the device at every iteration and is read back every ``interval`` iterations and before every
    checkpoint: none is written after such a loss.

    Args:
        interval: Iterations between two read-backs.
    """

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self.finite: torch.Tensor | None = None
        self.outputs: dict[str, torch.Tensor] = {}

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Note whether the loss is finite; read the note now and then."""
        finite = torch.isfinite(outputs['loss'])
        self.finite = finite if self.finite is None else self.finite & finite
        self.outputs = outputs
        if self.every_n_train_iters(runner, self.interval):
            self._check(runner.iter + 1)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse to save weights after a loss that was no number."""
        self._check(checkpoint['meta']['iter'])

    def _check(self, step: int) -> None:
        if self.finite is None or bool(self.finite):
            return
        terms = [name for name, value in self.outputs.items() if not torch.isfinite(value)] or ['an earlier loss']
        raise FloatingPointError(
            f'training stopped at iteration {step}: {", ".join(terms)} became NaN or infinite. The checkpoints in the '
            'work_dir are from before; lower optim_wrapper.optimizer.lr or look at the images and labels of this run.'
        )
