"""Fitting images of any size into one canvas, and predictions back."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.dataset import Compose
from mmseg.structures import SegDataSample
from torch import Tensor

from mmuda.datasets import FitPad, LoadLabels, Pack
from mmuda.datasets.classes import MAPILLARY_IDS, id_table
from mmuda.datasets.transforms.geometric import fit_size, pad, pad_size
from mmuda.evaluation import confusion_matrix
from mmuda.models.uda import UDASegmentor
from mmuda.registry import MODELS

GOLDEN = np.load(Path(__file__).parents[1] / 'golden' / 'daf_ida' / 'data_pipeline.npz')
MEAN = np.array([104.00698793, 116.66876762, 122.67891434], np.float32)[:, None, None]
TABLE = id_table(MAPILLARY_IDS, 7)
CASES = ['wide', 'tall', 'exact']
PACK = dict(
    type='PackSegInputs',
    meta_keys=('img_path', 'ori_shape', 'img_shape', 'pad_shape', 'padding_size', 'flip', 'flip_direction'),
)


def item(rgb: np.ndarray, label: np.ndarray | None = None) -> dict:
    image = np.ascontiguousarray(rgb[..., ::-1])
    shape = image.shape[:2]
    results = {'img': image, 'img_shape': shape, 'ori_shape': shape, 'seg_fields': [], 'name': 'a', 'img_path': 'a.jpg'}
    return results if label is None else results | {'gt_seg_map': label, 'seg_fields': ['gt_seg_map']}


def golden(case: str) -> dict:
    return item(GOLDEN[f'mv_{case}_rgb'], TABLE[GOLDEN[f'mv_{case}_label_raw']])


@pytest.mark.parametrize('case', CASES)
def test_image_and_training_label_equal_the_reference(case):
    packed = Compose([FitPad((16, 12)), Pack()])(golden(case))
    assert np.array_equal(packed['image'].numpy().astype(np.float32) - MEAN, GOLDEN[f'mv_{case}_image_16x12'])
    assert np.array_equal(packed['label'].numpy(), GOLDEN[f'mv_{case}_label_scaled'][..., 0])


@pytest.mark.parametrize('case', CASES)
def test_padded_label_size_equals_the_reference(case):
    results = FitPad((16, 12), labels=False)(golden(case))
    expected = GOLDEN[f'mv_{case}_label_padded']
    assert results['pad_shape'] == expected.shape
    assert np.array_equal(pad(results['gt_seg_map'], expected.shape[::-1], 255), expected)
    assert results['ori_shape'] == results['gt_seg_map'].shape
    left, right, top, bottom = results['padding_size']
    height, width = results['ori_shape']
    assert (left, top, height + bottom, width + right) == (0, 0, *expected.shape)


def test_what_scoring_goes_by():
    scaled = FitPad((16, 12))(golden('wide'))
    assert scaled['ori_shape'] == scaled['img_shape'] == scaled['gt_seg_map'].shape == (12, 16)
    assert 'pad_shape' not in scaled
    assert 'padding_size' not in scaled
    plain = FitPad((16, 12))(item(GOLDEN['mv_wide_rgb']))  # an image to predict: at its own size
    assert (plain['ori_shape'], plain['pad_shape'], plain['img_shape']) == ((22, 40), (30, 40), (12, 16))


def test_sizes_are_truncated_like_the_references():
    assert fit_size((2048, 1024), (1024, 768)) == (1024, 512)
    assert fit_size((3000, 4000), (1024, 768)) == (576, 768)
    narrow = [w for w in range(4, 6000, 4) if fit_size((w, w // 4 * 3), (1024, 768)) != (1024, 768)]
    assert narrow  # of the canvas's own ratio, but a column short
    assert {fit_size((w, w // 4 * 3), (1024, 768)) for w in narrow} == {(1023, 768)}
    for w in range(1, 400, 7):
        for h in range(1, 400, 11):
            inner, outer = fit_size((w, h), (1024, 768)), pad_size((w, h), (1024, 768))
            assert inner[0] <= 1024
            assert inner[1] <= 768
            assert outer[0] >= w
            assert outer[1] >= h
            assert w == outer[0] or h == outer[1]


def test_labels_stored_at_the_canvas_s_size_are_taken_as_they_are(tmp_path):
    """Pseudo-labels are as large as the network's input, padding included (DAF+IDA spec 5.4): load them last."""
    stored = np.random.RandomState(0).randint(0, 7, (12, 16)).astype(np.uint8)
    (tmp_path / 'a.png').write_bytes(b'0')
    labels = dict(seg_map_path=str(tmp_path / 'a.png'), label_table=np.arange(256, dtype=np.uint8))
    labels['label_decoder'] = lambda data, path: stored
    packed = Compose([FitPad((16, 12)), LoadLabels(), Pack()])(item(GOLDEN['mv_wide_rgb']) | labels)
    assert np.array_equal(packed['label'].numpy(), stored)
    with pytest.raises(ValueError, match=r'a.png: the label is 16x12, its image a.jpg 40x22'):
        LoadLabels()(item(GOLDEN['mv_wide_rgb']) | labels)


@pytest.fixture
def model(load) -> UDASegmentor:
    """A network with random weights whose labels vary."""
    torch.manual_seed(0)
    return MODELS.build(load('ehtdi/minicity.py').model).eval()


def sample(size: tuple, *steps: dict) -> tuple[Tensor, SegDataSample]:
    """A smooth random image of (width, height) as the network gets it, in a canvas of 128x96."""
    low = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    rgb = F.interpolate(255 * low, size=size[::-1], mode='bicubic').clamp(0, 255)[0].permute(1, 2, 0)
    packed = Compose([*steps, FitPad((128, 96), labels=False), PACK])(item(rgb.numpy().astype(np.uint8)))
    return packed['inputs'][None].float(), packed['data_samples']


def rule(model: UDASegmentor, inputs: Tensor, padded: tuple, size: tuple) -> Tensor:
    """The references' way: the head's logits resized once, to the padded label size, then cut to the image's."""
    logits = F.interpolate(model(inputs, mode='tensor'), size=padded[::-1], mode='bilinear', align_corners=True)
    return logits[..., : size[1], : size[0]].argmax(1)


@pytest.mark.parametrize(
    ('size', 'padded'),
    [((200, 80), (200, 150)), ((90, 170), (226, 170)), ((160, 120), (160, 120)), ((50, 41), (54, 41))],
)
@torch.no_grad()
def test_predictions_follow_the_references_rule(model, size, padded):
    inputs, data_sample = sample(size)
    assert inputs.shape == (1, 3, 96, 128)
    expected = rule(model, inputs, padded, size)
    assert len(expected.unique()) > 1
    (found,) = model.predict(inputs, [data_sample])
    assert torch.equal(found.pred_sem_seg.data, expected)
    straight = F.interpolate(model(inputs, mode='tensor'), size=size[::-1], mode='bilinear', align_corners=True)
    assert torch.equal(straight.argmax(1), expected) == (size == padded)


@torch.no_grad()
def test_scores_equal_those_of_the_padded_label(model):
    size, padded = (200, 80), (200, 150)
    inputs, data_sample = sample(size)
    label = np.random.RandomState(0).randint(0, 19, size[::-1]).astype(np.uint8)
    (found,) = model.predict(inputs, [data_sample])
    own = confusion_matrix(found.pred_sem_seg.data[0], torch.from_numpy(label), 19)
    whole = rule(model, inputs, padded, padded)[0]
    assert torch.equal(own, confusion_matrix(whole, torch.from_numpy(pad(label, padded, 255)), 19))


@torch.no_grad()
def test_a_flip_before_the_padding_is_undone(model):
    size, padded = (90, 170), (226, 170)
    inputs, data_sample = sample(size, dict(type='RandomFlip', prob=1.0))
    (found,) = model.predict(inputs, [data_sample])
    assert torch.equal(found.pred_sem_seg.data, rule(model, inputs, padded, size).flip(2))
