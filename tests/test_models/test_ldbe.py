"""LDBE's losses, class mix and steps against the reference's numbers and their plain forms (LDBE spec 4, 5 and 10)."""

import math
import random
from pathlib import Path

import numpy as np
import plain_ldbe as plain
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmuda.models.uda import BoundaryEnhancement, LabelDenoising, ldbe
from mmuda.models.uda.mixing import draw_classes
from mmuda.models.uda.teacher import MeanTeacher
from mmuda.registry import MODELS

GOLDEN = Path(__file__).parents[1] / 'golden' / 'ldbe'
TERMS = ('loss_seg', 'loss_entropy', 'loss_negative')


@MODELS.register_module()
class GoldenBackbone(nn.Module):
    """The backbone of golden file 08: a strided convolution, batch norm, ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 5, stride=4, padding=2, bias=False)
        self.bn = nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [torch.relu(self.bn(self.conv(x)))]


@MODELS.register_module()
class GoldenHead(nn.Module):
    """Its head: a 1x1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.cls = nn.Conv2d(8, 19, 1)
        self.align_corners, self.num_classes, self.out_channels = True, 19, 19

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.cls(features[0])


def method(kind: type, decode_head: dict | None = None, **settings) -> LabelDenoising | BoundaryEnhancement:
    student = ConfigDict(
        type='EncoderDecoder',
        backbone=dict(type='mmuda.GoldenBackbone'),
        decode_head=decode_head or dict(type='mmuda.GoldenHead'),
        test_cfg=dict(mode='whole'),
    )
    return kind(student=student, **settings).train()


def load(name: str, case: str = '') -> dict[str, Tensor]:
    """The arrays of a golden file, or of one of its cases; label maps become int64."""
    arrays = {key.removeprefix(case): value for key, value in np.load(GOLDEN / f'{name}.npz').items() if case in key}
    return {k: torch.from_numpy(a.astype(np.int64) if a.dtype == np.uint8 else a) for k, a in arrays.items()}


def close(actual: Tensor, expected: Tensor, rel: float, **kwargs) -> None:
    """The goldens' measure: the largest difference over the largest number."""
    scale = float(expected.abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(actual.detach(), expected, rtol=0, atol=rel * max(scale, 1e-30), **kwargs)


def denoise(logits: Tensor, label: Tensor, rank: int, **settings) -> tuple[dict[str, Tensor], Tensor]:
    """The terms, and the gradient of their sum by the logits."""
    logits = logits.clone().requires_grad_()
    terms = method(LabelDenoising, **settings).losses(logits, label, rank)
    (grad,) = torch.autograd.grad(sum(terms[name] for name in TERMS), logits)
    return terms, grad


# ---------------------------------------------------------------------------------------------------- label denoising


@pytest.mark.parametrize('case', ['c19_wm3', 'c19_wp0', 'c19_wp3', 'c16_onepix', 'c16_allign', 'c19_sat'])
def test_label_denoising_golden(case: str) -> None:
    golden = load('05_ld_losses', f'{case}_')
    logits, label, rank = golden['logits'], golden['label'], int(golden['k'])
    prob = logits.softmax(1)
    assert torch.equal(plain.negative_label(prob, rank), golden['neg_label'])
    assert torch.equal(ldbe.class_of_rank(prob, rank)[:, 0], golden['neg_label'])

    terms, grad = denoise(logits, label, rank)
    for name, term, value in zip(('ce', 'ent', 'neg'), TERMS, plain.label_denoising(logits, label, rank), strict=True):
        torch.testing.assert_close(value, golden[f'loss_{name}'], rtol=1e-5, atol=0, equal_nan=True)
        if name != 'ce':
            close(terms[term], golden[f'loss_{name}'], 1e-5)
    if case == 'c16_allign':  # the reference's positive loss is NaN, and with it its gradient
        assert terms['loss_seg'] == 0
        close(grad, golden['grad_ent_neg_only'], 1e-4)
    else:
        close(terms['loss_seg'], golden['loss_ce'], 1e-5)
        close(grad, golden['grad'], 1e-4)


@pytest.mark.parametrize('rank', [2, 6, 9, 10, 11, 12, 19])
def test_fast_label_denoising_equals_the_plain_form(rank: int) -> None:
    torch.manual_seed(rank)
    logits = 6 * torch.randn(2, 19, 11, 13)
    label = torch.where(torch.rand(2, 11, 13) < 0.3, torch.randint(0, 19, (2, 11, 13)), 255)
    terms, grad = denoise(logits, label, rank)
    leaf = logits.clone().requires_grad_()
    wanted = plain.label_denoising(leaf, label, rank)
    for name, value in zip(TERMS, wanted, strict=True):
        close(terms[name], value.detach(), 1e-5)
    close(grad, torch.autograd.grad(sum(wanted), leaf)[0], 1e-5)


def test_entropy_of_uniform_and_of_certain_predictions() -> None:
    uniform, certain = torch.zeros(1, 19, 1, 1), torch.zeros(1, 19, 1, 1)
    certain[:, 4] = 200
    for kind, wanted in (('double_softmax', (math.log(19), math.log(math.e + 18) - 1)), ('shannon', (math.log(19), 0))):
        for logits, value in zip((uniform, certain), wanted, strict=True):
            terms, _ = denoise(logits, torch.zeros(1, 1, 1, dtype=torch.long), 9, entropy=kind)
            assert float(terms['loss_entropy'].detach()) == pytest.approx(value, abs=1e-5)


def test_entropy_of_unselected_pixels_alone() -> None:
    torch.manual_seed(0)
    logits, label = torch.randn(1, 19, 2, 3), torch.tensor([[[255, 3, 255], [1, 1, 255]]])
    terms, grad = denoise(logits, label, 9, entropy='shannon', entropy_pixels='unselected', negative_weight=0.0)
    prob = logits.softmax(1)
    wanted = -(prob * prob.log()).sum(1)[label == 255].mean()
    torch.testing.assert_close(terms['loss_entropy'].detach(), wanted)
    full = torch.ones_like(label)
    assert denoise(logits, full, 9, entropy_pixels='unselected')[0]['loss_entropy'] == 0
    positive = denoise(logits, label, 9, entropy_weight=0.0, negative_weight=0.0)[1]
    torch.testing.assert_close(grad[..., 1], positive[..., 1])  # a selected column: nothing of the entropy


def test_what_the_terms_depend_on() -> None:
    torch.manual_seed(0)
    logits, label = torch.randn(2, 19, 4, 5), torch.randint(0, 19, (2, 4, 5))
    label[:, :2] = 255
    before, _ = denoise(logits, label, 9)
    other_labels, _ = denoise(logits, (label + 1) % 19, 9)
    assert all(torch.equal(before[name], other_labels[name]) for name in TERMS[1:])
    logits[:, :, :2] += torch.randn(2, 19, 2, 5)
    assert torch.equal(denoise(logits, label, 9)[0]['loss_seg'], before['loss_seg'])


def test_rank_is_drawn_around_half_the_classes() -> None:
    random.seed(0)
    for classes, ranks in ((19, range(6, 13)), (16, range(5, 12)), (5, range(2, 6)), (2, [2])):
        drawn = [ldbe.draw_rank(classes) for _ in range(700)]
        assert set(drawn) == set(ranks)
        if len(ranks) == 7:
            assert max(abs(drawn.count(rank) - 100) for rank in ranks) < 35
    state = random.getstate()
    ldbe.draw_rank(19)
    after_one = random.getstate()
    random.setstate(state)
    random.randint(-3, 3)
    assert random.getstate() == after_one


def test_negative_learning_clamps_without_gradient() -> None:
    golden = load('05_ld_losses', 'clamp_')
    for p, log in zip(golden['p'], golden['log'], strict=True):
        prob = torch.tensor([0.0, 1.0]).mul(p).reshape(1, 2, 1, 1).requires_grad_()
        loss = ldbe.negative_learning(prob, 1)
        torch.testing.assert_close(loss.detach(), -log, rtol=1e-5, atol=1e-7)
        (grad,) = torch.autograd.grad(loss, prob)
        assert grad.flatten()[0] == 0 or p == 0
        assert bool(grad.any()) == bool(1 - p >= 1e-5)


def test_unknown_entropy_names_the_setting() -> None:
    with pytest.raises(ValueError, match=r"model\.entropy='shanon'"):
        method(LabelDenoising, entropy='shanon')
    with pytest.raises(ValueError, match=r"model\.entropy_pixels='some'"):
        method(LabelDenoising, entropy_pixels='some')


# ------------------------------------------------------------------------------------------------------- class mixing


def keys_for(label: Tensor, permutations: Tensor, num_classes: int = 19) -> Tensor:
    """Random keys that rank each sample's classes as the reference's permutation of the sorted ones does."""
    keys = torch.ones(len(label), num_classes + 1, dtype=torch.float64)
    for sample, (own, permutation) in enumerate(zip(label, permutations, strict=True)):
        classes = own.unique()
        for place, position in enumerate(permutation[permutation >= 0].tolist()):
            keys[sample, 0 if classes[position] == 255 else classes[position] + 1] = place / 100
    return keys


@pytest.mark.parametrize('case', ['b3', 'b2_single', 'b1', 'b2_ign'])
def test_class_mix_golden(case: str) -> None:
    golden = load('06_class_mix', f'{case}_')
    image, label, conf = golden['image'], golden['label'], golden['conf']
    wanted = golden['mixed_image'], golden['mixed_label'], golden['mixed_conf']
    chosen, mask, mixes = plain.class_mix(image, label, conf, golden['perm'].numpy())
    assert [sorted(c) for c in chosen] == [sorted(row[row >= 0].tolist()) for row in golden['selected']]
    assert torch.equal(mask.long(), golden['mask'])
    for found in (mixes, ldbe.class_mix(image, label, conf, keys_for(label, golden['perm']))):
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_fast_class_mix_equals_the_plain_form() -> None:
    rng = np.random.default_rng(0)
    for number in range(60):
        size = number % 4 + 1
        label = torch.from_numpy(rng.integers(0, rng.integers(1, 8, (size, 1, 1)), (size, 6, 7)))
        image, conf = torch.rand(size, 3, 6, 7), torch.rand(size, 6, 7)
        counts = [len(own.unique()) for own in label]
        permutations = np.full((size, 8), -1)
        for row, count in zip(permutations, counts, strict=True):
            row[:count] = rng.permutation(count)
        _, _, wanted = plain.class_mix(image, label, conf, permutations)
        found = ldbe.class_mix(image, label, conf, keys_for(label, torch.from_numpy(permutations)))
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_half_of_the_classes_is_drawn_uniformly() -> None:
    torch.manual_seed(0)
    pool = torch.zeros(3000, 20, dtype=torch.bool)
    pool[:, [1, 6, 9, 12, 19]] = True
    drawn = draw_classes(pool, torch.rand(3000, 20))
    assert (drawn.sum(1) == 2).all()
    assert (drawn.float().mean(0)[[1, 6, 9, 12, 19]] - 0.4).abs().max() < 0.04
    assert not draw_classes(pool[:, :2], torch.rand(3000, 2)).any()  # one class: the sample shows its partner
    assert draw_classes(pool[:, :2], torch.rand(3000, 2), at_least=1)[:, 1].all()


# ----------------------------------------------------------------------------------------------- boundary enhancement


@pytest.mark.parametrize('case', ['basic', 'zero_pix', 'ignore', 'all_ignored', 'none_confident'])
def test_boundary_enhancement_golden(case: str) -> None:
    golden = load('07_be_loss', f'{case}_')
    leaf = golden['logits'].requires_grad_()
    label = torch.where(golden['label'] < 0, 255, golden['label'])
    loss = ldbe.confidence_weighted_cross_entropy(leaf, label, golden['conf'], 0.97)
    (grad,) = torch.autograd.grad(loss, leaf)
    reference = plain.boundary_enhancement(golden['logits'], golden['label'], golden['conf'])
    torch.testing.assert_close(reference.detach(), golden['loss'], rtol=1e-5, atol=0, equal_nan=True)
    if case == 'all_ignored':
        assert loss == 0
        assert not grad.any()
    else:
        close(loss, golden['loss'], 1e-5)
        close(grad, golden['grad'], 1e-4)


def test_the_threshold_itself_is_confident() -> None:
    logits, label = torch.zeros(1, 3, 1, 2), torch.zeros(1, 1, 2, dtype=torch.long)
    for confidence, share in ((0.97, 0.5), (0.9699999, 0.0)):
        conf = torch.tensor([[[confidence, 0.5]]])
        loss = ldbe.confidence_weighted_cross_entropy(logits, label, conf, 0.97)
        assert float(loss) == pytest.approx(share * math.log(3))


def golden_networks(model: BoundaryEnhancement, golden: dict[str, Tensor], stage: str = '') -> None:
    """Give student and teacher the weights that the golden file has under ``student<stage>``, ``teacher<stage>``."""
    for name, network in (('student', model.student), ('teacher', model.teacher.model)):
        network.load_state_dict(
            {
                key.replace(f'{name}{stage}.', '').replace('cls', 'decode_head.cls')
                if 'cls' in key
                else f'backbone.{key.removeprefix(f"{name}{stage}.")}': value
                for key, value in golden.items()
                if key.startswith(f'{name}{stage}.')
            }
        )


def named(network: nn.Module) -> dict[str, Tensor]:
    """A network's state by the golden's names."""
    return {key.split('.', 1)[1]: value for key, value in network.state_dict().items()}


def test_boundary_enhancement_iteration_golden() -> None:
    golden = load('08_be_iteration')
    model = method(
        BoundaryEnhancement, teacher=dict(momentum=0.01, warm_up=True, copy_buffers_every=None, mode='train')
    )
    golden_networks(model, golden)
    model.teacher.steps = int(golden['ema_step'])
    image, selected = golden['images'], golden['plabel']

    label, conf = model.dense_labels(image, selected)
    assert torch.equal(label, golden['teacher_filled_label'])
    close(conf, golden['teacher_filled_conf'], 1e-5)
    keys = keys_for(label, golden['perm'])
    mixed = ldbe.class_mix(image, label, conf, keys)
    assert torch.equal(mixed[0], golden['mixed_image'])
    assert torch.equal(mixed[1], golden['mixed_label'])
    close(mixed[2], golden['mixed_conf'], 1e-5)

    golden_networks(model, golden)  # the statistics before that pass
    batch = {'target': dict(image=image, label=selected, keys=keys)}
    ((part, terms),) = model.parts(batch)
    assert part == 'tgt'
    close(terms['loss_mixed'], golden['loss'], 1e-5)
    terms['loss_mixed'].backward()
    for name, parameter in model.student.named_parameters():
        close(parameter.grad, golden[f'grad.{name.split(".", 1)[1]}'], 1e-4)
    assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())
    for name, network in (('student', model.student), ('teacher', model.teacher.model)):
        for key, value in named(network).items():
            if f'{name}_after.{key}' in golden:
                close(value, golden[f'{name}_after.{key}'], 1e-4)

    with torch.no_grad():
        for parameter in model.student.parameters():
            parameter -= float(golden['sgd_lr']) * parameter.grad
    model.teacher.update(model.student)
    for name, stage, network in (('student', 'stepped', model.student), ('teacher', 'ema', model.teacher.model)):
        for key, value in named(network).items():
            if f'{name}_{stage}.{key}' in golden:
                close(value, golden[f'{name}_{stage}.{key}'], 1e-4)


def test_dense_labels_equal_the_plain_form() -> None:
    torch.manual_seed(0)
    model = method(BoundaryEnhancement, teacher=dict(mode='train'))
    image = torch.randn(2, 3, 24, 32)
    selected = torch.where(torch.rand(2, 24, 32) < 0.4, torch.randint(0, 19, (2, 24, 32)), 255)
    logits = model.teacher.model.decode_head(model.teacher.model.extract_feat(image))
    wanted = plain.dense_labels(model.upsample(logits, image), selected)
    found = model.dense_labels(image, selected)
    assert torch.equal(found[0], wanted[0])
    torch.testing.assert_close(found[1], wanted[1])
    assert (found[1][selected != 255] == 1).all()


def test_pseudo_labels_are_asked_for() -> None:
    with pytest.raises(ValueError, match=r'run the recipe .*target\.label_dir'):
        next(method(LabelDenoising).parts({'target': dict(image=torch.zeros(1, 3, 24, 32))}))


def test_predictions_are_interpolated_twice_with_aligned_corners() -> None:
    """LDBE spec 1.3: to the network's input size, then to the label's."""
    torch.manual_seed(0)
    head = dict(type='mmuda.SummedASPPHead', in_channels=8, in_index=0, num_classes=19, align_corners=True)
    model = method(LabelDenoising, decode_head=head).eval()
    image = torch.randn(1, 3, 24, 32)
    sample = SegDataSample(metainfo=dict(img_shape=(24, 32), ori_shape=(61, 83)))
    (found,) = model.predict(image, [sample])
    wanted = model.main_head(image)
    for size in ((24, 32), (61, 83)):
        wanted = F.interpolate(wanted, size=size, mode='bilinear', align_corners=True)
    assert torch.equal(found.pred_sem_seg.data, wanted.argmax(1))


def test_boundary_enhancement_needs_a_teacher() -> None:
    with pytest.raises(ValueError, match=r'BoundaryEnhancement needs model\.teacher'):
        method(BoundaryEnhancement)


# -------------------------------------------------------------------------------------------------------- the teacher


def test_teacher_golden() -> None:
    golden = load('09_ema')
    student = nn.Sequential(nn.Linear(11, 1), nn.BatchNorm1d(2, affine=False))
    assert sum(p.numel() for p in student.parameters()) == golden['student'].shape[1]
    teacher = MeanTeacher(student, momentum=1 - float(golden['alpha']), warm_up=True, copy_buffers_every=None)
    for step, (row, wanted) in enumerate(zip(golden['student'], golden['ema'], strict=True)):
        assert plain.decay(step) == pytest.approx(float(golden['decay'][step]), abs=1e-12)
        nn.utils.vector_to_parameters(row, student.parameters())
        student[1].running_mean.fill_(step + 1.0)
        teacher.update(student)
        found = nn.utils.parameters_to_vector(teacher.model.parameters())
        close(found, wanted, 1e-5)
        if step < 100:
            close(found, golden['student'][: step + 1].mean(0), 1e-5)
    assert torch.equal(teacher.model[1].running_mean, golden['teacher_running_mean_after'])


def test_teacher_counts_on_after_a_resume() -> None:
    student = nn.Linear(2, 1)
    settings = dict(momentum=0.01, warm_up=True)
    teacher = MeanTeacher(student, **settings)
    for _ in range(3):
        teacher.update(student)
    again = MeanTeacher(student, **settings)
    again.load_state_dict(teacher.state_dict())
    nn.init.zeros_(again.model.weight)
    nn.init.ones_(student.weight)
    again.update(student)
    torch.testing.assert_close(again.model.weight.detach(), torch.full((1, 2), 0.25))


def test_mode_of_the_teacher() -> None:
    for mode in ('train', 'eval'):
        model = method(BoundaryEnhancement, teacher=dict(mode=mode))
        for switch in (model.train, model.eval, model.train):  # a validation in between
            switch()
            norm = model.teacher.model.backbone.bn
            assert norm.training == (model.training and mode == 'train')
            assert model.student.backbone.bn.training == model.training
    with pytest.raises(ValueError, match=r"model\.teacher\.mode='frozen'"):
        method(BoundaryEnhancement, teacher=dict(mode='frozen'))
