"""Selectors beside each other: what each makes of one checkpoint's scores of a target training set.

.. code:: text

 compare_selectors():  look()  for each rule, as for the labels that it writes
                       predictions.stream() -> every rule's label -> counts: truth x label, and what is predicted
                       comparison.json, comparison.png

The scores stay in the folder, so that further rules cost no forward pass. Labels of the target's images are read only
where they are to be studied: the training may not know them (:class:`LabelFirewallHook`).
"""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import all_reduce, barrier, is_main_process
from mmengine.registry import init_default_scope
from prettytable import PrettyTable
from torch import Tensor

from mmuda.datasets.base import DomainDataset
from mmuda.datasets.classes import IGNORE
from mmuda.datasets.transforms.loading import LoadLabels
from mmuda.evaluation import iou
from mmuda.offline import manifest
from mmuda.offline.predictions import Predictions, Scores, Size, images_of, made_from, predict, target_images
from mmuda.offline.pseudo_labels import look
from mmuda.offline.selectors import Selector, build_selector, confidence
from mmuda.utils.evenly import evenly
from mmuda.utils.files import write_whole
from mmuda.utils.inference import load_image
from mmuda.utils.pictures import encode, sheet
from mmuda.utils.progress import progress

RULES = (
    {'type': 'FixedThreshold', 'threshold': 0},
    {'type': 'FixedThreshold', 'threshold': 0.9},
    {'type': 'ClassBalanced', 'prop': 0.2},
    {'type': 'GlobalLocal', 'prop': 0.2},
    {'type': 'InstanceAdaptive', 'alpha': 0.5},
    {'type': 'HalfClassBalanced', 'prop': 0.2},
)
"""All of :data:`SELECTORS`, those of a share at the same one, and every pixel to compare with."""

_SCORES = 'scores'


def compare_selectors(
    cfg: Config,
    checkpoint: str | Path,
    out: str | Path,
    selectors: Sequence[Mapping[str, Any]] = RULES,
    *,
    study_labels: bool = False,
    bn_mode: str = 'running',
    images: int = 4,
    num_workers: int = 2,
) -> dict[str, Any]:
    """Compare the labels that selectors would make of a checkpoint's predictions, pixel by pixel those of
    :func:`write_pseudo_labels`.

    Writes ``comparison.json`` (what is returned) and ``comparison.png`` (some images, and each rule's label map of
    them), and keeps the scores in ``out/scores``: called again with other selectors it computes none.

    Args:
        cfg: Config of a UDA model and its data.
        checkpoint: Weights.
        out: Folder of the result and the scores; all processes must see it.
        selectors: Each as for :func:`write_pseudo_labels`.
        study_labels: Read the labels of the target's training images, which no training knows, and say how good the
            selected pixels are. Pixels without a true class do not count then. A label map of another size than the
            rule's is brought to it by OpenCV's nearest.
        bn_mode: As for :func:`write_pseudo_labels`.
        images: Rows of the picture, evenly spread.
        num_workers: Processes that load images, for each process of the step.

    Returns:
        What the scores are a function of, ``images`` (their number), ``studied``, and ``rules``: title -> ``selector``
        (settings), the values of :func:`coverage` and, with ``study_labels``, of :func:`quality`.

    Raises:
        ValueError: A setting, checkpoint or image is wrong, or ``out`` holds something else.
        OSError: A file is missing, or ``out`` cannot be written.
    """
    if images < 1:
        raise ValueError(f'images={images}: give a number above 0')
    init_default_scope(cfg.default_scope)
    out, rules, dataset = Path(out), _titled(selectors), target_images(cfg)
    truth = target_images(cfg, with_labels=True) if study_labels else None
    origin = made_from(cfg, checkpoint, dataset, bn_mode=bn_mode)
    job = {'kind': 'comparison', 'files': images_of(dataset), **origin}
    manifest.claim(out, job, _SCORES)
    predictions = predict(cfg, checkpoint, dataset, out / _SCORES, bn_mode, num_workers)
    manifest.begin(out, job, _SCORES)
    for rule in rules.values():
        look(predictions, rule)
    counted = _count(predictions, rules.values(), truth)
    found = {}
    for (title, rule), matrix, predicted in zip(rules.items(), *counted, strict=True):
        found[title] = {'selector': rule.settings()} | coverage(matrix, predicted, origin['classes'])
        if study_labels:
            found[title] |= quality(matrix, origin['classes'])
    result = {**origin, 'images': len(dataset), 'studied': study_labels, 'rules': found}
    if is_main_process():
        chosen = evenly(len(dataset), images).tolist()
        rows = [_row(scores, rules, dataset, truth) for scores in predictions.stream(chosen)]
        write_whole(out / 'comparison.png', encode(sheet(rows, dataset.metainfo, height=128)))
        write_whole(out / 'comparison.json', json.dumps(result, indent=1, allow_nan=False))
    barrier()
    return result


def coverage(matrix: Tensor, predicted: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """How much a rule selects.

    Args:
        matrix: (C + 1, C + 1) pixels; rows are the truth, the last one unknown; columns the label, the last one not
            selected.
        predicted: Pixels predicted as each class, selected or not, (C,).
        classes: Names.

    Returns:
        ``pixels``: selected, by class; ``coverage``: their share of all pixels; ``class_coverage``: by class the share
        of the pixels predicted as it that is selected, None for a class that is never predicted.
    """
    pixels = matrix.sum(0)[:-1]
    return {
        'pixels': dict(zip(classes, pixels.tolist(), strict=True)),
        'coverage': float(pixels.sum() / matrix.sum()),
        'class_coverage': _by_class(classes, (pixels / predicted).tolist()),
    }


def quality(matrix: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """How good the selected pixels are whose true class is known; the arguments are those of :func:`coverage`.

    Returns:
        ``accuracy``: share of right pixels; ``mIoU`` and ``mPrecision``, over the classes that have one; ``precision``:
        by class the share of its pixels that are right. What divides by nothing is None.
    """
    values = iou.scores(matrix[:-1, :-1])
    return {
        'accuracy': _number(values['aAcc']),
        'mIoU': _number(values['mIoU']),
        'mPrecision': _number(values['mPrecision']),
        'precision': _by_class(classes, values['Precision'].tolist()),
    }


def comparison_table(result: Mapping[str, Any]) -> str:
    """What :func:`compare_selectors` found, for people: a line for each rule, then one for each class; in percent."""
    rules = result['rules']
    means = ('coverage', *(('accuracy', 'mPrecision', 'mIoU') if result['studied'] else ()))
    short = PrettyTable(['', 'rule', *means], align='r')
    short.align['rule'] = 'l'
    for number, (title, found) in enumerate(rules.items(), start=1):
        short.add_row([number, title, *(_percent(found[key]) for key in means)])
    by_class = ('class_coverage', *(('precision',) if result['studied'] else ()))
    long = PrettyTable(['class', *map(str, range(1, len(rules) + 1))], align='r')
    long.align['class'] = 'l'
    for name in result['classes']:
        cells = [' / '.join(_percent(found[key][name]) for key in by_class) for found in rules.values()]
        long.add_row([name, *cells])
    studied = (' / precision of its selected pixels',) if result['studied'] else ()
    return '\n'.join(
        [
            f'{result["images"]} images, in percent',
            str(short),
            ''.join(('by class: selected share of the pixels predicted as it', *studied)),
            str(long),
        ]
    )


def _titled(selectors: Sequence[Mapping[str, Any]]) -> dict[str, Selector]:
    """The selectors by what the user said of them."""
    rules = {}
    for config in selectors:
        selector = build_selector(dict(config))
        title = ' '.join([config['type'], *(f'{key}={value}' for key, value in config.items() if key != 'type')])
        if title in rules:
            raise ValueError(f'the selector {title} is given twice: leave one out')
        rules[title] = selector
    return rules


def _count(predictions: Predictions, rules: Collection[Selector], truth: DomainDataset | None) -> tuple[Tensor, Tensor]:
    """Count every rule's labels of all processes' images: ``matrix`` and ``predicted`` of :func:`coverage`, stacked."""
    classes = len(predictions.dataset.metainfo['classes'])
    matrices = torch.zeros(len(rules), classes + 1, classes + 1, dtype=torch.int64)
    predicted = torch.zeros(len(rules), classes, dtype=torch.int64)
    for scores in progress(predictions.stream(predictions.mine), len(predictions.mine), 'comparison'):
        every: dict[Size, Tensor] = {}  # rules label at two sizes
        true = None if truth is None else _true_label(truth, scores.index)
        for number, rule in enumerate(rules):
            label = _label(rule, scores)
            if (size := label.shape) not in every:
                logits = scores.at_input() if size == scores.input_size else scores.at_label()
                every[size] = torch.bincount(confidence(logits)[1].flatten(), minlength=classes).cpu()
            predicted[number] += every[size]
            known = np.full(size, IGNORE, np.uint8)
            if true is not None:
                known = cv2.resize(true, size[::-1], interpolation=cv2.INTER_NEAREST)
            pair = (torch.from_numpy(ids).clamp(max=classes) for ids in (label, known))
            matrices[number] += iou.confusion_matrix(*pair, classes + 1)
    all_reduce(matrices, op='sum')
    all_reduce(predicted, op='sum')
    return matrices, predicted


def _row(
    scores: Scores, rules: Mapping[str, Selector], dataset: DomainDataset, truth: DomainDataset | None
) -> dict[str, np.ndarray]:
    """A row of the picture."""
    row = {'image': load_image(dataset.get_data_info(scores.index)['img_path'])}
    if truth is not None:
        row['truth'] = _true_label(truth, scores.index)
    labels = {f'{number} {title}': _label(rules[title], scores) for number, title in enumerate(rules, start=1)}
    return row | labels


def _label(rule: Selector, scores: Scores) -> np.ndarray:
    """A rule's label of one image (H, W) uint8."""
    return rule.finish(rule.select(scores)[0].cpu().numpy())


def _true_label(truth: DomainDataset, index: int) -> np.ndarray:
    """(H, W) uint8."""
    return LoadLabels(same_size=False)(truth.get_data_info(index))['gt_seg_map']


def _by_class(classes: Sequence[str], values: Sequence[float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in zip(classes, values, strict=True)}


def _number(value: float) -> float | None:
    """JSON knows no nan."""
    return None if math.isnan(value) else value


def _percent(value: float | None) -> str:
    return '-' if value is None else f'{100 * value:.1f}'
