"""HIAST's losses and steps against the reference's numbers and their plain form (HIAST spec 4, 5 and 10)."""

import math
from pathlib import Path

import numpy as np
import plain_hiast as plain
import pytest
import torch
import toy_networks
from torch import Tensor, nn

from mmuda.engine.optimizers import NetworkOptimConstructor
from mmuda.models.uda import HIAST, IAST
from mmuda.models.uda.hiast import REGIONS, region_adaptive_loss
from mmuda.models.uda.teacher import MeanTeacher

GOLDEN = Path(__file__).parents[1] / 'golden/hiast'
WEIGHTS = 1.0, 0.1, 1.0, 0.5
# weights of the terms whose region has no pixel
EMPTY = {'all_ignored': (1.0, 0.1, 0.0, 0.0), 'none_ignored': (0.0, 0.0, 1.0, 0.5)}
CASES = ('mixed', 'one_image_ignored', 'all_ignored', 'none_ignored', 'one_confident_pixel', 'c19', 'saturated')


def load(case: str) -> dict[str, Tensor]:
    """The arrays of a case of the golden losses."""
    arrays = {k.removeprefix(f'{case}/'): v for k, v in np.load(GOLDEN / 'losses.npz').items() if k.startswith(case)}
    return {k: torch.from_numpy(v.astype(np.int64) if v.dtype == np.uint8 else v) for k, v in arrays.items()}


def evaluate(logits: Tensor, *args: object) -> tuple[Tensor, Tensor, Tensor]:
    """The total, its terms, and the gradient."""
    leaf = logits.clone().requires_grad_()
    total, terms = region_adaptive_loss(leaf, *args)
    assert not terms.requires_grad
    return total.detach(), terms, torch.autograd.grad(total, leaf)[0]


# ------------------------------------------------------------------------------------------------------------- losses


@pytest.mark.parametrize('case', CASES)
def test_losses_golden(case: str) -> None:
    golden = load(case)
    logits, teacher, label = golden['logits'], golden['teacher_logits'], golden['pseudo_label']
    total, terms, grad = evaluate(logits, label, WEIGHTS, teacher)
    names = ('target_seg', 'kld_confident', 'ent_ignored', 'cst')
    wanted = torch.stack([golden[f'weighted_{name}_loss'] for name in names]).float()
    if case == 'saturated':  # the reference divides by non-zero elements
        wanted[3] = 0.5 * 42.539
        torch.testing.assert_close(terms, wanted, rtol=2e-5, atol=1e-6)
    else:
        torch.testing.assert_close(terms, wanted.nan_to_num(0.0), rtol=1e-5, atol=1e-6)  # an empty region counts 0
    torch.testing.assert_close(total, terms.sum())
    assert torch.isfinite(grad).all()
    if case in EMPTY:
        assert not evaluate(logits, label, EMPTY[case], teacher)[2].any()
    if 'grad_total' in golden and case != 'saturated':
        torch.testing.assert_close(grad, golden['grad_total'], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('case', CASES)
def test_plain_form_golden(case: str) -> None:
    golden = load(case)
    logits, teacher, label = golden['logits'], golden['teacher_logits'], golden['pseudo_label']
    for name, found in (
        ('ce', plain.cross_entropy(logits, label)),
        ('kld', plain.kld_to_uniform(logits, label)),
        ('entropy', plain.entropy(logits, label)),
        *((f'softce_{where}', plain.consistency(logits, teacher, label, where)) for where in REGIONS),
    ):
        if case != 'saturated' or 'softce' not in name:
            torch.testing.assert_close(found, golden[f'raw_{name}'].float(), rtol=1e-5, atol=1e-7, equal_nan=True)


@pytest.mark.parametrize('region', REGIONS)
def test_the_fast_form_equals_the_plain_one(region: str) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, teacher = 5 * torch.randn(2, 3, 19, 11, 13, generator=generator)
    label = torch.where(torch.rand(3, 11, 13, generator=generator) < 0.4, 255, torch.arange(13) + 3)
    weights = 0.9, 0.3, 2.0, 0.7
    total, terms, grad = evaluate(logits, label, weights, teacher, region)
    leaf = logits.clone().requires_grad_()
    wanted = (
        plain.cross_entropy(leaf, label),
        plain.kld_to_uniform(leaf, label),
        plain.entropy(leaf, label),
        plain.consistency(leaf, teacher, label, region),
    )
    wanted = torch.stack([weight * term for weight, term in zip(weights, wanted, strict=True)])
    torch.testing.assert_close(terms, wanted.detach(), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(total, wanted.sum().detach(), rtol=1e-5, atol=0)
    torch.testing.assert_close(grad, torch.autograd.grad(wanted.sum(), leaf)[0], rtol=1e-4, atol=1e-8)
    three = evaluate(logits, label, weights[:3])
    torch.testing.assert_close(three[1], terms[:3])


def test_the_derivative_is_that_of_the_value() -> None:
    torch.manual_seed(0)
    logits, teacher = torch.randn(2, 1, 3, 2, 2, dtype=torch.float64)
    label = torch.tensor([[[0, 255], [2, 255]]])
    for region in REGIONS:
        torch.autograd.gradcheck(
            lambda z, region=region: region_adaptive_loss(z, label, WEIGHTS, teacher, region)[0],
            logits.requires_grad_(),
        )


def test_impossible_classes_shrink_the_entropy() -> None:
    """Its divisor counts the classes (the reference's scaling, to which its weights belong)."""
    torch.manual_seed(0)
    logits, label = torch.randn(1, 5, 4, 4), torch.full((1, 4, 4), 255)
    more = torch.cat([logits, torch.full((1, 5, 4, 4), -200.0)], 1)
    (_, few, _), (_, many, _) = (evaluate(z, label, WEIGHTS[:3]) for z in (logits, more))
    torch.testing.assert_close(many[2], few[2] / 2)
    entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean() / 5
    torch.testing.assert_close(few[2], entropy)


def test_what_is_kept_for_the_way_back() -> None:
    """One tensor of the logits' size; the plain form keeps more than twice as much."""

    def kept(function) -> int:
        sizes = {}
        leaf = torch.randn(2, 19, 16, 16).requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.__setitem__(t.untyped_storage().data_ptr(), t.untyped_storage().nbytes()) or t, lambda t: t
        ):
            function(leaf)
        return sum(sizes.values())

    label, teacher = torch.randint(0, 2, (2, 16, 16)) * 255, torch.randn(2, 19, 16, 16)
    fast = kept(lambda z: region_adaptive_loss(z, label, WEIGHTS, teacher))

    def separate(z: Tensor) -> Tensor:
        terms = plain.cross_entropy(z, label), plain.kld_to_uniform(z, label), plain.entropy(z, label)
        return sum(terms) + plain.consistency(z, teacher, label)

    assert fast == 2 * 19 * 16 * 16 * 4
    assert fast <= 0.4 * kept(separate)


# -------------------------------------------------------------------------------------------------------------- steps


def method(kind: type, **settings: object) -> HIAST | IAST:
    torch.manual_seed(0)
    student = toy_networks.student((3, 6, 6), num_classes=5, kernel=3)
    return kind(student=student, data_preprocessor=dict(type='mmuda.DomainDataPreprocessor'), **settings).train()


def batch(number: int) -> dict:
    generator = torch.Generator().manual_seed(number)
    weak, strong = torch.randn(2, 2, 3, 25, 41, generator=generator)
    label = torch.where(torch.rand(2, 25, 41, generator=generator) < 0.4, 255, 2)
    if number == 2:
        label[1] = 255
    return {'target': dict(image=weak, strong=strong, label=label)}


def test_iterations_equal_a_plain_loop() -> None:
    """Five steps: teacher in eval mode on the weak view, Adam with L2, then the average; its buffers are copies."""
    model = method(HIAST, teacher=dict(momentum=0.1))
    student, teacher = (method(HIAST, teacher=dict(momentum=0.1)).student for _ in range(2))
    teacher.eval()
    rules = dict(rules=[dict(match='decode_head', lr_mult=10)])
    settings = dict(optimizer=dict(type='Adam', lr=1e-3, weight_decay=5e-4))
    wrapper = NetworkOptimConstructor(settings, rules)(model)
    groups = [
        dict(params=[p for p in student.backbone.parameters() if p.requires_grad], lr=1e-3),
        dict(params=list(student.decode_head.parameters()), lr=1e-2),
    ]
    adam = torch.optim.Adam(groups, weight_decay=5e-4)
    for number in range(5):
        log = model.train_step(batch(number), wrapper)
        target = batch(number)['target']

        def logits(network: nn.Module, image: Tensor) -> Tensor:
            low = network.decode_head(network.backbone(image))
            return nn.functional.interpolate(low, size=image.shape[-2:], mode='bilinear', align_corners=True)

        with torch.no_grad():
            q = logits(teacher, target['image'])
        z, label = logits(student, target['strong']), target['label']
        terms = {
            'cross_entropy': plain.cross_entropy(z, label),
            'kld': 0.1 * plain.kld_to_uniform(z, label),
            'entropy': plain.entropy(z, label),
            'consistency': 0.5 * plain.consistency(z, q, label),
        }
        adam.zero_grad()
        sum(terms.values()).backward()
        adam.step()
        with torch.no_grad():
            for mine, its in zip(teacher.parameters(), student.parameters(), strict=True):
                mine.mul_(0.9).add_(its, alpha=0.1)
            for mine, its in zip(teacher.buffers(), student.buffers(), strict=True):
                mine.copy_(its)
        for name, term in terms.items():
            assert log[f'tgt.{name}'].item() == pytest.approx(term.item(), rel=1e-5), name
        assert log['loss'].item() == pytest.approx(sum(terms.values()).item(), rel=1e-5)
        for found, wanted in ((model.student, student), (model.teacher.model, teacher)):
            for name, value in wanted.state_dict().items():
                torch.testing.assert_close(found.state_dict()[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_statistics_move_and_the_affine_part_does_not() -> None:
    model = method(HIAST, teacher=dict(momentum=0.1))
    norm = next(m for m in model.student.modules() if isinstance(m, nn.BatchNorm2d))
    weight, mean = norm.weight.clone(), norm.running_mean.clone()
    settings = dict(optimizer=dict(type='Adam', lr=1e-3, weight_decay=5e-4))
    model.train_step(batch(0), NetworkOptimConstructor(settings)(model))
    assert torch.equal(norm.weight, weight)
    assert not torch.equal(norm.running_mean, mean)
    for its, own in zip(model.teacher.model.buffers(), model.student.buffers(), strict=True):
        assert torch.equal(its, own)
    assert all(p.grad is None for p in model.teacher.parameters())


def test_the_predecessor_has_no_teacher() -> None:
    model = method(IAST)
    assert model.teacher is None
    ((part, terms),) = model.parts(batch(0))
    assert part == 'tgt'
    image, label = batch(0)['target']['image'], batch(0)['target']['label']
    model.eval()
    z = model.upsample(model.main_head(image), image)
    ((_, terms),) = model.parts(batch(0))
    assert terms['entropy'].item() == pytest.approx(3 * plain.entropy(z, label).item(), rel=1e-5)
    assert terms['kld'].item() == pytest.approx(0.1 * plain.kld_to_uniform(z, label).item(), rel=1e-5)
    assert 'consistency' not in terms


def test_ema_golden() -> None:
    golden = {k: torch.from_numpy(v) for k, v in np.load(GOLDEN / 'ema.npz').items()}

    def state(name: str) -> dict[str, Tensor]:
        return {k.removeprefix(f'{name}/'): v for k, v in golden.items() if k.startswith(f'{name}/')}

    student = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    student.load_state_dict(state('init'))
    teacher = MeanTeacher(student)
    for number, gamma in enumerate(golden['gamma'].tolist()):
        student.load_state_dict(state(f'student_{number}'))
        teacher.momentum = 1 - gamma
        teacher.update(student)
        for name, value in state(f'teacher_{number}').items():
            torch.testing.assert_close(teacher.model.state_dict()[name], value, rtol=1e-6, atol=1e-6)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r'needs model\.teacher'):
        method(HIAST)
    with pytest.raises(ValueError, match=r"model\.consistency_region='every'"):
        method(HIAST, teacher={}, consistency_region='every')
    model = method(HIAST, teacher={})
    with pytest.raises(ValueError, match=r'mmuda\.StrongView'):
        next(model.parts({'target': {key: value for key, value in batch(0)['target'].items() if key != 'strong'}}))
    assert math.isfinite(next(model.parts(batch(2)))[1]['loss'].item())
