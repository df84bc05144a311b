"""The exponential moving average of the student."""

import copy

import torch
from torch import Tensor, nn


class MeanTeacher(nn.Module):
    """An averaged copy of the student that never gets a gradient.

    Parameters follow ``teacher <- (1 - momentum) * teacher + momentum * student`` after every optimiser step. Buffers
    (batch-norm statistics) are copied from the student every ``copy_buffers_every`` steps, or stay the teacher's own:

    * EHTDI copies them once per epoch of 1487 iterations (EHTDI spec 5), so that what it validates carries parameters
      of now and statistics of the last epoch's end.
    * LDBE never does (LDBE spec 4.6): its teacher normalises by the batch and keeps its own statistics.

    The step counter is part of the state dict: a resumed run goes on counting.

    Args:
        student: The network to follow; it is deep-copied.
        momentum: The student's share of each update, in (0, 1].
        warm_up: Whether that share falls to ``momentum`` as 1, 1/2, 1/3, ...: the plain mean of the students so far.
        copy_buffers_every: Steps between two copies of the buffers; None never copies them.
        mode: Of batch norm in the teacher's passes within a training step: ``'eval'`` or ``'train'``.

    Raises:
        ValueError: If ``mode`` is neither.
    """

    def __init__(
        self,
        student: nn.Module,
        momentum: float = 0.001,
        warm_up: bool = False,
        copy_buffers_every: int | None = 1,
        mode: str = 'eval',
    ) -> None:
        super().__init__()
        if mode not in ('eval', 'train'):
            raise ValueError(f"model.teacher.mode={mode!r}: choose 'eval' or 'train'")
        self.momentum = momentum
        self.warm_up = warm_up
        self.copy_buffers_every = copy_buffers_every
        self.mode = mode
        self.model = copy.deepcopy(student).requires_grad_(False)
        self.steps = 0  # a Python number: a buffer on a GPU would have to be read back at every step

    def train(self, mode: bool = True) -> 'MeanTeacher':
        """Follow the method's mode, unless the teacher's own is eval."""
        super().train(mode)
        self.model.train(mode and self.mode == 'train')
        return self

    def get_extra_state(self) -> Tensor:
        """The step counter, as a tensor so that any reader of weights accepts it."""
        return torch.tensor(self.steps)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the step counter."""
        self.steps = int(state)

    @torch.no_grad()
    def copy_from(self, student: nn.Module) -> None:
        """Start again as an exact copy of ``student``."""
        self.model.load_state_dict(student.state_dict())
        self.steps = 0

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """Follow ``student`` by one step."""
        self.steps += 1
        momentum = max(1 / self.steps, self.momentum) if self.warm_up else self.momentum
        torch._foreach_lerp_(list(self.model.parameters()), list(student.parameters()), momentum)
        due = self.copy_buffers_every is not None and self.steps % self.copy_buffers_every == 0
        if due and (buffers := list(self.model.buffers())):
            torch._foreach_copy_(buffers, list(student.buffers()))
