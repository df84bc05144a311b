"""Small regions, and the pseudo-labels without them (Depth Distribution spec 5.2 and 6.2)."""

from pathlib import Path

import numpy as np
import plain_depth_distribution as plain
import pytest
import torch
from helpers import ROOT, load_golden
from mmengine.config import Config
from PIL import Image

from mmuda.offline import FixedThreshold, write_pseudo_labels
from mmuda.offline.predictions import Enlarger, Scores
from mmuda.offline.regions import areas_by_frequency, drop_small_regions
from mmuda.offline.selectors import build_selector

CONFIGS = ROOT / 'configs/depth_distribution'
EXPERIMENTS = {
    1: 'synthia2city_16',
    2: 'synthia2city_7',
    3: 'synthia2city_7_small',
    4: 'synthia2mapillary_7',
    5: 'synthia2mapillary_7_small',
}


def selector_of(exp: int) -> FixedThreshold:
    return build_selector(Config.fromfile(CONFIGS / f'{EXPERIMENTS[exp]}.py').recipe[-2].selector.to_dict())


@pytest.mark.parametrize(
    ('file', 'areas', 'out'),
    [
        ('area_filter_cases', 'thresholds_a', 'out_a'),
        ('area_filter_cases', 'thresholds_b', 'out_b'),
        ('area_filter_blobs_7', 'thresholds', 'out'),
        ('area_filter_blobs_16', 'thresholds', 'out'),
    ],
)
def test_regions_golden(file: str, areas: str, out: str) -> None:
    golden = load_golden('depth_distribution', file)
    label = golden['label'].copy()
    found = drop_small_regions(label, golden[areas].tolist())
    assert np.array_equal(found, golden[out])
    assert np.array_equal(label, golden['label'])  # as it was
    assert (found != label).any()
    assert np.array_equal(drop_small_regions(found, golden[areas].tolist()), found)  # dropping joins no others


def test_regions_equal_a_flood() -> None:
    rng = np.random.default_rng(0)
    label = rng.choice([0, 1, 2, 255], (40, 60), p=[0.4, 0.3, 0.2, 0.1]).astype(np.uint8)
    areas = [200, 6, 1]
    assert np.array_equal(drop_small_regions(label, areas), plain.drop_small_regions(label, areas))
    golden = load_golden('depth_distribution', 'area_filter_blobs_7')
    part, areas = golden['label'][:80, :160], golden['thresholds'].tolist()
    assert np.array_equal(drop_small_regions(part, areas), plain.drop_small_regions(part, areas))
    assert (drop_small_regions(np.full((4, 4), 255, np.uint8), areas) == 255).all()


@pytest.mark.parametrize('exp', EXPERIMENTS)
def test_areas_golden(exp: int) -> None:
    """The tables are as published, and follow from the classes' frequencies but for rounding (point 21)."""
    golden = load_golden('depth_distribution', 'constants')
    areas = selector_of(exp).min_area
    assert areas == golden[f'area_thr_exp{exp}'].tolist()
    weight = golden[f'ce_weight_{len(areas)}']
    found = areas_by_frequency((1 / (len(areas) * weight)).tolist(), min(areas), max(areas))
    assert np.abs(np.subtract(found, areas)).max() <= (6 if exp == 1 else 2)


@pytest.mark.parametrize(
    ('file', 'exp', 'size', 'wanted'),
    [
        ('pseudo_pipeline_exp1', 1, (760, 1280), 'label'),
        ('pseudo_pipeline_exp3_exp5', 3, (320, 640), 'label_exp3'),
        ('pseudo_pipeline_exp3_exp5', 5, (320, 640), 'label_exp5'),
    ],
)
def test_pseudo_labels_golden(file: str, exp: int, size: tuple, wanted: str) -> None:
    golden, selector = load_golden('depth_distribution', file), selector_of(exp)
    logits = torch.from_numpy(golden['logits_f16'].astype(np.float32))[None]
    scores = Scores(0, logits, size, (1024, 2048), Enlarger(align_corners=True))
    label = selector.select(scores)[0].numpy()
    assert (label != golden['label_before_area_filter']).sum() <= 20
    assert (selector.finish(label) != golden[wanted]).mean() <= 1e-3
    assert np.array_equal(selector.finish(golden['label_before_area_filter']), golden[wanted])


def test_uncertain_logits_give_no_label() -> None:
    scores = Scores(0, torch.zeros(1, 16, 6, 9), (40, 60), (80, 120), Enlarger(align_corners=True))
    selector = selector_of(1)
    assert (selector.finish(selector.select(scores)[0].numpy()) == 255).all()


def test_the_written_labels_have_no_small_regions(cfg: Config, checkpoint: Path, tmp_path: Path) -> None:
    plain_selector = {'type': 'FixedThreshold', 'threshold': 0.2}
    areas = dict(frequency=list(range(1, 20)), low=5, high=300)
    write_pseudo_labels(cfg, checkpoint, tmp_path / 'all', plain_selector, num_workers=0)
    done = write_pseudo_labels(
        cfg, checkpoint, tmp_path / 'large', {**plain_selector, 'min_area': areas}, num_workers=0
    )
    changed, pixels = 0, 0
    for file in done['files']:
        before, after = (np.asarray(Image.open(tmp_path / name / file)) for name in ('all', 'large'))
        assert np.array_equal(after, plain.drop_small_regions(before, areas_by_frequency(**areas)))
        changed, pixels = changed + (after != before).sum(), pixels + (after != 255).sum()
    assert changed > 0
    assert sum(done['pixels'].values()) == pixels
    assert done['selector']['min_area'][0] == 5


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(min_area=dict(low=1, high=2)), r"min_area has \['high', 'low'\]: give frequency, low and high"),
        (dict(min_area=dict(frequency=[3, 3], low=1, high=2)), r'selector\.min_area\.frequency is 3 for every class'),
        (dict(min_area=[1, 2]), r'min_area has 2 numbers, the network 19 classes'),
    ],
)
def test_wrong_areas(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_selector({'type': 'FixedThreshold', **settings}).start(19, 'cpu')
