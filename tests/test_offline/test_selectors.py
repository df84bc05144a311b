"""Selectors against the golden numbers and against their plain form, exactly."""

import numpy as np
import plain_ldbe as plain
import pytest
import torch
from helpers import load_golden
from torch import Tensor

from mmuda.offline.predictions import Enlarger, Scores
from mmuda.offline.quantiles import ClassQuantiles
from mmuda.offline.selectors import (
    SELECTORS,
    ClassBalanced,
    FixedThreshold,
    GlobalLocal,
    Selector,
    build_selector,
    confidence,
)

SHARES = (10, 15, 20, 50)


def scores(logits: Tensor, index: int = 0, input_size: tuple | None = None, label_size: tuple | None = None) -> Scores:
    """Scores of logits (C, h, w)."""
    input_size = input_size or tuple(logits.shape[1:])
    return Scores(index, logits[None], input_size, label_size or input_size, Enlarger(align_corners=True))


def look(selector: Selector, maps: list[Scores]) -> Selector:
    """What the offline step does before it labels."""
    selector.start(maps[0].logits.shape[1], 'cpu')
    for _ in range(selector.looks):
        for image in maps:
            selector.observe(image)
        selector.merge()
    return selector


def with_thresholds(values: np.ndarray, **settings: object) -> GlobalLocal:
    selector = GlobalLocal(**settings)
    selector.start(len(values), 'cpu')
    selector.thresholds = torch.from_numpy(values).float()
    return selector


def random_logits(shape: tuple, seed: int, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------------------------------------- golden


@pytest.mark.parametrize('share', SHARES)
def test_golden_thresholds(share: int) -> None:
    data = load_golden('ldbe', '02_intra_class_thresholds')
    maps = torch.from_numpy(data['logits'])
    selector = look(GlobalLocal(prop=share / 100), [scores(logits, i) for i, logits in enumerate(maps)])
    wanted = data[f'capped_{share}']
    there = ~np.isnan(wanted)
    np.testing.assert_allclose(selector.thresholds.numpy()[there], wanted[there], rtol=1e-6)
    assert selector.thresholds[~there].tolist() == [float('inf')]  # class 16; the reference raises on it
    assert selector.totals == data['subsample_count'].sum(0).tolist()
    assert selector.report()['thresholds'][16] is None
    if share < 50:
        assert selector.thresholds[15] == 1  # saturated: the cap is 1 in float32

    pooled = [[] for _ in range(19)]
    for logits in maps:
        for values, new in zip(pooled, plain.confident_values(logits[None]), strict=True):
            values.extend(new)
    found = torch.tensor(plain.thresholds(pooled, share / 100))
    np.testing.assert_allclose(found.numpy()[there], wanted[there], rtol=1e-6)
    assert torch.equal(found, selector.thresholds)


def test_golden_selection() -> None:
    data = load_golden('ldbe', '03_pseudo_labels')
    for i, logits in enumerate(torch.from_numpy(data['logits'])):
        count, label = plain.global_rule(logits[None], data['thresholds'].tolist())
        assert np.array_equal(count, data[f'cb_count_{i}'])
        assert np.array_equal(label, data[f'cb_plabel_{i}'])
        for share in (10, 15):
            mask, local = plain.local_rule(logits[None], share / 100)
            assert np.array_equal(mask, data[f'local_mask_{share}_{i}'])
            assert np.array_equal(local, data[f'local_plabel_{share}_{i}'])
            fused, fused_label = plain.fuse(count, mask, label, local)
            assert np.array_equal(fused, data[f'fused_mask_{share}_{i}'])
            assert np.array_equal(fused_label, data[f'fused_plabel_{share}_{i}'])
            selected = with_thresholds(data['thresholds'], prop=share / 100).select(scores(logits))[0]
            assert np.array_equal(selected, data[f'fused_plabel_{share}_{i}'])


def test_golden_rules() -> None:
    """A class other than the arg-max passes its threshold: selected by the reference's rule, not by the own class's."""
    data = load_golden('ldbe', '03_pseudo_labels')
    logits = torch.from_numpy(data['low_logits'])[0]
    no_local = 1e-9  # the image's own threshold would be its smallest value (T14), so 'clip' makes it the largest
    either = with_thresholds(data['low_thresholds'], prop=no_local, rank_zero='clip').select(scores(logits))[0]
    own = with_thresholds(data['low_thresholds'], prop=no_local, rank_zero='clip', rule='own_class')
    assert np.array_equal(either, data['low_cb_plabel'])
    own_mask = own.select(scores(logits))[0].numpy() != 255
    assert np.array_equal(own_mask, data['low_own_class_mask'])
    assert ((either.numpy() != 255) & ~own_mask).sum() == 25


@pytest.mark.parametrize(('name', 'share', 'selected'), [('tiny', 0.1, 7), ('const', 0.2, 0)])
def test_golden_local_rule_alone(name: str, share: float, selected: int) -> None:
    data = load_golden('ldbe', '03_pseudo_labels')
    logits = torch.from_numpy(data[f'{name}_logits'])[0]
    label = with_thresholds(np.full(6, np.inf), prop=share).select(scores(logits))[0]
    assert np.array_equal(label, data[f'{name}_local_plabel'])
    assert (label != 255).sum() == selected


# ------------------------------------------------------------------------------- the fast and the plain form


@pytest.mark.parametrize(
    ('classes', 'low', 'input_size', 'label_size'),
    [(19, (9, 17), (64, 128), (128, 256)), (16, (5, 7), (33, 51), (130, 263)), (2, (6, 5), (6, 5), (6, 5))],
)
def test_a_round_equals_the_plain_form(classes: int, low: tuple, input_size: tuple, label_size: tuple) -> None:
    maps = [random_logits((classes, *low), seed) for seed in range(4)]
    maps[1][classes - 1] = -50  # absent from this image
    maps[2] *= 20  # saturated
    prop = 0.1 + 0.05
    selector = look(GlobalLocal(prop=prop), [scores(m, i, input_size, label_size) for i, m in enumerate(maps)])
    logits = [plain.upsample(m[None], input_size) for m in maps]
    delta, labels = plain.offline_round(logits, label_size, prop)
    assert torch.equal(selector.thresholds, torch.tensor(delta))
    for logits_map, label in zip(maps, labels, strict=True):
        found = selector.select(scores(logits_map, 0, input_size, label_size))[0]
        assert found.dtype == torch.uint8
        assert torch.equal(found, label)


@pytest.mark.parametrize('stride', [1, 2, 5, 7])
@pytest.mark.parametrize('prop', [0.001, 0.25, 1.0])
def test_order_statistics_equal_sorting(stride: int, prop: float) -> None:
    """In float32, whatever the confidences: near 1, near the smallest possible one, tied."""
    generator = torch.Generator().manual_seed(stride)
    images = [(torch.rand(41, 37, generator=generator) ** power).clamp(min=0.05) for power in (0.001, 1.0, 4.0)]
    images += [torch.full((5, 5), 0.5), torch.ones(3, 4), images[1].round(decimals=2)]
    labels = [torch.randint(0, 3, image.shape, generator=generator, dtype=torch.uint8) for image in images]
    quantiles = ClassQuantiles(4, 'cpu', stride)
    pooled = [[] for _ in range(4)]
    for conf, label in zip(images, labels, strict=True):
        quantiles.observe(conf, label)
        for c in range(4):
            pooled[c] += sorted(conf[label == c].tolist())[::stride]
    totals = quantiles.totals()
    assert totals == [len(values) for values in pooled]
    ranks = [max(total - max(int(total * prop), 1), 0) for total in totals]
    coarse = quantiles.narrow(ranks)
    for conf, label in reversed(list(zip(images, labels, strict=True))):  # no order counts
        quantiles.observe(conf, label)
    wanted = torch.tensor(
        [sorted(values)[rank] if values else np.inf for values, rank in zip(pooled, ranks, strict=True)]
    )
    assert torch.equal(quantiles.values(), wanted)
    assert wanted[3] == np.inf
    error = (coarse - wanted)[:3]
    assert error.min() >= 0
    assert error.max() <= 1 / 65536


def test_histogram_only_needs_one_look_and_is_close() -> None:
    maps = [scores(random_logits((19, 30, 40), seed), seed) for seed in range(3)]
    exact, close = look(GlobalLocal(prop=0.1), maps), look(GlobalLocal(prop=0.1, histogram_only=True), maps)
    assert (exact.looks, close.looks) == (2, 1)
    error = close.thresholds - exact.thresholds
    assert error.min() >= 0
    assert 0 < error.max() <= 1 / 65536


def test_memory_of_the_counts_does_not_grow() -> None:
    quantiles = ClassQuantiles(19, 'cpu', 5)
    size = quantiles.upto.numel()
    for _ in range(3):
        quantiles.observe(*confidence(random_logits((19, 64, 64), 0)))
    assert quantiles.upto.numel() == size
    assert size * 8 < 1e8
    quantiles.narrow([0] * 19)
    assert quantiles.upto.numel() < size


# ---------------------------------------------------------------------------------------------- hard cases


def test_share_below_one_value() -> None:
    """The reference takes the smallest value (T12); 'clip' the largest, so that strictly above it lies nothing."""
    logits = random_logits((3, 4, 5), 0)
    smallest = look(GlobalLocal(prop=0.01), [scores(logits)])
    largest = look(GlobalLocal(prop=0.01, rank_zero='clip'), [scores(logits)])
    conf, label = confidence(logits)
    for c in label.unique().tolist():
        taken = conf[label == c].sort().values[::5]
        assert smallest.thresholds[c] == taken[0]
        assert largest.thresholds[c] == taken[-1]
    assert (smallest.select(scores(logits))[0] != 255).float().mean() > 0.7


def test_cap() -> None:
    maps = [scores(random_logits((4, 20, 20), 0, scale=100.0))]
    without, below = (look(GlobalLocal(prop=0.1, cap=cap), maps) for cap in (0.999999999, 0.99999994))
    assert without.thresholds.tolist() == [1] * 4
    assert (without.select(maps[0])[0] == 255).all()  # nothing is above 1 (T13)
    assert below.thresholds.unique().tolist() == [1 - 2**-24]
    assert ((below.select(maps[0])[0] != 255) == (confidence(maps[0].at_label())[0] == 1)).all()


def test_constant_image_selects_nothing_and_absent_classes_do_no_harm() -> None:
    logits = torch.zeros(19, 12, 12)
    logits[7] = 4
    selector = look(GlobalLocal(prop=0.1), [scores(logits)])
    assert selector.thresholds.isinf().sum() == 18
    assert (selector.select(scores(logits))[0] == 255).all()
    balanced = look(ClassBalanced(prop=0.1), [scores(logits)])
    assert (balanced.select(scores(logits))[0] == 7).all()  # pixels that equal the threshold are in


def test_fixed_threshold() -> None:
    logits = torch.log(torch.tensor([[0.9, 0.5, 0.2], [0.1, 0.5, 0.8]]))[:, None]  # (2, 1, 3)
    conf = logits.softmax(0).amax(0)
    found = FixedThreshold(threshold=float(conf[0, 2])).select(scores(logits))[0]
    assert found.tolist() == [[0, 255, 1]]  # the threshold itself counts


def test_class_balanced_takes_the_same_share_of_every_class() -> None:
    maps = [scores(random_logits((5, 60, 80), seed), seed) for seed in range(3)]
    selector = look(ClassBalanced(prop=0.3), maps)
    selected = torch.cat([selector.select(image)[0].flatten() for image in maps])
    predicted = torch.cat([confidence(image.at_label())[1].flatten() for image in maps])
    for c in range(5):
        count = int((predicted == c).sum())
        assert int((selected == c).sum()) == int(0.3 * count)
    assert (selected[selected != 255] == predicted[selected != 255]).all()


@pytest.mark.parametrize('shape', [(19, 300, 331), (7, 1, 5), (2, 1, 1), (19, 3, 40000)])
def test_confidence_equals_softmax_and_max(shape: tuple) -> None:
    logits = random_logits(shape, 1).round(decimals=1)  # ties between classes: the first one counts
    conf, label = confidence(logits)
    wanted = logits.softmax(0).max(0)
    assert torch.equal(conf, wanted.values)
    assert torch.equal(label.long(), wanted.indices)


def test_enlarging_equals_interpolation_and_reuses_memory() -> None:
    enlarge = Enlarger(align_corners=True)
    maps = [random_logits((1, 3, 5, 9), seed) for seed in range(2)]
    first = enlarge(maps[0], (17, 31))
    place = first.data_ptr()
    assert torch.equal(first, plain.upsample(maps[0], (17, 31)))
    second = enlarge(maps[1], (17, 31))
    assert second.data_ptr() == place
    assert torch.equal(second, plain.upsample(maps[1], (17, 31)))


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ({'type': 'Best'}, r"selector.type='Best': choose one of FixedThreshold, ClassBalanced, GlobalLocal"),
        ({'type': 'GlobalLocal'}, r"selector GlobalLocal: .*'prop'"),
        ({'type': 'GlobalLocal', 'prop': 0.1, 'strid': 3}, r"selector GlobalLocal: .*'strid'"),
        ({'type': 'GlobalLocal', 'prop': 1.5}, r'selector.prop=1.5: give a share'),
        ({'type': 'GlobalLocal', 'prop': 0.1, 'rule': 'all'}, r"selector.rule='all': choose one of any_class"),
        ({'type': 'ClassBalanced', 'prop': 0.1, 'stride': 0}, r'selector.stride=0'),
        ({'type': 'FixedThreshold', 'threshold': -1}, r'selector.threshold=-1'),
    ],
)
def test_mistakes_in_a_selector(config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_selector(config)


def test_settings_make_the_same_selector_again() -> None:
    for name, settings in (('FixedThreshold', {}), ('ClassBalanced', {'prop': 0.2}), ('GlobalLocal', {'prop': 0.1})):
        selector = SELECTORS[name](**settings)
        assert build_selector(selector.settings()) == selector
