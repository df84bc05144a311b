"""Several processes: how they start, how gradients are averaged, what becomes of statistics that differ by rank."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from mmengine.dist import all_reduce, get_world_size, init_dist
from torch import Tensor, nn

LAUNCHERS = ('none', 'pytorch', 'slurm')


class LaunchError(RuntimeError):
    """Processes that cannot meet as asked; the message names the cure."""


def launch(launcher: str) -> None:
    """Join the other processes of this run: NCCL on GPUs, gloo on a CPU.

    Args:
        launcher: ``'none'`` for a single process, ``'pytorch'`` under torchrun, ``'slurm'`` under srun.

    Raises:
        LaunchError: If the launcher's environment is not there.
    """
    if launcher == 'none':
        return
    if launcher == 'pytorch' and 'RANK' not in os.environ:
        raise LaunchError('--launcher pytorch needs torchrun: start this by tools/dist_train.sh or tools/dist_test.sh')
    if launcher == 'slurm' and 'SLURM_PROCID' not in os.environ:
        raise LaunchError('--launcher slurm needs srun: start this by tools/slurm_train.sh or tools/slurm_test.sh')
    if torch.cuda.is_available():
        init_dist(launcher)
    elif launcher == 'pytorch':
        torch.distributed.init_process_group('gloo')  # MMEngine's own way asks for a GPU
    else:
        raise LaunchError('--launcher slurm needs GPUs; on CPUs run torchrun under srun, with --launcher pytorch')


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter], loss: Tensor) -> Tensor:
    """Average the gradients, and the loss, over all processes in one all-reduce; nothing to do in a single process.

    A presence flag per parameter travels along. A gradient that only some processes have counts as zero on the others;
    one that no process has stays ``None``: zeros there would let weight decay move parameters that the step left alone.

    Args:
        parameters: Those of the model; frozen ones are left out.
        loss: The step's total loss, a scalar. Its mean is a number on every process or on none.

    Returns:
        The mean loss.
    """
    if get_world_size() == 1:
        return loss
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    absent = [index for index, parameter in enumerate(parameters) if parameter.grad is None]
    present = loss.new_ones(len(parameters))
    if absent:
        present[absent] = 0
        for index in absent:
            parameters[index].grad = torch.zeros_like(parameters[index])
    flat = torch.cat([*(p.grad.flatten() for p in parameters), present, loss.view(1)])
    all_reduce(flat, op='mean')
    *averaged, present, loss = flat.split([p.numel() for p in parameters] + [len(parameters), 1])
    for parameter, gradient in zip(parameters, averaged, strict=True):
        parameter.grad.copy_(gradient.view_as(parameter))  # in place: it keeps its memory format
    if absent:  # only then is the device waited for
        for index, anywhere in zip(absent, present[absent].tolist(), strict=True):
            if not anywhere:
                parameters[index].grad = None
    return loss[0]


def statistics(model: nn.Module) -> list[Tensor]:
    """The float buffers of a model: batch-norm statistics, which every process estimates on its own samples."""
    return [buffer for buffer in model.buffers() if buffer.is_floating_point()]


def flat_statistics(model: nn.Module) -> Tensor:
    """A copy of all :func:`statistics`, one after the other, (n,)."""
    return torch.cat([buffer.flatten() for buffer in statistics(model)])


def set_statistics(model: nn.Module, flat: Tensor) -> None:
    """Put back what :func:`flat_statistics` gave."""
    buffers = statistics(model)
    for buffer, values in zip(buffers, flat.split([b.numel() for b in buffers]), strict=True):
        buffer.copy_(values.view_as(buffer))


@contextmanager
def averaged_statistics(model: nn.Module) -> Iterator[Tensor | None]:
    """Within, the model carries the mean statistics of all processes; afterwards each has its own again.

    That is what is validated, saved and handed over. Every process has to enter.

    Yields:
        This process's own statistics, flat; None in a single process or without any.
    """
    if get_world_size() == 1 or not statistics(model):
        yield None
        return
    own = flat_statistics(model)
    mean = own.clone()
    all_reduce(mean, op='mean')
    set_statistics(model, mean)
    try:
        yield own
    finally:
        set_statistics(model, own)
