"""Depth errors by hand, and on MiniCity's own truth."""

import math

import numpy as np
import pytest
import torch
from mmseg.structures import SegDataSample

from mmuda.datasets import CityscapesDataset, LoadDepth, LoadImage
from mmuda.evaluation import InverseDepthMetric, depth_scores
from mmuda.registry import METRICS, TRANSFORMS
from mmuda.utils.depth import inverse_depth


def test_scores_by_hand():
    truth = torch.tensor([10.0, 10.0, 10.0, 10.0, 655.35, 0.0])
    pred = torch.tensor([10.0, 12.0, 7.0, 100.0, 1.0, 1.0])  # ratios 1, 1.2, 1.43, 8 after the limit; two not scored
    expected = [(0 + 0.2 + 0.3 + 7) / 4, math.sqrt((4 + 9 + 4900) / 4), 2 / 4, 3 / 4, 3 / 4]
    assert depth_scores(pred, truth, farthest=80.0).tolist() == pytest.approx(expected)
    assert depth_scores(pred, truth, farthest=5.0).isnan().all()


def sample(pred: torch.Tensor | None, truth: np.ndarray | None) -> dict:
    made = {'img_path': 'a.png'}
    if pred is not None:
        made['pred_depth_map'] = {'data': pred}
    if truth is not None:
        made['gt_depth_map'] = {'data': torch.from_numpy(truth)}
    return made


def test_minicity_s_truth_is_without_error_and_its_mirror_image_is_not(city):
    pack = TRANSFORMS.build(dict(type='PackSegInputs'))
    dataset = CityscapesDataset(
        data_root=str(city), split='val', with_depth=True, pipeline=[LoadImage(), LoadDepth(), pack]
    )
    found = {}
    for mirrored in (False, True):
        metric = METRICS.build(dict(type='mmuda.InverseDepthMetric'))
        for item in dataset:
            data_sample: SegDataSample = item['data_samples']
            pred = inverse_depth(data_sample.gt_depth_map.data)  # (1, H, W)
            data_sample.set_data({'pred_depth_map': data_sample.gt_depth_map.clone()})
            data_sample.pred_depth_map.data = pred.flip(2) if mirrored else pred
            metric.process(None, [data_sample.to_dict()])
        found[mirrored] = metric.evaluate(len(dataset))
    assert list(found[False]) == ['depth/abs_rel', 'depth/rmse', 'depth/d1', 'depth/d2', 'depth/d3']
    assert list(found[False].values()) == pytest.approx([0, 0, 1, 1, 1], abs=1e-3)
    assert found[True]['depth/rmse'] > 1
    assert found[True]['depth/d1'] < found[True]['depth/d3'] < 1


def test_errors_name_the_image():
    metric = InverseDepthMetric()
    depth = np.full((1, 2, 3), 100, np.uint16)
    with pytest.raises(ValueError, match=r'a.png comes without pred_depth_map'):
        metric.process(None, [sample(None, depth)])
    with pytest.raises(ValueError, match=r'a.png comes without gt_depth_map'):
        metric.process(None, [sample(torch.ones(1, 2, 3), None)])
    with pytest.raises(ValueError, match=r'a.png: the predicted depth is \(1, 2, 4\), its truth \(1, 2, 3\)'):
        metric.process(None, [sample(torch.ones(1, 2, 4), depth)])


def test_images_count_alike_and_one_without_pixels_not_at_all():
    metric = InverseDepthMetric()
    near, far = np.full((1, 1, 1), 1000, np.uint16), np.full((1, 4, 4), 65535, np.uint16)
    many = np.full((1, 5, 5), 1000, np.uint16)
    for truth, factor in ((near, 2), (far, 1), (many, 1)):
        metric.process(None, [sample(inverse_depth(torch.from_numpy(truth)) / factor, truth)])
    assert metric.evaluate(3)['depth/d1'] == pytest.approx(0.5)
