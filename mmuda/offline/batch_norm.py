"""Batch norm with the statistics of the image at hand, and the running statistics that passes over a data set leave.

LDBE makes its pseudo-labels with the network in train mode, one image at a time (LDBE spec T7): every image is
normalised by its own statistics, and each of the reference's two passes moves the running ones. Here the images go
through the network once, in any order and on any process; their statistics are kept and the passes replayed.
"""

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_NEGLIGIBLE = 2.0**-30


class BatchStatistics:
    """Switches a network's batch norm to the statistics of each batch, and reads those.

    Args:
        network: Its batch-norm layers go to train mode; the rest stays as it is. It must not be trained afterwards.

    Attributes:
        horizon: How many images the running statistics remember: the weight of older ones is below 2^-30.

    Raises:
        ValueError: A layer averages over all batches (``momentum=None``) instead of forgetting old ones.
    """

    def __init__(self, network: nn.Module) -> None:
        self.layers = {
            name: layer
            for name, layer in network.named_modules()
            if isinstance(layer, _BatchNorm) and layer.track_running_stats
        }
        momenta = []
        for name, layer in self.layers.items():
            if layer.momentum is None:
                raise ValueError(f"bn_mode='batch': {name} has momentum=None; give it one, or take bn_mode='running'")
            momenta += [layer.momentum] * 2 * layer.num_features
            layer.momentum = 1.0  # so that the running statistics are those of the last batch
            layer.train()
        self.momentum = torch.tensor(momenta, dtype=torch.float64)
        self.horizon = _horizon(min(momenta, default=1.0))
        self.start = self.read()
        self.tracked = [int(layer.num_batches_tracked) for layer in self.layers.values()]

    def read(self) -> Tensor:
        """Mean and variance of all layers for the last batch, in one vector on the layers' device."""
        buffers = [t for layer in self.layers.values() for t in (layer.running_mean, layer.running_var)]
        return torch.cat(buffers) if buffers else torch.zeros(0)

    def replay(self, statistics: Iterable[np.ndarray], images: int, passes: int) -> list[dict[str, Tensor]]:
        """Running statistics as train-mode passes over all images in order would leave them.

        Args:
            statistics: :meth:`read` of the last :attr:`horizon` images, in the data set's order.
            images: Number of images of a pass.
            passes: Number of passes, one after the other.

        Returns:
            After each pass, the buffers of all batch-norm layers by their names in the network.
        """
        running, momentum = self.start.cpu().double(), self.momentum
        vectors = [torch.from_numpy(vector).double() for vector in statistics]
        states = []
        for number in range(1, passes + 1):
            for vector in vectors:
                running = torch.lerp(running, vector, momentum)
            states.append(self._state(running.float(), number * images))
        return states

    def _state(self, vector: Tensor, batches: int) -> dict[str, Tensor]:
        state, parts = {}, iter(vector.split([n for x in self.layers.values() for n in [x.num_features] * 2]))
        for (name, _), before in zip(self.layers.items(), self.tracked, strict=True):
            state[f'{name}.running_mean'], state[f'{name}.running_var'] = next(parts).clone(), next(parts).clone()
            state[f'{name}.num_batches_tracked'] = torch.tensor(before + batches)
        return state


def _horizon(momentum: float) -> int:
    return 1 if momentum == 1 else math.ceil(math.log(_NEGLIGIBLE) / math.log1p(-momentum))
