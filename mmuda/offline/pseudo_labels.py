"""Pseudo-labels of a target training set, written to disk.

.. code:: text

 write_pseudo_labels():  predictions.stream() -> selector.observe(), once for each look; merge() after each
                         predictions.stream() -> selector.select() -> PNG, in threads
                         manifest.json, last of all

The result does not depend on the number of processes and loader workers, nor on how often the step was interrupted:
scores are kept until the end, labels appear under their names when they are complete. (On a CPU the last bits of
torch's soft-max depend on its number of threads: to compare runs, give each the same ``OMP_NUM_THREADS``.)
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import all_reduce, barrier, is_main_process
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from torch import Tensor

from mmuda.datasets.base import stored_label
from mmuda.datasets.classes import IGNORE
from mmuda.offline import manifest
from mmuda.offline.predictions import Predictions, images_of, made_from, predict, target_images
from mmuda.offline.selectors import Selector, build_selector
from mmuda.utils.files import write_whole
from mmuda.utils.pictures import encode
from mmuda.utils.progress import progress
from mmuda.utils.threads import in_threads

KIND = 'pseudo-labels'
STATISTICS = 'running_statistics.pth'


def write_pseudo_labels(
    cfg: Config,
    checkpoint: str | Path,
    out: str | Path,
    selector: dict,
    *,
    bn_mode: str = 'running',
    num_workers: int = 2,
    keep_scores: bool = False,
) -> dict[str, Any]:
    """Label the images of a config's target training set with a checkpoint's predictions.

    Images go through the config's ``test_pipeline`` and ``model.network``. A label is an 8-bit PNG of train ids (255 =
    not selected) of its image's size, at its image's place below ``out``; ``label_dir=out`` lets a data set read them.
    Run again after an interruption, with the same arguments, it goes on; run again when finished, it does nothing.

    Args:
        cfg: Config of a UDA model and its data.
        checkpoint: Weights.
        out: Folder of the labels; all processes must see it.
        selector: ``{'type': name, setting: value, ...}``, see :mod:`mmuda.offline.selectors`.
        bn_mode: ``'running'``, or ``'batch'`` as LDBE has it (:mod:`mmuda.offline.batch_norm`); then the running
            statistics that the reference's passes would leave are written to ``running_statistics.pth``: a list, for
            each pass the buffers by their names in the network.
        num_workers: Processes that load images, for each process of the step.
        keep_scores: Keep the cache of scores in ``out/unfinished`` (Cityscapes train at 512x1024: 2 GB).

    Returns:
        The manifest: ``kind``, ``files``, ``count``, ``checkpoint`` (hash), ``selector``, ``bn_mode``, ``config`` (hash
        of model and pipeline), ``classes``, ``code`` (hash), ``version``, the selector's report, and for each class the
        selected ``pixels``, their share of all pixels (``coverage``) and their ``confidence``
        (:func:`class_confidence`); ``pixels_by_image`` has each file's selected pixels, class by class.

    Raises:
        ValueError: A setting, checkpoint or image is wrong, or ``out`` holds something else.
        OSError: A file is missing, or ``out`` cannot be written.
    """
    init_default_scope(cfg.default_scope)
    out, chosen, dataset = Path(out), build_selector(selector), target_images(cfg)
    files = [*map(stored_label, images_of(dataset))]
    job = {
        'kind': KIND,
        'files': files,
        'count': len(files),
        **made_from(cfg, checkpoint, dataset, selector=chosen.settings(), bn_mode=bn_mode),
    }
    if manifest.claim(out, job):
        predictions = predict(cfg, checkpoint, dataset, out / manifest.UNFINISHED, bn_mode, num_workers)
        manifest.begin(out, job)
        look(predictions, chosen)
        pixels, sums = _label(predictions, chosen, out, job['files'])
        barrier()
        if is_main_process():
            if bn_mode == 'batch':
                _save(predictions.running_statistics(passes=2 if chosen.looks else 1), out / STATISTICS)
            statistics = _count(pixels, job['classes']) | _by_image(pixels, sums, chosen, job['classes'])
            manifest.write(out, job | chosen.report() | statistics)
    found = manifest.finish(out, KIND, keep=keep_scores)
    print_log(f'pseudo-labels: {found["count"]} in {out}', logger='current')
    return found


def look(predictions: Predictions, selector: Selector) -> None:
    """Let the selector see every image as often as it wants to."""
    selector.start(len(predictions.dataset.metainfo['classes']), predictions.device)
    for number in range(1, selector.looks + 1):
        what = f'pseudo-labels, look {number} of {selector.looks}'
        for scores in progress(predictions.stream(predictions.mine), len(predictions.mine), what):
            if scores.index == 0 and number == 1:
                size = len(predictions.dataset) * scores.logits.nbytes
                print_log(f'scores are kept in {predictions.cache}, {size / 1e9:.2f} GB in all', logger='current')
            selector.observe(scores)
        selector.merge()


def _label(predictions: Predictions, selector: Selector, out: Path, files: list[str]) -> tuple[Tensor, Tensor]:
    """Write this process's labels.

    Returns:
        How often each of all processes' labels holds each id, (count, 256) int64, and the sums of these pixels'
        confidences (count, 256) float64.
    """
    pixels = torch.zeros(len(files), 256, dtype=torch.int64)
    sums = torch.zeros(len(files), 256, dtype=torch.float64)
    mine = predictions.mine
    labels = ((out / files[scores.index], *selector.select(scores), selector) for scores in predictions.stream(mine))
    written = progress(in_threads(write_and_count, labels), len(mine), 'pseudo-labels, writing')
    for index, (counted, summed) in zip(mine, written, strict=True):
        pixels[index], sums[index] = counted, summed
    all_reduce(pixels, op='sum')
    all_reduce(sums, op='sum')
    return pixels, sums


def write_label(path: Path, label: np.ndarray) -> None:
    """Write a label (H, W) uint8 as an 8-bit PNG."""
    write_whole(path, encode(label))


def write_and_count(path: Path, label: Tensor, conf: Tensor, selector: Selector) -> tuple[Tensor, Tensor]:
    """Finish a label and write it unless it is there; count its ids (256,), sum up their confidences (256,) float64."""
    array = selector.finish(label.cpu().numpy())
    if not path.is_file():
        write_label(path, array)
    ids, conf = array.ravel(), conf.cpu().numpy().ravel()
    return torch.from_numpy(np.bincount(ids, minlength=256)), torch.from_numpy(np.bincount(ids, conf, minlength=256))


def class_confidence(pixels: Tensor, sums: Tensor, batches: Sequence[Sequence[int]]) -> Tensor:
    """A running mean of the selected pixels' confidence, by class: what is low is a hard class (HIAST spec 6.1).

    The first batch with pixels of a class gives their mean; each further one counts 0.01.

    Args:
        pixels: Selected pixels of each image and class, (count, C).
        sums: Sums of their confidences, (count, C) float64.
        batches: The images in the order in which they count.

    Returns:
        (C,) float64; 0 for a class that is never selected.
    """
    found = torch.zeros(pixels.shape[1], dtype=torch.float64)
    for batch in batches:
        count = pixels[batch].sum(0)
        new = sums[batch].sum(0) / count
        found = torch.where(count == 0, found, torch.where(found == 0, new, 0.99 * found + 0.01 * new))
    return found


def _by_image(pixels: Tensor, sums: Tensor, selector: Selector, classes: list[str]) -> dict:
    """What copy-paste draws by, for the manifest."""
    pixels, sums = pixels[:, : len(classes)], sums[:, : len(classes)]
    confidences = class_confidence(pixels, sums, selector.batches(len(pixels))).tolist()
    return {'confidence': dict(zip(classes, confidences, strict=True)), 'pixels_by_image': pixels.tolist()}


def _count(pixels: Tensor, classes: list[str]) -> dict:
    """Pixels and share of each class, for the manifest and the log."""
    pixels = pixels.sum(0)
    selected, total = dict(zip(classes, pixels.tolist(), strict=False)), max(int(pixels.sum()), 1)
    coverage = {name: count / total for name, count in selected.items()}
    shares = ', '.join(f'{name} {100 * share:.2f}' for name, share in coverage.items())
    print_log(
        f'pseudo-labels: {100 * sum(coverage.values()):.2f} % of the pixels selected ({shares})', logger='current'
    )
    return {'pixels': selected, 'ignored': int(pixels[IGNORE]), 'coverage': coverage}


def _save(states: list[dict[str, Tensor]], path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(states, buffer)
    write_whole(path, buffer.getvalue())
