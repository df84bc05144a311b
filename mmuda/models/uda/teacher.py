"""The exponential moving average of the student."""

import copy

import torch
from torch import Tensor, nn


class MeanTeacher(nn.Module):
    """An averaged copy of the student that never gets a gradient.

    Parameters follow ``teacher <- (1 - momentum) * teacher + momentum * student`` after every optimiser step, without
    warm-up or bias correction. Buffers (batch-norm statistics) are copied from the student every ``copy_buffers_every``
    steps: EHTDI copies them once per epoch of 1487 iterations (EHTDI spec 5), so that what it validates carries
    parameters of now and statistics of the last epoch's end.

    The step counter is part of the state dict: a resumed run copies buffers at the same steps as an uninterrupted one.

    Args:
        student: The network to follow; it is deep-copied.
        momentum: The student's share of each update, in (0, 1].
        copy_buffers_every: Steps between two copies of the buffers.
    """

    def __init__(self, student: nn.Module, momentum: float = 0.001, copy_buffers_every: int = 1) -> None:
        super().__init__()
        self.momentum = momentum
        self.copy_buffers_every = copy_buffers_every
        self.model = copy.deepcopy(student).requires_grad_(False)
        self.steps = 0  # a Python number: a buffer on a GPU would have to be read back at every step

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
        torch._foreach_lerp_(list(self.model.parameters()), list(student.parameters()), self.momentum)
        if self.steps % self.copy_buffers_every == 0 and (buffers := list(self.model.buffers())):
            torch._foreach_copy_(buffers, list(student.buffers()))
