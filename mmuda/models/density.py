"""How dense a class is at a place of the image and a depth: Gaussian mixtures over column, row and inverse depth.

The tables are text: ``{"grid": [rows, columns], "mixtures": {class: [[weight, mean, variance], ...]}}``, where mean and
variance (of a diagonal covariance) are of (column, row, inverse depth) on a grid of so many cells. Three published ones
come with this package; :func:`mmuda.offline.fit_density` makes others.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine import fileio
from torch import Tensor, nn

PUBLISHED = ('16', '7', '7_small')
_TABLES = Path(__file__).parent / 'density_tables'

Component = tuple[float, Sequence[float], Sequence[float]]


class Mixtures(NamedTuple):
    """A mixture for each of C classes, float64; a class of fewer components than K has weights of 0.

    Attributes:
        grid: Rows and columns of the cells that means and variances count in.
        weight: (C, K).
        mean: (C, K, 3), column, row and inverse depth.
        var: (C, K, 3), above 0.
    """

    grid: tuple[int, int]
    weight: Tensor
    mean: Tensor
    var: Tensor


def write_mixtures(grid: tuple[int, int], mixtures: Mapping[str, Sequence[Component]]) -> str:
    """The text of a table: a line for each component ``(weight, mean, variance)`` of each class."""
    classes = []
    for name, components in mixtures.items():
        lines = ',\n'.join(f'    {json.dumps(component)}' for component in components)
        classes.append(f'  {json.dumps(name)}: [\n{lines}\n  ]')
    return f'{{\n "grid": {json.dumps(grid)},\n "mixtures": {{\n' + ',\n'.join(classes) + '\n }\n}\n'


def read_mixtures(source: str) -> Mixtures:
    """Read a table: ``'16'``, ``'7'`` or ``'7_small'`` (Depth Distribution spec 6.1), or a file.

    Raises:
        FileNotFoundError: There is neither such a table nor such a file.
        ValueError: The file is no table; names it.
    """
    path = str(_TABLES / f'{source}.json') if source in PUBLISHED else source
    if not fileio.isfile(path):
        raise FileNotFoundError(f'{source} is neither a file nor one of the published mixtures {", ".join(PUBLISHED)}')
    try:
        content = json.loads(fileio.get_text(path))
        (rows, columns), classes = map(int, content['grid']), list(content['mixtures'].values())
        most = max(map(len, classes))
        padded = [[*components, *[(0.0, [0.0] * 3, [1.0] * 3)] * (most - len(components))] for components in classes]
        weight, mean, var = (
            torch.tensor([[component[part] for component in components] for components in padded], dtype=torch.float64)
            for part in range(3)
        )
        sound = mean.shape == var.shape == (*weight.shape, 3) and rows > 0 and columns > 0
        sound = sound and bool((weight >= 0).all() and (var > 0).all() and mean.isfinite().all())
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ValueError(f'{path} holds no mixtures; write them by tools/offline.py fit-density') from error
    if not sound:
        raise ValueError(f'{path}: weights must not be negative, variances be above 0; fit the mixtures again')
    return Mixtures((rows, columns), weight, mean, var)


class ClassDensity(nn.Module):
    """The density of given classes at given depths, on the whole grid at once (Depth Distribution spec 2.5, 4 and 6.1).

    With p the class's mixture at (column, row, inverse depth) it is 255 (1 - exp(-scale p)), 0 to 255. A grid of other
    size than the mixtures' lies over the same image: its cell (u, v) is their column u w / w' and row v h / h'.

    What depends on class and cell alone is computed once per grid; a call looks it up and adds the depth.

    Args:
        mixtures: See :func:`read_mixtures`.
        scale: Turns p, a density per column, row and unit of inverse depth, into an exponent.
    """

    def __init__(self, mixtures: str, scale: float = 1e6) -> None:
        super().__init__()
        self.mixtures, self.scale = read_mixtures(mixtures), scale
        depth = slice(2, 3)
        self.register_buffer('mean', self.mixtures.mean[..., depth].squeeze(-1).float(), persistent=False)  # (C, K)
        sharpness = (0.5 / self.mixtures.var[..., depth]).squeeze(-1).float()
        self.register_buffer('sharpness', sharpness, persistent=False)  # (C, K)
        self.places: tuple[tuple[int, int], Tensor] = ((0, 0), torch.empty(0))  # of the last grid

    @property
    def num_classes(self) -> int:
        """Number of classes C."""
        return len(self.mixtures.weight)

    def probability(self, classes: Tensor, depth: Tensor) -> Tensor:
        """The mixtures p themselves, (N, 1, h, w) float32.

        Args:
            classes: Class of each cell (N, h, w) int64, 0 to C - 1.
            depth: Inverse depth of each cell (N, 1, h, w).
        """
        cells = classes.flatten(1)  # (N, hw)
        cell = torch.arange(cells.shape[1], device=cells.device) * self.num_classes
        log_place = self._at(classes.shape[-2:])[cell + cells]  # (N, hw, K)
        error = depth.float().flatten(1).unsqueeze(-1) - self.mean[cells]
        log_p = log_place.addcmul(error.square(), self.sharpness[cells], value=-1)
        return log_p.exp().sum(-1).view_as(depth)

    def forward(self, classes: Tensor, depth: Tensor) -> Tensor:
        """The density, (N, 1, h, w) in 0 to 255; the arguments are those of :meth:`probability`."""
        return -255 * torch.expm1(-self.scale * self.probability(classes, depth))

    def _at(self, grid: tuple[int, int]) -> Tensor:
        """Logarithm of each component at its mean depth, for each cell and class: (hw * C, K)."""
        grid = tuple(grid)
        if self.places[0] != grid or self.places[1].device != self.mean.device:
            (h, w), (rows, columns) = self.mixtures.grid, grid
            weight, mean, var = self.mixtures[1:]
            column = _log_normal(torch.arange(columns) * (w / columns), mean[..., 0], var[..., 0])  # (C, K, columns)
            row = _log_normal(torch.arange(rows) * (h / rows), mean[..., 1], var[..., 1])  # (C, K, rows)
            peak = weight.log() - 0.5 * (2 * math.pi * var[..., 2]).log()
            log_place = peak[..., None, None] + row[..., None] + column[..., None, :]  # (C, K, rows, columns)
            log_place = log_place.permute(2, 3, 0, 1).reshape(-1, weight.shape[1])
            self.places = grid, log_place.float().to(self.mean.device)
        return self.places[1]


def _log_normal(x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    """Logarithm of normal densities at n points, (C, K, n) of parameters (C, K)."""
    mean, var = mean[..., None], var[..., None]
    return -(x - mean).square() / (2 * var) - 0.5 * (2 * math.pi * var).log()
