"""SGD that applies one gradient several times, as optimizers fed with duplicated parameters do."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.sgd import SGD, sgd

from mmuda.registry import OPTIMIZERS

_SETTINGS = ('weight_decay', 'momentum', 'lr', 'dampening', 'nesterov', 'maximize', 'foreach', 'fused')


@OPTIMIZERS.register_module()
class RepeatedSGD(SGD):
    """SGD with ``repeat`` complete momentum updates per step and parameter group (EHTDI spec 7, trap T4).

    The DeepLab-v2 code bases list most backbone parameters three or four times in their optimizer, and each mention is
    an update with the same gradient::

        repeat times:  buf <- momentum * buf + (grad + weight_decay * p);  p <- p - lr * buf

    In the very first step of a parameter each repeat starts from ``buf = grad + weight_decay * p`` and the last ``buf``
    is kept, unless ``carry_first_step`` is set. Parameters without gradient are left alone.

    Args:
        params: Parameters or groups; a group may carry its own ``repeat``.
        lr: Learning rate.
        repeat: Updates per step, at least 1; 1 is plain SGD.
        carry_first_step: Let the repeats of the very first step share their ``buf``, from 0 on, like all later ones: so
            did torch up to 1.7 (DAF+IDA spec 3.6).
        **kwargs: Of :class:`torch.optim.SGD`. The fused kernels are used unless ``fused`` or ``foreach`` is given.

    Raises:
        ValueError: If a ``repeat`` is not a positive whole number.
    """

    def __init__(self, params: Any, lr: float, repeat: int = 1, carry_first_step: bool = False, **kwargs: Any) -> None:
        if 'fused' not in kwargs and not kwargs.get('foreach'):
            kwargs['fused'] = True
        super().__init__(params, lr=lr, **kwargs)
        # The fused kernel would divide the gradient by the loss scale again in every repeat: let the scaler do it once.
        self._step_supports_amp_scaling = False
        self.defaults['repeat'] = repeat
        self.carry_first_step = carry_first_step
        for group in self.param_groups:
            group.setdefault('repeat', repeat)
            if not isinstance(group['repeat'], int) or group['repeat'] < 1:
                raise ValueError(f'repeat={group["repeat"]!r} must be a whole number of updates per step, at least 1')

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update every parameter that has a gradient; see :class:`torch.optim.SGD`."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            started, fresh = [], []
            for p in group['params']:
                if p.grad is not None:
                    buffer = self.state[p].get('momentum_buffer') if p in self.state else None
                    if buffer is None and self.carry_first_step:
                        buffer = self.state[p]['momentum_buffer'] = torch.zeros_like(p)
                    (fresh if buffer is None else started).append(p)
            self._update(started, [self.state[p]['momentum_buffer'] for p in started], group)
            buffers = self._update(fresh, [None] * len(fresh), group)
            if group['momentum']:
                for p, buffer in zip(fresh, buffers, strict=True):
                    self.state[p]['momentum_buffer'] = buffer
        return loss

    @staticmethod
    def _update(params: list[Tensor], buffers: list[Tensor | None], group: dict) -> list[Tensor | None]:
        settings = {key: group[key] for key in _SETTINGS}
        grads = [p.grad for p in params]
        for _ in range(group['repeat']):
            current = list(buffers)  # ``sgd`` puts a new buffer in place of each None
            sgd(params, grads, current, has_sparse_grad=any(grad.is_sparse for grad in grads), **settings)
        return current
