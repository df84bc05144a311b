"""Depth in the units of files, networks, scores and pictures."""

import math

from torch import Tensor

FAR = 65535  # centimetres: the largest value of a file of 16 bits, and so also the sky's
FARTHEST = FAR / 100  # metres


def inverse_depth(centimetres: Tensor) -> Tensor:
    """What depth papers regress, D = 65536 / (d + 1), float32, 1 (far) to 65536 (DAF+IDA spec 2.3).

    Args:
        centimetres: d, of any shape, 0 to 65535.
    """
    return 65536 / (centimetres.float() + 1)


def metres(inverse: Tensor) -> Tensor:
    """Metres of an inverse depth D = 65536 / (centimetres + 1); of 1 and less, also below 0, those of the farthest."""
    return (65536 / inverse.clamp(min=1) - 1) / 100


def nearness(depth: Tensor) -> Tensor:
    """Metres of depth for pictures: 1 at one metre and nearer, 0 at the farthest, by the logarithm."""
    return 1 - depth.clamp(1, FARTHEST).log() / math.log(FARTHEST)
