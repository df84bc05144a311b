"""What a scene shows: classes, labels, depth, and how far the target is from the source."""

import numpy as np
import pytest

from mmuda.minicity import SHIFTS, make, sheet
from mmuda.minicity.labels import CLASSES, PALETTE, RAW_ID, TRAIN_ID
from mmuda.minicity.pencil import SKY_DEPTH

SIZE = (64, 128)


def views(stream, count, **options):
    return [make(stream, index, size=SIZE, **options) for index in range(count)]


def frequencies(scenes):
    counts = sum(np.bincount(TRAIN_ID[view.label].ravel(), minlength=256) for view in scenes)[:19]
    return counts / counts.sum()


@pytest.fixture(scope='module')
def scenes():
    return {stream: views(stream, 40) for stream in ('source', 'train', 'val')}


def test_a_view_has_the_documented_form():
    view = make('train', 0, size=(48, 80))
    assert view.image.shape == (48, 80, 3)
    assert view.label.shape == view.depth.shape == (48, 80)
    assert (view.image.dtype, view.label.dtype, view.depth.dtype) == (np.uint8, np.uint8, np.float32)


@pytest.mark.parametrize('stream', ['source', 'train', 'val'])
def test_every_class_and_ignored_pixels_occur(scenes, stream):
    seen = set(np.unique([TRAIN_ID[view.label] for view in scenes[stream]]))
    assert seen == {*range(19), 255}
    assert {int(raw) for view in scenes[stream] for raw in np.unique(view.label)} <= set(RAW_ID.values())


@pytest.mark.parametrize('stream', ['source', 'train'])
def test_frequencies_are_those_of_a_street(scenes, stream):
    share = dict(zip(CLASSES, frequencies(scenes[stream]), strict=True))
    common = min(share[name] for name in ('road', 'building', 'vegetation', 'sky'))
    rare = (
        'traffic light',
        'traffic sign',
        'rider',
        'motorcycle',
        'bicycle',
        'person',
        'fence',
        'truck',
        'bus',
        'train',
    )
    assert max(share, key=share.get) == 'road'
    assert common > max(share[name] for name in rare)


def test_the_label_table_is_cityscapes():
    assert len(CLASSES) == 19
    assert CLASSES[0] == 'road'
    assert CLASSES[-1] == 'bicycle'
    assert TRAIN_ID[[7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]].tolist() == [*range(19)]
    assert (TRAIN_ID != 255).sum() == 19
    assert PALETTE[26].tolist() == [0, 0, 142]


@pytest.mark.parametrize('stream', ['source', 'val'])
def test_depth_is_that_of_a_flat_ground_below_an_infinite_sky(scenes, stream):
    for view in scenes[stream]:
        sky, road = view.label == RAW_ID['sky'], view.label == RAW_ID['road']
        assert (view.depth[sky] == SKY_DEPTH).all()
        assert (view.depth[~sky] < 130).all()
        assert (view.depth > 0.5).all()
        # one depth per row, and 1 / depth grows evenly from the horizon to the lower edge
        rows = [row for row in range(SIZE[0]) if road[row].sum() > 3]
        values = np.array([view.depth[row][road[row]] for row in rows], dtype=object)
        inverse = np.array([1 / np.median(value) for value in values])
        assert max(np.ptp(1 / value) for value in values) < 1e-4
        np.testing.assert_allclose(
            np.diff(inverse), np.diff(rows) * np.diff(inverse)[-1] / np.diff(rows)[-1], atol=2e-3
        )


def test_the_domains_differ_in_more_than_colour(scenes):
    def road_at_the_bottom(group):
        return np.mean([view.label[SIZE[0] * 3 // 4] == RAW_ID['road'] for view in group])

    def fading(group):  # how colourful far leaves are, against near ones
        leaves = [(view.image, view.depth, view.label == RAW_ID['vegetation']) for view in group]
        far = np.concatenate([np.ptp(image[leaf & (depth > 60)], 1) for image, depth, leaf in leaves])
        near = np.concatenate([np.ptp(image[leaf & (depth < 25)], 1) for image, depth, leaf in leaves])
        return far.mean() / near.mean()

    source, target = scenes['source'], scenes['train']
    persons = CLASSES.index('person')
    assert frequencies(target)[persons] > 1.5 * frequencies(source)[persons]
    assert road_at_the_bottom(source) > road_at_the_bottom(target) + 0.05
    assert fading(target) < 0.8 * fading(source)


def test_shift_levels_grow():
    """Both the pictures and the class frequencies move away from the source's, level by level."""
    source = views('source', 30)
    colours, classes = [], []
    for shift in SHIFTS:
        target = views('train', 30, shift=shift)
        means = [np.mean([view.image for view in group], (0, 1, 2)) for group in (source, target)]
        colours.append(np.abs(means[0] - means[1]).mean())
        classes.append(np.abs(frequencies(source) - frequencies(target)).sum())
    assert (np.diff(colours) > 0).all()
    assert (np.diff(classes) > 0).all()


def test_scenes_are_functions_of_their_arguments():
    same, again = make('train', 3, seed=5, size=SIZE), make('train', 3, seed=5, size=SIZE)
    assert all((a == b).all() for a, b in zip(same, again, strict=True))
    for other in (
        make('train', 4, seed=5, size=SIZE),
        make('val', 3, seed=5, size=SIZE),
        make('source', 3, seed=5, size=SIZE),
        make('train', 3, seed=6, size=SIZE),
        make('train', 3, seed=5, shift='strong', size=SIZE),
    ):
        assert (same.label != other.label).mean() > 0.01


def test_the_source_does_not_know_the_shift():
    assert (
        make('source', 1, shift='none', size=SIZE).image == make('source', 1, shift='strong', size=SIZE).image
    ).all()


def test_unknown_shift_is_named():
    with pytest.raises(ValueError, match=r'no shift level .extreme.; choose one of none, mild, medium, strong'):
        make('train', 0, shift='extreme')


def test_sheet_has_a_column_per_picture():
    page = sheet(rows=2, size=(32, 64))
    assert page.mode == 'RGB'
    assert page.width == 6 * (64 + 4)
