"""The contrast of two views: golden numbers, and the fast form against the plain one (EHTDI spec 4.4, 10 point 16)."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from plain_ehtdi import contrast as plain_contrast
from torch.utils._python_dispatch import TorchDispatchMode

from mmuda.models.losses import class_prototypes, probability_contrast, prototype_contrast

GOLDEN = Path(__file__).parents[1] / 'golden' / 'ehtdi'
PROTO_SCALE, PIXEL_SCALE = 7.0, 20.0
CASES = ['many', 'one_class', 'all_ignored', 'single_pixel', 'saturated', 'sixteen']


def plain_prototypes(logits, label):
    """The mean logits of each class present, class by class."""
    present = [c for c in label.unique().tolist() if c != 255]
    return torch.stack([logits[:, label == c].mean(1) for c in present]) if present else None


def plain_prototype_contrast(student, other, label, scale):
    rows = plain_prototypes(student, label), plain_prototypes(other, label)
    if rows[0] is None:
        return None
    return plain_contrast(rows[0].softmax(1), rows[1].softmax(1), scale)


def probabilities(logits):
    return logits.flatten(1).T.softmax(1)


def shrink(label, like):
    return F.interpolate(label[None, None].float(), size=like.shape[-2:], mode='nearest')[0, 0].long()


def read(case):
    golden = {key.removeprefix(f'{case}/'): value for key, value in np.load(GOLDEN / 'nce.npz').items()}
    label = torch.from_numpy(golden['label'])
    label = torch.where(label < 0, 255, label)
    student, other = (torch.from_numpy(golden[view])[0].requires_grad_() for view in ('strong', 'weak'))
    return golden, shrink(label, student), student, other


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('form', ['fast', 'plain'])
def test_golden(case, form):
    golden, label, student, other = read(case)
    if form == 'fast':
        proto = prototype_contrast(student, other, label, PROTO_SCALE)
        pixel = probability_contrast(probabilities(student), probabilities(other), PIXEL_SCALE)
    else:
        proto = plain_prototype_contrast(student, other, label, PROTO_SCALE)
        proto = torch.zeros(()) if proto is None else proto
        pixel = plain_contrast(probabilities(student), probabilities(other), PIXEL_SCALE)
    (proto + pixel).backward()
    # the reference leaves the term out when no class is present
    np.testing.assert_allclose(proto.item(), np.nan_to_num(golden['proto']), atol=1e-5)
    np.testing.assert_allclose(pixel.item(), golden['pixel'], atol=1e-5)
    np.testing.assert_allclose(student.grad, golden['grad_strong'][0], atol=1e-6)
    np.testing.assert_allclose(other.grad, golden['grad_weak'][0], atol=1e-6)


@pytest.mark.parametrize(('size', 'features'), [(512, 65), (24, 4)])
def test_nearest_rule(size, features):
    index = shrink(torch.arange(size).expand(size, size), torch.empty(features, features))[0]
    expected = np.load(GOLDEN / 'nce.npz')[f'nearest_idx_{size}_{features}']
    np.testing.assert_array_equal(index, expected)


@pytest.mark.parametrize('block_size', [1, 7, 10**6])
def test_blocks_do_not_matter(block_size):
    torch.manual_seed(0)
    views = torch.randn(2, 37, 9).mul_(3).softmax(2)
    results = []
    for contrast in (plain_contrast, lambda *args: probability_contrast(*args, block_size)):
        student, other = views[0].clone().requires_grad_(), views[1].clone().requires_grad_()
        loss = contrast(student, other, PIXEL_SCALE)
        (0.5 * loss).backward()
        results.append((loss.detach(), student.grad, other.grad))
    for plain, fast in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, rtol=0, atol=1e-6)


def test_one_pair_gives_nothing():
    student, other = torch.rand(2, 1, 5).softmax(2).requires_grad_()
    student.retain_grad()
    loss = probability_contrast(student, other, PIXEL_SCALE)
    loss.backward()
    assert loss == 0
    assert not student.grad.any()


@pytest.mark.parametrize('classes', [0, 1])
def test_too_few_classes_give_nothing(classes):
    logits = torch.randn(2, 4, 3, 3).requires_grad_()
    label = torch.full((3, 3), 255)
    label[0] = 2 if classes else 255
    loss = prototype_contrast(*logits, label, PROTO_SCALE)
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


def test_prototypes_are_class_means():
    torch.manual_seed(0)
    logits, label = torch.randn(6, 5, 7), torch.randint(0, 4, (5, 7))
    label[0, :3] = 255
    mean, present = class_prototypes(logits, label)
    assert present.tolist() == [True] * 4 + [False] * 2
    torch.testing.assert_close(mean[present], plain_prototypes(logits, label))


def test_half_precision_is_widened():
    torch.manual_seed(0)
    logits = torch.randn(2, 6, 5, 5)
    label = torch.randint(0, 6, (5, 5))
    rows = [probabilities(view) for view in logits]
    expected = probability_contrast(*rows, PIXEL_SCALE), prototype_contrast(*logits, label, PROTO_SCALE)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        inside = probability_contrast(*rows, PIXEL_SCALE), prototype_contrast(*logits, label, PROTO_SCALE)
    assert inside == expected
    assert prototype_contrast(*logits.bfloat16(), label, PROTO_SCALE).dtype == torch.float32


class _LargestTensor(TorchDispatchMode):
    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for item in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(item, torch.Tensor):
                self.elements = max(self.elements, item.numel())
        return out


def test_memory_is_one_block_of_rows():
    rows = torch.rand(2, 300, 5).softmax(2).requires_grad_()
    with _LargestTensor() as largest:
        probability_contrast(*rows, PIXEL_SCALE, block_size=16).backward()
    assert largest.elements == 16 * 600
