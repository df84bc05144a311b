"""Mixtures of a source set's classes over column, row and inverse depth, and the maps of their density.

The reference publishes three tables and maps made from them, but no way to tables of one's own (Depth Distribution spec
6.1 and 7). Training needs no maps: :class:`mmuda.models.density.ClassDensity` computes what it would read from them.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader, Subset

from mmuda import __version__
from mmuda.datasets.base import DomainDataset
from mmuda.engine.stamps import code_hash, config_hash, file_hash
from mmuda.models.density import PUBLISHED, ClassDensity, Component, write_mixtures
from mmuda.offline import manifest
from mmuda.registry import DATASETS
from mmuda.utils.depth import FAR, inverse_depth
from mmuda.utils.evenly import evenly
from mmuda.utils.files import write_whole
from mmuda.utils.pictures import encode, sheet
from mmuda.utils.progress import progress
from mmuda.utils.threads import in_threads

KIND, MAPS = 'mixtures', 'density-maps'
MIXTURES = 'mixtures.json'
"""The table, in the folder of :func:`fit_density`."""
_CHUNK = 4096  # points: what the processor computes of so many stays in its cache
_FLOOR = 1e-6  # of counts and variances, as the reference has it
_CELLS = (1 / 12, 1 / 12, _FLOOR)  # a cell is one column wide and one row high
_NARROW = 20_000  # points that the start of a fit is found on


# --------------------------------------------------------------------------------------------------------- fitting


def fit_density(
    cfg: Config,
    out: str | Path,
    *,
    components: int = 5,
    images: int = 1000,
    pixels: int = 200_000,
    floor: Sequence[float] = _CELLS,
    num_workers: int = 2,
) -> dict[str, Any]:
    """Fit a mixture to the labelled cells of each class of a config's source training set.

    Labels and depth are read as the config's pipeline loads them and sampled by its :class:`GridSample`. The result is
    the same in every run: nothing is drawn but the start of a fit, from a fixed seed. One process works, the others
    wait.

    Args:
        cfg: Config of the data.
        out: Folder for the result: ``mixtures.json``, see :mod:`mmuda.models.density`, and a picture for each class
            that sets the cells beside the mixture.
        components: Of each mixture; a class of fewer cells has as many, one without any has none and density 0.
        images: Take so many, evenly spread over the data set.
        pixels: Of a class, fit so many cells, evenly spread over them.
        floor: Added to the variances of column, row and inverse depth. The reference's 1e-6 for all three would let a
            component shrink to a single row; where it is 1e-6, the sky is at the depth of the sky alone (trap 6).
        num_workers: Processes that read files.

    Returns:
        The manifest: ``kind``, ``files``, ``count``, ``components``, ``images``, ``pixels``, ``floor``, ``config``
        (hash of data set and pipeline), ``classes``, ``code`` (hash), ``version``, ``mixtures`` (hash), what
        :func:`describe_depth` says, and by class the number of ``cells`` and the ``log_likelihood`` that a fitted one
        has on average.

    Raises:
        ValueError: The config has no source with depth and :class:`GridSample`, a file is broken, depth is the same
            everywhere, or ``out`` holds something else.
        OSError: A file is missing, or ``out`` cannot be written.
    """
    for name, value in (('components', components), ('images', images), ('pixels', pixels)):
        if value < 1:
            raise ValueError(f'{name}={value}: give a number above 0')
    init_default_scope(cfg.default_scope)
    out, dataset = Path(out), source_grid(cfg)
    classes = list(dataset.metainfo['classes'])
    files = [MIXTURES, *(f'{_file_name(name)}.png' for name in classes)]
    job = _job(KIND, cfg, files, classes, components=components, images=images, pixels=pixels, floor=list(floor))
    if manifest.claim(out, job):
        manifest.begin(out, job)
        if is_main_process():
            chosen = evenly(len(dataset), images).tolist()
            label, depth = read_cells(dataset, chosen, num_workers)  # (images, h, w)
            if depth.min() == depth.max():
                raise ValueError(f'every depth of the source is {depth.min()} cm: give the depth maps of these images')
            mixtures, report = {}, {'depth': describe_depth(depth), 'cells': {}, 'log_likelihood': {}}
            for number, name in enumerate(progress(classes, len(classes), 'mixtures, classes')):
                points = points_of(label == number, depth)  # (n, 3)
                few = points[evenly(len(points), pixels)]
                mixtures[name], likelihood = fit_mixture(few, components, floor) if len(few) else ([], None)
                report['cells'][name], report['log_likelihood'][name] = len(points), likelihood
                write_whole(out / files[1 + number], encode(_picture(points, mixtures[name], label.shape[1:])))
            write_whole(out / MIXTURES, write_mixtures(label.shape[1:], mixtures))
            manifest.write(out, job | {'mixtures': file_hash(out / MIXTURES)} | report)
    found = manifest.finish(out, KIND)
    print_log(f'mixtures of {len(classes)} classes: {out / MIXTURES}', logger='current')
    return found


def describe_depth(depth: np.ndarray) -> dict[str, Any]:
    """Share of cells that are ``far``, and the ``metres`` that 5, 50 and 95 % of the others do not exceed; logged, too.

    Whoever reads that streets are 5 cm or 5 km deep knows that the unit is wrong.

    Args:
        depth: Centimetres, uint16 of any shape, 65535 = far.
    """
    near = depth[depth != FAR]
    metres = [float(one) / 100 for one in np.percentile(near, (5, 50, 95))] if near.size else []
    far = 1 - near.size / depth.size
    shown = ', '.join(f'{one:.2f}' for one in metres)
    print_log(f'depth of the source: 5, 50, 95 % within {shown} m; {100 * far:.1f} % far', logger='current')
    return {'metres': metres, 'far': far}


def fit_mixture(points: np.ndarray, components: int, floor: Sequence[float] = _CELLS) -> tuple[list[Component], float]:
    """Fit a mixture of normal distributions with diagonal covariances; the largest component comes first.

    Args:
        points: (n, d), n above 0.
        components: At most so many.
        floor: Added to the variances, (d,).

    Returns:
        ``(weight, mean, variance)`` of each component, and the mean log-likelihood of the points.
    """
    points = points.astype(np.float64)
    weight, mean, var, likelihood = expectation_maximisation(points, start_means(points, components), floor)
    order = np.argsort(-weight, kind='stable')
    return [(float(weight[k]), mean[k].tolist(), var[k].tolist()) for k in order], likelihood


def start_means(points: np.ndarray, components: int) -> np.ndarray:
    """Centres (k, d) of k-means on standardised points (n, d): a far outlier would squeeze the others in one range."""
    few = points[evenly(len(points), _NARROW)]
    middle, spread = few.mean(0), few.std(0)
    spread[spread == 0] = 1
    scaled = ((few - middle) / spread).astype(np.float32)
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-4)
    centres = cv2.kmeans(scaled, min(components, len(few)), None, stop, 3, cv2.KMEANS_PP_CENTERS)[2]
    return centres.astype(np.float64) * spread + middle


def expectation_maximisation(
    points: np.ndarray,
    mean: np.ndarray,
    floor: float | Sequence[float] = _FLOOR,
    var: np.ndarray | float = 1.0,
    steps: int = 101,
    gain: float = 1e-3,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """EM for normal distributions with diagonal covariances, from equal weights (spec 6.1).

    It goes through the points in chunks and adds up moments around the current means: with those around 0 the variance
    of a component far from it would drown in rounding.

    Args:
        points: (n, d) float64.
        mean: (k, d), to start from.
        floor: Added to the variances, one number or (d,).
        var: One number or (k, d), to start from.
        steps: At most so many.
        gain: Stop after the step that raises the mean log-likelihood by less.

    Returns:
        weight (k,), mean and variance (k, d), and the mean log-likelihood (that before the last of all ``steps``).
    """
    count = len(points)
    columns = np.ascontiguousarray(points.T)  # (d, n)
    weight, var, before = np.full(len(mean), 1 / len(mean)), np.broadcast_to(var, mean.shape), -math.inf
    for _ in range(steps):
        zeroth, first, second, likelihood = _moments(columns, weight, mean, var)
        if likelihood - before < gain:
            break
        before = likelihood
        total = (zeroth + _FLOOR)[:, None]  # (k, 1)
        shift = first / total
        var = (second - 2 * shift * first + shift**2 * zeroth[:, None]) / total
        weight, mean, var = total[:, 0] / count, mean + shift, var.clip(0) + np.asarray(floor)
    return weight, mean, var, likelihood


def _moments(
    columns: np.ndarray, weight: np.ndarray, mean: np.ndarray, var: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Each component's share of the points (k,), their first and second moments around its mean (k, d), likelihood."""
    centre, sharpness = mean.T[:, :, None], (0.5 / var).T[:, :, None]  # (d, k, 1)
    peak = (np.log(weight) - 0.5 * np.log(2 * math.pi * var).sum(1))[:, None]  # (k, 1)
    zeroth, first, second, likelihood = np.zeros(len(weight)), np.zeros(mean.T.shape), np.zeros(mean.T.shape), 0.0
    for start in range(0, columns.shape[1], _CHUNK):
        error = columns[:, None, start : start + _CHUNK] - centre  # (d, k, m)
        square = error * error
        joint = peak - (square * sharpness).sum(0)  # (k, m)
        largest = joint.max(0)
        share = np.exp(joint - largest)
        total = share.sum(0)
        share /= total
        likelihood += float((largest + np.log(total)).sum())
        zeroth += share.sum(1)
        first += np.einsum('km,dkm->dk', share, error)
        second += np.einsum('km,dkm->dk', share, square)
    return zeroth, first.T, second.T, likelihood / columns.shape[1]


# ------------------------------------------------------------------------------------------------------------ maps


def write_density_maps(cfg: Config, out: str | Path, mixtures: str, *, num_workers: int = 2) -> dict[str, Any]:
    """Write the maps of a config's source training set that the reference reads in training; ours needs none.

    ``<image>-<class id>.tiff`` holds the mixture p of a class at every cell of the grid, 32-bit float (h, w): at the
    cell's depth where it is of this class, at depth 0 elsewhere (spec 2.5). One process works, the others wait.

    Args:
        cfg: Config of the data.
        out: Folder of the maps.
        mixtures: See :func:`mmuda.models.density.read_mixtures`.
        num_workers: Processes that read files.

    Returns:
        The manifest: ``kind``, ``files``, ``count``, ``mixtures`` (name or hash), ``config`` (hash of data set and
        pipeline), ``classes``, ``code`` (hash), ``version``.

    Raises:
        ValueError: As :func:`fit_density`; or the mixtures are of other classes than the data.
        OSError: A file is missing, or ``out`` cannot be written.
    """
    init_default_scope(cfg.default_scope)
    out, dataset, density = Path(out), source_grid(cfg), ClassDensity(mixtures)
    classes = list(dataset.metainfo['classes'])
    if density.num_classes != len(classes):
        raise ValueError(f'{mixtures} are mixtures of {density.num_classes} classes, the source has {len(classes)}')
    names = [dataset.get_data_info(index)['name'] for index in range(len(dataset))]
    files = [f'{name}-{number}.tiff' for name in names for number in range(len(classes))]
    job = _job(MAPS, cfg, files, classes, mixtures=mixtures if mixtures in PUBLISHED else file_hash(mixtures))
    if manifest.claim(out, job):
        manifest.begin(out, job)
        if is_main_process():
            maps = (
                (out / f'{name}-{number}.tiff', one)
                for name, (label, depth) in zip(names, _cells(dataset, range(len(dataset)), num_workers), strict=True)
                for number, one in enumerate(class_maps(density, label, depth))
            )
            for _ in progress(in_threads(_write_map, maps), len(files), MAPS):
                pass
            manifest.write(out, job)
    return manifest.finish(out, MAPS)


@torch.no_grad()
def class_maps(density: ClassDensity, label: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """The mixture of every class at every cell (C, h, w) float32, of labels (h, w) uint8 and centimetres (h, w)."""
    classes = torch.arange(density.num_classes)[:, None, None].expand(-1, *label.shape)  # (C, h, w)
    own = inverse_depth(torch.from_numpy(depth)) * (torch.from_numpy(label) == classes)
    return density.probability(classes, own.unsqueeze(1)).squeeze(1).numpy()


def _write_map(path: Path, values: np.ndarray) -> None:
    write_whole(path, cv2.imencode('.tiff', values)[1].tobytes())


# ----------------------------------------------------------------------------------------------------------- cells


class _TakeCells(BaseTransform):
    """Turn an item into the label and depth of its cells."""

    def transform(self, results: dict) -> tuple[np.ndarray, np.ndarray]:
        return results['grid_label'], results['grid_depth']


def source_grid(cfg: Config) -> DomainDataset:
    """A config's source training set whose items are label (h, w) uint8 and depth (h, w) uint16 of its cells.

    Raises:
        ValueError: The config has no such source.
    """
    source = cfg.train_dataloader.dataset.get('source')
    steps = [] if source is None else source.pipeline
    kept = [step for step in steps if step['type'].startswith('mmuda.Load') or step['type'] == 'mmuda.GridSample']
    if {'mmuda.LoadLabels', 'mmuda.LoadDepth', 'mmuda.GridSample'} - {step['type'] for step in kept}:
        raise ValueError(
            f'{cfg.filename}: train_dataloader.dataset.source has no mmuda.LoadLabels, mmuda.LoadDepth and '
            'mmuda.GridSample in its pipeline, so there are no cells to fit; take a config of Depth Distribution'
        )
    return DATASETS.build(dict(source) | {'pipeline': [*kept, _TakeCells()], 'test_mode': True})


def _cells(dataset: DomainDataset, indices: Sequence[int], num_workers: int) -> DataLoader:
    return DataLoader(Subset(dataset, indices), batch_size=None, num_workers=num_workers, collate_fn=lambda item: item)


def read_cells(dataset: DomainDataset, indices: Sequence[int], num_workers: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n, h, w) uint8 and depth (n, h, w) uint16 of some images of :func:`source_grid`."""
    items = progress(_cells(dataset, indices, num_workers), len(indices), 'mixtures, reading')
    labels, depths = zip(*items, strict=True)
    return np.stack(labels), np.stack(depths)


def points_of(mask: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Column, row and inverse depth (n, 3) float32 of the cells in a mask (images, h, w), given their centimetres."""
    _, row, column = np.nonzero(mask)
    return np.stack([column, row, inverse_depth(torch.from_numpy(depth[mask])).numpy()], 1).astype(np.float32)


def _job(kind: str, cfg: Config, files: list[str], classes: list[str], **settings: Any) -> dict:
    """What the files are a function of; equal jobs give equal files."""
    return {
        'kind': kind,
        'files': files,
        'count': len(files),
        **settings,
        'config': config_hash(cfg.train_dataloader.dataset.source.to_dict()),
        'classes': classes,
        'code': code_hash(),
        'version': __version__,
    }


def _file_name(name: str) -> str:
    return name.replace(' ', '_')


# --------------------------------------------------------------------------------------------------------- pictures


def _picture(points: np.ndarray, components: Sequence[Component], grid: tuple[int, int]) -> np.ndarray:
    """The cells of a class beside its mixture: over the image, and by row (down) and inverse depth (to the right)."""
    h, w = grid
    octaves = 2.0 ** np.linspace(0, 16, w + 1)  # as wide as the image
    column, row, depth = points.T if len(points) else np.zeros((3, 0))
    counts = [
        np.histogram2d(row, column, bins=(np.arange(h + 1), np.arange(w + 1)))[0],
        np.histogram2d(row, depth, bins=(np.arange(h + 1), octaves))[0],
    ]
    mixtures = [np.zeros(grid), np.zeros(grid)]
    for weight, mean, var in components:
        rows = _share(np.arange(h + 1) - 0.5, mean[1], var[1])
        for place, (edges, part) in enumerate(((np.arange(w + 1) - 0.5, 0), (octaves, 2))):
            mixtures[place] += weight * np.outer(rows, _share(edges, mean[part], var[part]))
    titles = ('cells', 'mixture', 'cells by row, depth', 'mixture by row, depth')
    maps = (counts[0], mixtures[0], counts[1], mixtures[1])
    shown = {title: (one / max(one.max(), 1e-12)).astype(np.float32) for title, one in zip(titles, maps, strict=True)}
    return sheet([shown], {'classes': (), 'palette': ()}, height=192)


def _share(edges: np.ndarray, mean: float, var: float) -> np.ndarray:
    """Share of a normal distribution between neighbouring edges."""
    below = torch.special.ndtr(torch.from_numpy((edges - mean) / math.sqrt(var)))
    return below.diff().numpy()
