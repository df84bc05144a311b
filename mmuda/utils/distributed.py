"""Gradients of several processes."""

from collections.abc import Iterable

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import nn


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average the gradients over all processes in one all-reduce; nothing to do in a single process.

    A presence flag per parameter travels along. A gradient that only some processes have counts as zero on the others;
    one that no process has stays ``None``: zeros there would let weight decay move parameters that the step left alone.
    """
    if get_world_size() == 1:
        return
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    present = torch.tensor([parameter.grad is not None for parameter in parameters])
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([gradient.flatten() for gradient in gradients] + [present.to(gradients[0])])
    all_reduce(flat, op='sum')
    *averaged, counts = flat.split([p.numel() for p in parameters] + [len(parameters)])
    for parameter, gradient, count in zip(parameters, averaged, counts.tolist(), strict=True):
        parameter.grad = (gradient / get_world_size()).view_as(parameter) if count else None
