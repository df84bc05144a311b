"""The log's terms, read from the device when somebody looks at them."""

from typing import Any

import torch
from mmengine.hooks import LoggerHook, RuntimeInfoHook
from mmengine.runner import Runner

from mmuda.registry import HOOKS


@HOOKS.register_module()
class DeferredInfoHook(RuntimeInfoHook):
    """MMEngine's ``RuntimeInfoHook``, but a step's terms stay on the device until the log or a checkpoint wants them.

    MMEngine's reads every term back at every iteration, and the device stands still each time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pending: list[tuple[tuple[str, ...], torch.Tensor]] = []  # names and values, (terms,), of a step

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Keep the step's terms; hand them to the log when it is due."""
        values = torch.stack([value.detach().float() for value in outputs.values()])
        self.pending.append((tuple(outputs), values))
        intervals = {hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)}
        due = any(self.every_n_inner_iters(batch_idx, interval) for interval in intervals)
        if due or self.end_of_epoch(runner.train_dataloader, batch_idx):
            self.flush(runner)

    def after_train(self, runner: Runner) -> None:
        """Hand over the rest."""
        self.flush(runner)
        super().after_train(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """A checkpoint holds the whole history."""
        self.flush(runner)
        checkpoint['message_hub'] = runner.message_hub.state_dict()

    def flush(self, runner: Runner) -> None:
        """Read all that is pending in one go."""
        rows = iter(torch.cat([values for _, values in self.pending]).tolist() if self.pending else [])
        for names, _ in self.pending:
            for name in names:
                runner.message_hub.update_scalar(f'train/{name}', next(rows))
        self.pending.clear()
