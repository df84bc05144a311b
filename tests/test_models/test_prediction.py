"""Labels equal mmseg's own, pixel by pixel, without the logits at the size of the labels."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.structures import SegDataSample

from mmuda.models.prediction import at_file_size, resized_argmax
from mmuda.models.tta import SummedProbabilities, TTAModel, summed_probabilities
from mmuda.models.uda import UDASegmentor
from mmuda.registry import MODELS

SIZES = [(64, 128), (96, 192), (128, 256), (61, 117), (200, 75), (17, 250), (1, 1)]  # of labels, for images of 64 x 128


@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize('size', SIZES)
def test_classes_equal_those_of_the_whole(size: tuple, align_corners: bool) -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 7, 64, 128)
    maps[:, 5] = maps[:, 2]  # a tie, which the first one wins
    before = maps.clone()
    sizes = [(50, 70), size]
    label = resized_argmax(maps, sizes, align_corners)
    whole = maps
    for between in sizes:
        whole = F.interpolate(whole, size=between, mode='bilinear', align_corners=align_corners)
    assert label.dtype == torch.uint8
    assert torch.equal(label, whole.argmax(1))
    assert not (label == 5).any()
    assert torch.equal(maps, before)


@pytest.fixture
def model(load) -> UDASegmentor:
    """A network with random weights whose labels vary; batch-norm statistics of some images."""
    torch.manual_seed(0)
    model = MODELS.build(load('ehtdi/minicity.py').model)
    model.init_weights()
    with torch.no_grad():
        for _ in range(3):
            model.student.train()(40 * torch.randn(2, 3, 16, 32).repeat_interleave(4, 2).repeat_interleave(4, 3))
    model.teacher.copy_from(model.student)
    return model.eval()


def samples(ori_shape: tuple, **metainfo) -> list[SegDataSample]:
    return [SegDataSample(metainfo=dict(ori_shape=ori_shape, img_shape=(64, 128), **metainfo)) for _ in range(2)]


def assert_as_mmseg(model: UDASegmentor, ori_shape: tuple, **metainfo) -> list[SegDataSample]:
    """Predict two images both ways and compare; returns ours."""
    torch.manual_seed(1)
    image = 40 * torch.randn(2, 3, 16, 32).repeat_interleave(4, 2).repeat_interleave(4, 3)
    with torch.no_grad():
        found = model.predict(image, samples(ori_shape, **metainfo))
        wanted = model.network.predict(image, samples(ori_shape, **metainfo))
    for ours, theirs in zip(found, wanted, strict=True):
        assert torch.equal(ours.pred_sem_seg.data, theirs.pred_sem_seg.data)
        assert ours.pred_sem_seg.data.dtype == theirs.pred_sem_seg.data.dtype
        assert len(theirs.pred_sem_seg.data.unique()) > 1 or ori_shape == (1, 1)
    return found


@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize('ori_shape', SIZES)
def test_labels_equal_mmseg_s(model, ori_shape: tuple, align_corners: bool) -> None:
    for part in (model.network, model.network.decode_head):
        part.align_corners = align_corners
    found = assert_as_mmseg(model, ori_shape)
    assert not any('seg_logits' in sample for sample in found)


@torch.no_grad()
def test_one_interpolation_is_another_function_than_two(model) -> None:
    image = 40 * torch.randn(2, 3, 16, 32).repeat_interleave(4, 2).repeat_interleave(4, 3)
    twice = model.predict(image, samples((90, 160)))
    model.resize_once = True
    once = model.predict(image, samples((90, 160)))
    wanted = F.interpolate(model(image), size=(90, 160), mode='bilinear', align_corners=True).argmax(1)
    assert torch.equal(torch.cat([sample.pred_sem_seg.data for sample in once]), wanted)
    assert any(not torch.equal(a.pred_sem_seg.data, b.pred_sem_seg.data) for a, b in zip(once, twice, strict=True))

    model.keep_logits = True  # as inference and test-time augmentation do
    kept = model.predict(image, samples((90, 160)))
    mirrored = model.predict(image, samples((90, 160), flip=True, flip_direction='horizontal'))
    for a, b, c in zip(once, kept, mirrored, strict=True):
        assert torch.equal(b.pred_sem_seg.data, a.pred_sem_seg.data)
        assert torch.equal(c.seg_logits.data, b.seg_logits.data.flip(2))


@pytest.mark.parametrize(
    'metainfo',
    [
        dict(flip=True, flip_direction='horizontal'),
        dict(flip=True, flip_direction='vertical'),
        dict(img_padding_size=[3, 5, 2, 4], pad_shape=(64, 128)),
        dict(padding_size=[0, 8, 0, 0]),
    ],
    ids=str,
)
def test_flips_and_padding_are_undone(model, metainfo: dict) -> None:
    plain = assert_as_mmseg(model, (90, 160))
    changed = assert_as_mmseg(model, (90, 160), **metainfo)
    assert not torch.equal(plain[0].pred_sem_seg.data, changed[0].pred_sem_seg.data)


def test_sliding_windows(model) -> None:
    plain = assert_as_mmseg(model, (90, 160))
    model.network.test_cfg = ConfigDict(mode='slide', crop_size=(48, 64), stride=(32, 48))
    slid = assert_as_mmseg(model, (90, 160))
    assert not torch.equal(plain[0].pred_sem_seg.data, slid[0].pred_sem_seg.data)


def test_a_head_with_a_prediction_of_its_own(model) -> None:
    head = model.network.decode_head

    class Negated(type(head)):
        def predict_by_feat(self, seg_logits: torch.Tensor, batch_img_metas: list[dict]) -> torch.Tensor:
            return -super().predict_by_feat(seg_logits, batch_img_metas)

    plain = assert_as_mmseg(model, (90, 160))
    head.__class__ = Negated
    negated = assert_as_mmseg(model, (90, 160))
    assert not torch.equal(plain[0].pred_sem_seg.data, negated[0].pred_sem_seg.data)


def test_half_precision_ends_at_the_head(load) -> None:
    model = MODELS.build(load('ehtdi/minicity.py', **{'model.precision': 'bf16'}).model).eval()
    image = torch.randn(2, 3, 64, 128)
    with torch.no_grad():
        whole = model(image).float()
        for size in ((64, 128), (90, 160)):
            whole = F.interpolate(whole.contiguous(), size=size, mode='bilinear', align_corners=True)
        found = torch.cat([sample.pred_sem_seg.data for sample in model.predict(image, samples((90, 160)))])
    assert torch.equal(found, whole.argmax(1))


def test_logits_are_kept_for_those_who_average_them(model) -> None:
    assert TTAModel(model).module.keep_logits
    assert all('seg_logits' in sample for sample in assert_as_mmseg(model, (90, 160)))


def interpolate(maps: torch.Tensor, size: tuple) -> torch.Tensor:
    return F.interpolate(maps, size=size, mode='bilinear', align_corners=True)


@torch.no_grad()
def test_probabilities_are_interpolated_not_logits(model) -> None:
    """HIAST spec 1: softmax at the size that the network sees, then up to the labels', view by view."""
    for branch in model.network.decode_head.convs:
        branch.weight *= 50  # probabilities far from equal
    file = torch.randint(0, 256, (3, 16, 32), dtype=torch.uint8).repeat_interleave(4, 1).repeat_interleave(4, 2)
    data = dict(inputs=[file], data_samples=[SegDataSample(metainfo=dict(img_shape=(64, 128)))])
    image = model.data_preprocessor(data)['inputs']
    wanted = torch.zeros(1, model.out_channels, 64, 128)
    for size in ((48, 96), (80, 160)):
        for flip in (False, True):
            seen = interpolate(image, size)
            logits = interpolate(model.network(seen.flip(3) if flip else seen, mode='tensor'), size)
            prob = logits.softmax(1)
            wanted += interpolate(prob.flip(3) if flip else prob, (64, 128))
    [found] = SummedProbabilities(module=model, sizes=[(48, 96), (80, 160)], flip=True).test_step(data)
    assert torch.equal(found.pred_sem_seg.data, wanted.argmax(1))

    def logits_of(seen: torch.Tensor) -> torch.Tensor:
        return interpolate(model.network(seen, mode='tensor'), seen.shape[-2:])

    once = summed_probabilities(logits_of, image, [(48, 96)])
    assert torch.allclose(once.sum(1), torch.ones(1, 64, 128), atol=1e-5)
    logits = interpolate(logits_of(interpolate(image, (48, 96))), (64, 128))
    assert not torch.equal(once.argmax(1), logits.argmax(1))


def test_one_output_channel_is_left_to_mmseg(load) -> None:
    cfg = copy.deepcopy(load('ehtdi/minicity.py').model)
    for head in ('decode_head', 'auxiliary_head'):
        cfg.student[head].update(num_classes=1, threshold=0.3)
    with torch.no_grad():
        found = MODELS.build(cfg).eval().predict(torch.randn(2, 3, 64, 128), samples((64, 128)))
    assert set(found[0].pred_sem_seg.data.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize(
    'padding',
    [
        {},
        dict(img_shape=(50, 120)),
        dict(pad_shape=(96, 160), padding_size=(0, 37, 0, 13)),
        dict(padding_size=(3, 2, 1, 4)),
    ],
)
def test_maps_lie_where_mmseg_puts_logits(load, padding: dict) -> None:
    network = MODELS.build(
        load('daf_ida/minicity_stage2_isl.py', **{'model.student.decode_head.align_corners': True}).model.student
    )
    maps = torch.randn(1, 3, 16, 32)
    meta = {'img_shape': (64, 128), 'ori_shape': (83, 123), **padding}
    whole = network.decode_head.predict_by_feat(maps, [meta])
    [wanted] = network.postprocess_result(whole, [SegDataSample(metainfo=meta)])
    torch.testing.assert_close(at_file_size(maps, meta)[0], wanted.seg_logits.data)
