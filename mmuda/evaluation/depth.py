"""Errors of predicted depth, where the true one is known."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmuda.registry import METRICS
from mmuda.utils.depth import metres

_NEAREST = 0.01  # metres, the unit of depth files: a ratio to a depth of 0 says nothing


def depth_scores(pred: Tensor, truth: Tensor, farthest: float) -> Tensor:
    """Errors over the pixels of an image, as they are usual for depth from one image.

    Args:
        pred: Predicted metres, any shape; limited to 0.01 ... ``farthest``.
        truth: True metres, of the same shape; pixels beyond ``farthest``, the sky among them, are not scored.
        farthest: In metres.

    Returns:
        (5,) float64: mean of abs(pred - truth) / truth, root of the mean squared error in metres, and the shares of
        pixels whose ratio max(pred / truth, truth / pred) is below 1.25, 1.25 ** 2 and 1.25 ** 3. nan without pixels.
    """
    scored = (truth >= _NEAREST) & (truth <= farthest)
    truth, pred = truth[scored].double(), pred[scored].double().clamp(_NEAREST, farthest)
    error, ratio = (pred - truth).abs(), torch.maximum(pred / truth, truth / pred)
    within = [(ratio < 1.25**power).double().mean() for power in (1, 2, 3)]
    return torch.stack([(error / truth).mean(), error.square().mean().sqrt(), *within])


@METRICS.register_module()
class InverseDepthMetric(BaseMetric):
    """Errors of a segmentor's inverse depth, averaged over images: ``depth/abs_rel``, ``rmse``, ``d1``, ``d2``, ``d3``.

    A sample brings the inverse depth that the depth papers' networks regress as ``pred_depth_map`` (1, H, W), which
    models with ``predict_depth`` add, and the truth of :class:`LoadDepth` as ``gt_depth_map`` (1, H, W) uint16. Not a
    score of any paper: for study, on MiniCity.

    Args:
        farthest: Metres up to which pixels are scored.
        **kwargs: Of mmengine's ``BaseMetric``.
    """

    default_prefix = 'depth'

    def __init__(self, farthest: float = 80.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.farthest = farthest

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Score a batch of predictions; see :class:`mmengine.evaluator.BaseMetric`."""
        for sample in data_samples:
            if missing := {'pred_depth_map', 'gt_depth_map'} - sample.keys():
                raise ValueError(
                    f'{sample["img_path"]} comes without {min(missing)}: this metric needs a network that predicts '
                    'depth, and LoadDepth in the pipeline'
                )
            pred, truth = sample['pred_depth_map']['data'], sample['gt_depth_map']['data']
            if pred.shape != truth.shape:
                raise ValueError(
                    f'{sample["img_path"]}: the predicted depth is {tuple(pred.shape)}, its truth {tuple(truth.shape)}'
                )
            truth = truth.to(pred.device).float() / 100
            self.results.append(depth_scores(metres(pred.float()), truth, self.farthest).cpu())

    def compute_metrics(self, results: list[Tensor]) -> dict[str, float]:
        """Average what all ranks scored; see :class:`mmengine.evaluator.BaseMetric`."""
        means = torch.stack(results).nanmean(0).tolist()
        return dict(zip(('abs_rel', 'rmse', 'd1', 'd2', 'd3'), means, strict=True))
