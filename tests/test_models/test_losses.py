"""Losses against the reference's numbers (DAF+IDA spec 4 and 10, points 10 to 13; HIAST spec 4)."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmuda.models.losses import (
    SOURCE,
    TARGET,
    berhu,
    binary_cross_entropy,
    cross_entropy,
    least_squares,
    mean_entropy,
    self_information,
)

GOLDEN = Path(__file__).parents[1] / 'golden'


@pytest.fixture(scope='module')
def golden() -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(value) for key, value in np.load(GOLDEN / 'daf_ida/losses.npz').items()}


def close(actual: torch.Tensor, expected: torch.Tensor, rtol: float = 1e-5) -> None:
    """The golden's tolerance: relative to the largest value."""
    torch.testing.assert_close(actual, expected.to(actual.dtype), rtol=0, atol=rtol * float(expected.abs().max()))


# --------------------------------------------------------------------------------------------------- cross entropy


@pytest.mark.parametrize('case', 'abcd')
def test_cross_entropy_golden(golden: dict, case: str) -> None:
    logits = golden[f'ce_{case}_logits'].requires_grad_()
    label = golden[f'ce_{case}_label'].long()
    loss = cross_entropy(logits, torch.where(label < 0, 255, label))
    loss.backward()
    if case == 'd':  # all ignored: the reference's loss is NaN
        assert loss == 0
    else:
        close(loss, golden[f'ce_{case}_loss'])
    close(logits.grad, golden[f'ce_{case}_grad'])


# ----------------------------------------------------------------------------------------------------------- berHu


@pytest.mark.parametrize('case', 'abce')
def test_berhu_golden(golden: dict, case: str) -> None:
    pred = golden[f'berhu_{case}_pred'].requires_grad_()
    loss = berhu(pred[:, 0], golden[f'berhu_{case}_target'])
    loss.backward()
    close(loss, golden[f'berhu_{case}_loss'])
    close(pred.grad, golden[f'berhu_{case}_grad'])


def test_berhu_of_a_perfect_prediction_is_zero(golden: dict) -> None:
    pred = golden['berhu_d_pred'].requires_grad_()
    loss = berhu(pred[:, 0], golden['berhu_d_target'])
    loss.backward()
    assert loss == 0
    assert torch.equal(pred.grad, torch.zeros_like(pred))


def test_berhu_has_one_threshold_for_the_batch() -> None:
    pred = torch.tensor([[10.0], [1.0]])
    both, zeros = berhu(pred, torch.zeros(2, 1)), torch.zeros(1, 1)
    torch.testing.assert_close(both, torch.tensor(((100 + 4) / 4 + 1) / 2))
    assert both != (berhu(pred[:1], zeros) + berhu(pred[1:], zeros)) / 2


# --------------------------------------------------------------------------------------------------------- entropy


def test_self_information_golden(golden: dict) -> None:
    close(self_information(golden['ent_logits']), golden['ent_map'])
    close(mean_entropy(golden['ent_logits']), golden['ent_loss'])
    close(self_information(golden['dam_logits_up']), golden['dam_entropy'])
    close(self_information((golden['ent_onehot_prob'] + 1e-30).log()), golden['ent_onehot_map'])
    hiast = np.load(GOLDEN / 'hiast/adversarial_warmup.npz')
    for case in 'ab':
        logits = torch.from_numpy(hiast[f'disc/{case}/prob'] + 1e-30).log()
        close(self_information(logits), torch.from_numpy(hiast[f'disc/{case}/entropy_map']))
        close(mean_entropy(logits), torch.tensor(float(hiast[f'disc/{case}/entropy_loss'])))


def test_self_information_of_known_pixels() -> None:
    uniform, certain = torch.zeros(1, 16, 1, 1), torch.zeros(1, 16, 1, 1)
    certain[0, 3] = 200.0
    torch.testing.assert_close(self_information(uniform), torch.full((1, 16, 1, 1), 1 / 16))
    assert (self_information(certain) == 0).all()
    probability = torch.linspace(0.001, 0.999, 999)
    largest = self_information(torch.stack([probability, 1 - probability]).log()[None, :, None])[:, 0].max()
    assert largest == pytest.approx(1 / (math.e * math.log(2)), abs=1e-5)  # the bound 0.53 / log2 C, at p = 1/e


def test_self_information_has_finite_gradients_when_saturated() -> None:
    logits = torch.tensor([200.0, -200.0, 0.0]).view(1, 3, 1, 1).requires_grad_()
    self_information(logits).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_depth_aware_map_golden(golden: dict) -> None:
    logits, depth = golden['dam_logits'].requires_grad_(), golden['dam_depth'].requires_grad_()
    size = tuple(golden['dam_size_hw'].tolist())
    up = [F.interpolate(x, size=size, mode='bilinear', align_corners=True) for x in (logits, depth)]
    information = self_information(up[0])
    close(information * up[1], golden['dam_source'])
    target = information * up[1].square()
    close(target, golden['dam_target'])
    (golden['dam_target_cotangent'] * target).sum().backward()
    close(logits.grad, golden['dam_grad_logits'])
    close(depth.grad, golden['dam_grad_depth'])


# ------------------------------------------------------------------------------------------------ the discriminator's


@pytest.mark.parametrize('label', [SOURCE, TARGET])
def test_binary_cross_entropy_golden(golden: dict, label: int) -> None:
    scores = golden['bce_logits'].clone().requires_grad_()
    loss = binary_cross_entropy(scores, label)
    loss.backward()
    close(loss, golden[f'bce_{label}_loss'])
    close(scores.grad, golden[f'bce_{label}_grad'])


def test_distances_of_scores_golden() -> None:
    hiast = np.load(GOLDEN / 'hiast/adversarial_warmup.npz')
    for case in 'ab':
        scores = torch.from_numpy(hiast[f'disc/{case}/out_softmax_input'])
        for name, distance in (('mse', least_squares), ('bce', binary_cross_entropy)):
            for domain, label in (('source', SOURCE), ('target', TARGET)):
                assert distance(scores, label).item() == pytest.approx(float(hiast[f'disc/{case}/{name}_{domain}']))
