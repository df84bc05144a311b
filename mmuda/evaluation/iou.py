"""Intersection over union from one confusion matrix, with the means that a task reports (EHTDI spec 1)."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine import fileio
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from prettytable import PrettyTable
from torch import Tensor

from mmuda.datasets.classes import score_subsets
from mmuda.registry import METRICS
from mmuda.utils.pictures import encode


def confusion_matrix(pred: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Count the pixels of every (true class, predicted class).

    Args:
        pred: Predicted classes, integer, any shape.
        label: True classes, integer, the shape of ``pred``; ``num_classes`` and above (255 = ignore) are not counted.
        num_classes: C.

    Returns:
        (C, C) int64 on the device of ``pred``; rows are the truth, columns the prediction.

    Raises:
        ValueError: If the shapes differ or a prediction is no class.
    """
    if pred.shape != label.shape:
        raise ValueError(f'the prediction has {tuple(pred.shape)} pixels, its label map {tuple(label.shape)}')
    low, high = torch.aminmax(pred)
    if low < 0 or high >= num_classes:
        raise ValueError(f'predicted classes {int(low)}..{int(high)} are not in 0..{num_classes - 1}')
    # Row C collects what is ignored: cheaper than picking out the other pixels.
    index = label.to(pred.device, torch.int32, copy=True).clamp_(max=num_classes).mul_(num_classes)
    index.add_(pred.to(torch.int32))  # cheaper than adding across types
    counts = torch.bincount(index.flatten(), minlength=num_classes * (num_classes + 1))
    return counts.view(num_classes + 1, num_classes)[:-1]


def scores(matrix: Tensor | np.ndarray, subset: Sequence[int] | None = None) -> dict[str, Any]:
    """Scores of a confusion matrix, as fractions.

    A value that divides by nothing is nan and left out of the means: the IoU of a class in neither truth nor
    prediction, the accuracy of a class without a true pixel, the precision of a class that is never predicted.

    Args:
        matrix: (C, C), rows are the truth.
        subset: Classes that the means go over; None means all. Predictions of other classes still count as errors, and
            ``FWIoU`` still divides by all pixels (EHTDI spec 1).

    Returns:
        ``IoU``, ``Acc`` and ``Precision``, (C,) float64 each; their means ``mIoU``, ``mAcc`` and ``mPrecision``;
        ``aAcc``, the share of right pixels; ``FWIoU``, the IoU weighted by the true frequency.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    hit, true, predicted = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    with np.errstate(invalid='ignore'):
        iou, acc, precision = hit / (true + predicted - hit), hit / true, hit / predicted
        frequency = true / matrix.sum()
        right = hit.sum() / matrix.sum()
    chosen = np.arange(len(matrix)) if subset is None else np.asarray(subset)
    return dict(
        IoU=iou,
        Acc=acc,
        Precision=precision,
        mIoU=_mean(iou[chosen]),
        mAcc=_mean(acc[chosen]),
        mPrecision=_mean(precision[chosen]),
        aAcc=float(right),
        FWIoU=float(np.nansum((frequency * iou)[chosen])) if matrix.any() else float('nan'),
    )


def _mean(values: np.ndarray) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float('nan')


@METRICS.register_module()
class SubsetIoUMetric(BaseMetric):
    """mIoU over all classes and over named subsets of them, in percent.

    The log shows a table by class and says what was scored: the number of images and the size of their label maps, for
    papers differ in it (EHTDI scores at 640x1280, others at 1024x2048). Besides the means, ``IoU.<class>`` is returned.

    Args:
        subsets: Name -> class ids of each mean IoU to report. None takes ``mIoU`` over all classes, and ``mIoU16``,
            ``mIoU13`` where the data set has their classes, by name.
        output_dir: Folder for the predicted classes, one uint8 PNG per image under the image's name.
        format_only: Only write these files; labels are not needed.
        keep_results: Without effect; mmseg's test tool sets it along with ``output_dir``.
        **kwargs: Of mmengine's ``BaseMetric``.
    """

    default_prefix = ''

    def __init__(
        self,
        subsets: dict[str, list[int]] | None = None,
        output_dir: str | None = None,
        format_only: bool = False,
        keep_results: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if format_only and output_dir is None:
            raise ValueError('format_only=True needs output_dir, the folder to write to')
        self.subsets = subsets
        self.output_dir = output_dir
        self.format_only = format_only

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch of predictions; see :class:`mmengine.evaluator.BaseMetric`."""
        for sample in data_samples:
            pred = sample['pred_sem_seg']['data'].squeeze(0)
            if self.output_dir is not None:
                self._write(pred, sample['img_path'])
            if self.format_only:
                self.results.append(None)
                continue
            if 'gt_sem_seg' not in sample:
                raise ValueError(
                    f'{sample["img_path"]} comes without a label map: load labels, or set format_only=True'
                )
            label = sample['gt_sem_seg']['data'].squeeze(0)
            try:
                matrix = confusion_matrix(pred, label, len(self.dataset_meta['classes']))
            except ValueError as error:
                raise ValueError(f'{sample["img_path"]}: {error}') from error
            self.results.append((matrix.cpu(), tuple(label.shape)))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Score what all ranks counted; see :class:`mmengine.evaluator.BaseMetric`."""
        logger = MMLogger.get_current_instance()
        if self.format_only:
            logger.info(f'{len(results)} predictions are in {self.output_dir}')
            return {}
        names = self.dataset_meta['classes']
        matrix = sum(counted for counted, _ in results)
        subsets = score_subsets(names) if self.subsets is None else self.subsets
        all_classes = scores(matrix)
        metrics = {name: 100 * scores(matrix, subset)['mIoU'] for name, subset in subsets.items()}
        metrics |= {key: 100 * all_classes[key] for key in ('aAcc', 'mAcc', 'mPrecision', 'FWIoU')}
        metrics |= {
            f'IoU.{name.replace(" ", "_")}': 100 * iou
            for name, iou in zip(names, all_classes['IoU'].tolist(), strict=True)
        }
        logger.info(f'per class, in percent:\n{_table(names, all_classes)}')
        logger.info(_protocol(results))
        if not matrix.any():
            logger.warning('every pixel of the label maps is ignored, so there is no score: check the label ids')
        return metrics

    def _write(self, pred: Tensor, img_path: str) -> None:
        path = Path(self.output_dir, Path(img_path).stem).with_suffix('.png')
        fileio.put(encode(pred.to('cpu', torch.uint8).numpy()), path)


def _table(names: Sequence[str], values: dict[str, Any]) -> PrettyTable:
    table = PrettyTable()
    table.add_column('class', list(names))
    for key in ('IoU', 'Acc', 'Precision'):
        table.add_column(key, [f'{100 * value:.2f}' for value in values[key]])
    return table


def _protocol(results: list) -> str:
    sizes = Counter(f'{height}x{width}' for _, (height, width) in results).most_common()
    if len(sizes) == 1:
        return f'scored {len(results)} images, labels of {sizes[0][0]}'
    return f'scored {len(results)} images, labels of ' + ', '.join(f'{size} ({count})' for size, count in sizes)
