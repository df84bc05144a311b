"""HIAST's selectors and statistics against the golden numbers and their plain form (HIAST spec 6.1 and 10)."""

import zlib

import numpy as np
import plain_hiast as plain
import pytest
import torch
from helpers import load_golden

from mmuda.offline.predictions import Enlarger, Scores
from mmuda.offline.pseudo_labels import class_confidence
from mmuda.offline.quantiles import HALF_VALUES, half_counts, half_quantiles
from mmuda.offline.selectors import (
    FixedThreshold,
    HalfClassBalanced,
    InstanceAdaptive,
    Selector,
    at_least,
    build_selector,
    confidence,
)

GOLDEN = load_golden('hiast', 'ias_pseudo_labels')
SETTINGS = ('ias_hiast', 'ias_iast_round1', 'ias_gamma0_beta0', 'ias_clamp')
BATCHES = [[0, 1], [2, 3], [4, 5], [6, 7], [8]]


def images(case: str) -> list[Scores]:
    """The nine images of a setting in processing order."""
    batches = [GOLDEN.get(f'{case}/logits_{i}', GOLDEN[f'in/logits_{i}']) for i in range(5)]
    maps = torch.from_numpy(np.concatenate(batches))
    return [Scores(i, one[None], (10, 16), (10, 16), Enlarger(align_corners=True)) for i, one in enumerate(maps)]


def look(selector: Selector, maps: list[Scores]) -> None:
    selector.start(6, 'cpu')
    for _ in range(selector.looks):
        for one in reversed(maps):  # whoever comes first
            selector.observe(one)
        selector.merge()


def golden_selector(case: str) -> Selector:
    if case in SETTINGS:
        alpha, beta, gamma = GOLDEN[f'{case}/alpha_beta_gamma']
        return InstanceAdaptive(alpha=alpha, beta=beta, gamma=gamma, seed=None)
    share, stride = GOLDEN['cbst/p_interval']
    return {
        'ct': FixedThreshold(threshold=float(GOLDEN['ct/threshold']), at='network', seed=None),
        'nt': FixedThreshold(threshold=0, at='network', seed=None),
        'cbst': HalfClassBalanced(prop=share, stride=int(stride), seed=None),
    }[case]


@pytest.mark.parametrize('case', [*SETTINGS, 'ct', 'nt', 'cbst'])
def test_labels_and_statistics_golden(case: str) -> None:
    maps, selector = images(case), golden_selector(case)
    look(selector, maps)
    assert selector.batches(9) == BATCHES
    labels, confs = (torch.stack(found).numpy() for found in zip(*(selector.select(one) for one in maps), strict=True))
    assert np.array_equal(labels, GOLDEN[f'{case}/pseudo_label'])

    pixels = np.stack([np.bincount(label.ravel(), minlength=256)[:6] for label in labels])
    assert np.array_equal(pixels.T, GOLDEN[f'{case}/pixels_per_class_and_image'])
    assert np.array_equal(pixels.sum(0), GOLDEN[f'{case}/class_pixel_count'])
    sums = np.stack([np.bincount(y.ravel(), p.ravel(), minlength=256)[:6] for y, p in zip(labels, confs, strict=True)])
    for number in range(5):
        found = class_confidence(torch.from_numpy(pixels), torch.from_numpy(sums), BATCHES[: number + 1])
        wanted = GOLDEN[f'{case}/class_mean_prob_after_batch'][number]
        np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=2e-7)  # the reference adds in single precision
    if case in SETTINGS:
        wanted = GOLDEN[f'{case}/threshold_after_batch']
        np.testing.assert_allclose(selector.trajectory, wanted, rtol=0, atol=1e-7)
        assert selector.report()['thresholds'] == selector.trajectory[-1].tolist()
        assert len(selector.report()['threshold_after_batch']) == 5
    if case == 'cbst':
        wanted = GOLDEN['cbst/threshold_after_batch'][-1]
        there = pixels.sum(0) > 0
        np.testing.assert_allclose(selector.thresholds.numpy()[there], wanted[there], rtol=1e-6)
        assert selector.thresholds[0] == 1  # rounding: selects nothing


def test_plain_form_golden() -> None:
    for case in SETTINGS:
        alpha, beta, gamma = GOLDEN[f'{case}/alpha_beta_gamma']
        threshold, values = np.full(6, 0.9), np.zeros(6)
        for number, batch in enumerate(BATCHES):
            logits = GOLDEN.get(f'{case}/logits_{number}', GOLDEN[f'in/logits_{number}'])
            conf, label = plain.confident(torch.from_numpy(logits))
            found = plain.instance_threshold(conf, label, threshold, alpha, gamma)
            np.testing.assert_allclose(found, GOLDEN[f'{case}/instance_threshold'][number], atol=1e-7)
            threshold = plain.next_threshold(threshold, found, beta)
            chosen = np.stack([plain.select(p, y, threshold) for p, y in zip(conf, label, strict=True)])
            assert np.array_equal(chosen, GOLDEN[f'{case}/pseudo_label'][batch])
            values = plain.class_values(values, conf, chosen)
            wanted = GOLDEN[f'{case}/class_mean_prob_after_batch'][number]
            np.testing.assert_allclose(values, wanted, rtol=0, atol=2e-7)
            counts = np.array([plain.pixel_counts(label, 6) for label in chosen]).T
            assert np.array_equal(counts, GOLDEN[f'{case}/pixels_per_class_and_image'][:, batch])


def test_single_thresholds_golden() -> None:
    offsets = GOLDEN['unit/offsets']
    for row, (old, alpha, gamma, as32, as64) in enumerate(GOLDEN['unit/old_alpha_gamma_result32_result64']):
        values = torch.from_numpy(GOLDEN['unit/values'][offsets[row] : offsets[row + 1]]).float()
        counts = half_counts(values, torch.zeros(len(values), dtype=torch.uint8), 1).numpy()
        (found,) = half_quantiles(counts, np.array([1 - alpha * old**gamma]), np.array([old]))
        assert found == pytest.approx(as64, abs=1e-12)
        assert np.float32(found) == pytest.approx(as32, abs=1e-7)


def test_quantiles_equal_numpys() -> None:
    """Bit by bit, with and without one more value, for few values and many, tied and not."""
    rng = np.random.default_rng(0)
    for number in range(48):
        count = [0, 1, 2, 3, 50, 400][number % 6]
        conf = rng.random((20, count)).astype(np.float32) ** rng.choice([0.01, 1.0])
        conf = conf.round(1 + number % 3) if number % 2 else conf
        label = np.repeat(np.arange(20)[:, None], count, 1)
        counts = half_counts(torch.from_numpy(conf), torch.from_numpy(label), 20).numpy()
        assert counts.shape == (20, HALF_VALUES)
        share, extra = rng.choice([rng.random(20), np.zeros(20), np.ones(20)]), rng.random(20)
        half = conf.astype(np.float16).astype(np.float64)
        wanted = [np.quantile([*own, one], q) for own, one, q in zip(half, extra, share, strict=True)]
        assert half_quantiles(counts, share, extra).tolist() == wanted
        if count:
            wanted = [np.quantile(own, q) for own, q in zip(half, share, strict=True)]
            assert half_quantiles(counts, share).tolist() == wanted
        else:
            assert half_quantiles(counts, share).tolist() == [np.inf] * 20


def test_the_fast_form_equals_the_plain_one() -> None:
    """On random images, one class absent, in a drawn order."""
    generator = torch.Generator().manual_seed(0)
    maps = 3 * torch.randn(7, 6, 8, 9, generator=generator)
    maps[:, 3] = -50
    scores = [Scores(i, one[None], (20, 30), (40, 60), Enlarger(align_corners=True)) for i, one in enumerate(maps)]
    selector = InstanceAdaptive(seed=1)
    look(selector, scores)
    batches = selector.batches(7)
    assert sorted(index for batch in batches for index in batch) == list(range(7))
    assert [len(batch) for batch in batches] == [2, 2, 2, 1]
    assert batches != InstanceAdaptive(seed=2).batches(7)
    assert batches == InstanceAdaptive(seed=1).batches(7)
    threshold = np.full(6, 0.9)
    for batch, after in zip(batches, selector.trajectory, strict=True):
        logits = torch.nn.functional.interpolate(maps[batch], size=(20, 30), mode='bilinear', align_corners=True)
        conf, label = plain.confident(logits)
        found = plain.instance_threshold(conf, label, threshold, 0.5, 8.0)
        threshold = plain.next_threshold(threshold, found, 0.9)
        assert threshold.tolist() == after.tolist()
        for index, p, y in zip(batch, conf, label, strict=True):
            assert np.array_equal(selector.select(scores[index])[0], plain.select(p, y, threshold))
    assert selector.trajectory[-1][3] == pytest.approx(0.9, abs=1e-6)  # absent: keeps it, to single precision


def test_limits_in_single_precision() -> None:
    rng = np.random.default_rng(0)
    limits = rng.random(1000)
    near = limits.astype(np.float32)
    for values in (near, np.nextafter(near, np.float32(0)), np.nextafter(near, np.float32(1))):
        assert np.array_equal(torch.from_numpy(values) >= at_least(limits), values.astype(np.float64) >= limits)


def test_what_is_kept_of_an_image_is_small() -> None:
    logits = 4 * torch.randn(1, 19, 9, 17, generator=torch.Generator().manual_seed(0))
    selector = InstanceAdaptive()
    selector.start(19, 'cpu')
    selector.observe(Scores(0, logits, (256, 512), (512, 1024), Enlarger(align_corners=True)))
    assert len(selector.counts[0]) < 60_000
    assert np.frombuffer(zlib.decompress(selector.counts[0]), np.int32).sum() == 256 * 512


def test_class_balanced_without_a_class_selects_nothing_of_it() -> None:
    maps = images('in')
    selector = HalfClassBalanced(prop=0.5, seed=None)
    look(selector, maps)
    assert selector.report()['thresholds'][4] is None
    assert all(4 not in selector.select(one)[0] for one in maps)


def test_confidence_of_a_class_that_is_never_selected() -> None:
    pixels, sums = torch.tensor([[3, 0], [0, 0], [2, 0]]), torch.tensor([[2.4, 0], [0, 0], [1.0, 0]]).double()
    found = class_confidence(pixels, sums, [[0], [1], [2]])
    assert found.tolist() == pytest.approx([0.99 * 0.8 + 0.01 * 0.5, 0])


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ({'type': 'InstanceAdaptive', 'alpha': 0}, 'selector.alpha=0: give a share'),
        ({'type': 'InstanceAdaptive', 'beta': 1}, 'selector.beta=1: give a share of 0 or more, below 1'),
        ({'type': 'HalfClassBalanced', 'prop': 2}, 'selector.prop=2'),
        ({'type': 'HalfClassBalanced', 'stride': 0}, 'selector.stride=0'),
        ({'type': 'FixedThreshold', 'threshold': 1.5}, 'selector.threshold=1.5: give a probability'),
        ({'type': 'FixedThreshold', 'batch_size': 0}, 'selector.batch_size=0'),
    ],
)
def test_mistakes(config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_selector(config)


def test_ties_between_classes() -> None:
    logits = torch.zeros(1, 6, 2, 2)
    one = Scores(0, logits, (2, 2), (2, 2), Enlarger(align_corners=True))
    conf, label = confidence(one.at_input())
    assert (label == 0).all()
    selector = InstanceAdaptive(seed=None)
    look(selector, [one])
    assert (selector.select(one)[0] == 255).all()
    assert (conf < 0.2).all()
