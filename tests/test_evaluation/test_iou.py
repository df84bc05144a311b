"""Scores against the reference's, and what the metric tells its reader (EHTDI spec 1; LDBE spec 1.3)."""

import logging

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import load_golden
from mmengine.logging import MMLogger

from mmuda.datasets.classes import CLASS_SETS, score_subsets
from mmuda.evaluation import SubsetIoUMetric, confusion_matrix, scores

GOLDEN = load_golden('ehtdi', 'evaluation')


def images(classes):
    """(prediction, label) of the golden images, 255 = ignore."""
    for pred, label in zip(GOLDEN[f'pred{classes}'], GOLDEN[f'gt{classes}'], strict=True):
        yield torch.from_numpy(pred), torch.from_numpy(np.where(label < 0, 255, label))


def total(classes):
    return sum(confusion_matrix(pred, label, classes) for pred, label in images(classes))


def exactly(value, expected):
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize('classes', [19, 16])
def test_matrix_golden(classes):
    np.testing.assert_array_equal(total(classes), GOLDEN[f'c{classes}/cm'])
    assert total(classes).dtype == torch.int64


def test_19_class_scores_golden():
    result = scores(total(19))
    for ours, golden in (('aAcc', 'PA'), ('mAcc', 'MPA'), ('mIoU', 'MIoU'), ('FWIoU', 'FWIoU'), ('mPrecision', 'MPC')):
        exactly(result[ours], GOLDEN[f'c19/{golden}'])
    assert np.isnan(result['IoU'][16])  # in neither truth nor prediction
    of_19 = [scores(total(19), GOLDEN[f'synthia_set_{size}'])['mIoU'] for size in (16, 13)]
    exactly(of_19, GOLDEN['c19/MIoU_16_13_of_19'])


@pytest.mark.parametrize(('index', 'subset'), [(0, None), (1, GOLDEN['synthia_set_16_to_13'])])
def test_16_class_scores_golden(index, subset):
    result = scores(total(16), subset)
    exactly(result['aAcc'], GOLDEN['c16/PA'])
    for ours, golden in (('mAcc', 'MPA'), ('mIoU', 'MIoU'), ('FWIoU', 'FWIoU'), ('mPrecision', 'MPC')):
        exactly(result[ours], GOLDEN[f'c16/{golden}'][index])
    assert result['IoU'][14] == 0  # predicted, though absent from the truth


def test_daf_ida_scores_golden():
    golden = load_golden('daf_ida', 'losses')
    pairs = [
        tuple(torch.from_numpy(golden[f'eval_{kind}{number}']) for kind in ('pred', 'label')) for number in range(3)
    ]
    matrix = sum(confusion_matrix(pred, label, 5) for pred, label in pairs)
    np.testing.assert_array_equal(matrix, golden['eval_hist'])
    result = scores(matrix)
    exactly(result['IoU'], golden['eval_iou'])
    exactly(result['mIoU'], golden['eval_miou'])


@pytest.mark.parametrize(
    ('row', 'mean'),
    [
        ('86.7 42.7 81.1 16.7 1.3 25.8 10.4 10.4 83.0 85.4 61.7 26.6 81.7 49.8 30.2 41.1', 53.14),
        ('86.3 41.6 81.4 18.3 1.3 25.1 11.0 10.5 82.9 85.6 62.4 27.1 83.9 55.9 33.3 41.2', 54.08),
    ],
)
def test_13_of_the_16_published_classes(row, mean):
    """DAF's and DAF+IDA's rows (DAF+IDA spec 10, point 32)."""
    ious = np.array(row.split(), float)
    assert ious[score_subsets(CLASS_SETS[16].names)['mIoU13']].mean() == pytest.approx(mean, abs=0.005)


def test_ldbe_scores_golden():
    """The subsets are index lists of the label golden; the network's logits are brought to label size in one go."""
    golden, maps = (load_golden('ldbe', name) for name in ('14_miou', '01_label_maps'))
    matrix = 0
    for logits, label in zip(golden['logits'], golden['label_32x64'], strict=True):
        full = F.interpolate(torch.from_numpy(logits)[None], size=(1024, 2048), mode='bilinear', align_corners=True)
        matrix = matrix + confusion_matrix(
            full.argmax(1)[0], torch.from_numpy(np.kron(label, np.ones((32, 32), np.uint8))), 19
        )
    result = scores(matrix)
    np.testing.assert_allclose(result['IoU'], golden['iou'], rtol=0, atol=1e-5)
    np.testing.assert_allclose(result['Precision'], golden['precision'], rtol=0, atol=1e-5)
    assert result['mIoU'] == pytest.approx(float(golden['nanmean_miou']), abs=1e-5)
    subsets = score_subsets(CLASS_SETS[19].names)
    for size in (16, 13):
        kept = maps[f'synthia{size}_from19']
        assert sorted(subsets[f'mIoU{size}']) == sorted(kept.tolist())
        assert scores(matrix, subsets[f'mIoU{size}'])['mIoU'] == pytest.approx(
            np.nanmean(golden['iou'][kept]), abs=1e-5
        )


def test_ignored_image_adds_nothing():
    pred, label = list(images(19))[1]
    assert (label == 255).all()
    assert not confusion_matrix(pred, label, 19).any()


def test_labels_above_the_classes_are_ignored():
    matrix = confusion_matrix(torch.tensor([0, 1, 1]), torch.tensor([0, 2, 255], dtype=torch.uint8), 2)
    assert matrix.tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize(
    ('pred', 'message'), [([0, 2], r'0\.\.2 are not in 0\.\.1'), ([-1, 0], r'-1'), ([0], 'pixels')]
)
def test_wrong_predictions_are_named(pred, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(torch.tensor(pred), torch.tensor([0, 1]), 2)


# ------------------------------------------------------------------------------------------------------ the metric


def sample(pred, label=None, path='city/a_000.png'):
    item = {'pred_sem_seg': {'data': pred[None]}, 'img_path': path}
    return item if label is None else item | {'gt_sem_seg': {'data': label[None]}}


@pytest.fixture
def log(caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO)
    yield lambda: '\n'.join(record.getMessage() for record in caplog.records)
    logger.removeHandler(caplog.handler)


def metric(classes, **kwargs):
    made = SubsetIoUMetric(**kwargs)
    made.dataset_meta = {'classes': CLASS_SETS[classes].names}
    return made


def test_metric_reports_the_means_of_the_task(log):
    counted = metric(16)
    for pair in images(16):
        counted.process(None, [sample(*pair)])
    result = counted.evaluate(size=3)
    exactly([result['mIoU16'], result['mIoU13']], 100 * GOLDEN['c16/MIoU'])
    exactly(result['aAcc'], 100 * GOLDEN['c16/PA'])
    assert result['mIoU'] == result['mIoU16']
    assert result['IoU.traffic_light'] == 100 * scores(total(16))['IoU'][6]
    assert 'scored 3 images, labels of 9x13' in log()
    assert '| traffic light |' in log()


def test_metric_takes_named_subsets_and_names_every_label_size(log):
    counted = metric(19, subsets={'stuff': [0, 2]})
    counted.process(None, [sample(*pair) for pair in images(19)])
    counted.process(None, [sample(torch.zeros(2, 4, dtype=torch.long), torch.full((2, 4), 255))])
    result = counted.evaluate(size=4)
    exactly(result['stuff'], 100 * np.mean(scores(total(19))['IoU'][[0, 2]]))
    assert 'mIoU' not in result
    assert 'scored 4 images, labels of 9x13 (3), 2x4 (1)' in log()


def test_nothing_to_score_is_said(log):
    counted = metric(19)
    counted.process(None, [sample(torch.zeros(2, 4, dtype=torch.long), torch.full((2, 4), 255))])
    result = counted.evaluate(size=1)
    assert np.isnan([result['mIoU'], result['mAcc'], result['FWIoU'], result['aAcc']]).all()
    assert 'every pixel of the label maps is ignored' in log()


def test_padding_of_the_last_batch_is_not_scored():
    counted = metric(19)
    pairs = list(images(19))
    counted.process(None, [sample(*pairs[0]), sample(*pairs[2])])
    exactly(counted.evaluate(size=1)['mIoU'], 100 * scores(confusion_matrix(*pairs[0], 19))['mIoU'])


def test_metric_writes_predictions(tmp_path):
    pred = torch.randint(0, 19, (5, 7))
    counted = metric(19, output_dir=str(tmp_path / 'out'), format_only=True)
    counted.process(None, [sample(pred)])
    assert counted.evaluate(size=1) == {}
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / 'out' / 'a_000.png'), cv2.IMREAD_UNCHANGED), pred)


def test_metric_names_the_image_in_its_errors():
    counted, pred = metric(19), torch.zeros(2, 2, dtype=torch.long)
    with pytest.raises(ValueError, match=r'city/a_000\.png comes without a label map'):
        counted.process(None, [sample(pred)])
    with pytest.raises(ValueError, match=r'city/a_000\.png: predicted classes 19'):
        counted.process(None, [sample(pred + 19, pred)])
    with pytest.raises(ValueError, match='output_dir'):
        SubsetIoUMetric(format_only=True)
