from pathlib import Path

import cv2
import numpy as np
import plain_ehtdi
import pytest
import torch
from mmengine.dataset import Compose

from mmuda.datasets import Pack, PillowResize, RandomGaussianBlur, ShortSideRandomScaleCrop, WeakStrongCrop
from mmuda.datasets.classes import CITYSCAPES_IDS, id_table
from mmuda.datasets.transforms import geometric
from mmuda.datasets.transforms.geometric import Crop, draw_crop, draw_square, nearest_index
from mmuda.datasets.transforms.photometric import ColourChange, Tone, change_colours
from mmuda.models import DomainDataPreprocessor

GOLDEN = Path(__file__).parents[1] / 'golden' / 'ehtdi'
LDBE = Path(__file__).parents[1] / 'golden' / 'ldbe'


def item(golden, classes=19):
    labels = cv2.LUT(golden['label_ids'], id_table(CITYSCAPES_IDS, classes))
    image = np.ascontiguousarray(golden['image_rgb'][..., ::-1])
    shape = image.shape[:2]
    return {
        'img': image,
        'img_shape': shape,
        'ori_shape': shape,
        'gt_seg_map': labels,
        'seg_fields': ['gt_seg_map'],
        'name': 'a',
    }


def assert_equals_golden(packed, golden, key):
    image = packed['image'].numpy().astype(np.float32) - golden['img_mean_bgr'][:, None, None]
    assert np.array_equal(image, golden[f'{key}/image'])
    label = packed['label'].numpy().astype(np.int16)
    assert np.array_equal(np.where(label == 255, -1, label), golden[f'{key}/label'])


@pytest.mark.parametrize('scale', [(26, 14), (50, 26)])
@pytest.mark.parametrize('case', ['plain', 'mirror', 'blur', 'mirror_blur', 'edge'])
def test_training_pipeline_equals_the_reference(case, scale, monkeypatch):
    golden = np.load(GOLDEN / 'preprocess.npz')
    mirror, *blur = golden[f'{case}/draws']
    pipeline = [{'type': 'RandomFlip', 'prob': float(mirror < 0.5)}, PillowResize(scale), RandomGaussianBlur(), Pack()]
    draws = iter(blur)
    monkeypatch.setattr(np.random, 'rand', lambda: next(draws))
    packed = Compose(pipeline)(item(golden))
    assert_equals_golden(packed, golden, f'{case}_{scale[0]}x{scale[1]}')
    assert next(draws, None) is None


def test_validation_pipeline_equals_the_reference():
    golden = np.load(GOLDEN / 'preprocess.npz')
    packed = Compose([PillowResize((26, 14)), Pack()])(item(golden, classes=16))
    assert_equals_golden(packed, golden, 'val_16cls_26x14')


def test_resize_sets_what_scoring_goes_by():
    golden = np.load(GOLDEN / 'preprocess.npz')
    small = PillowResize((26, 14))(item(golden))
    assert small['img_shape'] == small['ori_shape'] == small['gt_seg_map'].shape == (14, 26)
    assert small['scale_factor'] == (26 / 39, 14 / 21)
    full = PillowResize((26, 14), labels=False)(item(golden))
    assert full['img'].shape == (14, 26, 3)
    assert full['ori_shape'] == full['gt_seg_map'].shape == (21, 39)


def test_stock_flip_follows_numpys_global_generator():
    flip = Compose([{'type': 'RandomFlip', 'prob': 0.5}])
    golden = np.load(GOLDEN / 'preprocess.npz')

    def run():
        np.random.seed(3)
        return [flip(item(golden)) for _ in range(20)]

    first, second = run(), run()
    assert [r['flip'] for r in first] == [r['flip'] for r in second]
    assert {r['flip'] for r in first} == {True, False}
    flipped = next(r for r in first if r['flip'])
    assert np.array_equal(flipped['gt_seg_map'], item(golden)['gt_seg_map'][:, ::-1])


@pytest.mark.parametrize('row', range(9))
def test_views_equal_the_reference(row, monkeypatch):
    golden = np.load(GOLDEN / 'augment.npz')
    mean = np.load(GOLDEN / 'preprocess.npz')['img_mean_bgr'][:, None, None]
    p = {key.removeprefix('param/'): golden[key][row] for key in golden.files if key.startswith('param/')}
    tone = Tone(p['alpha'], p['beta'], p['hue'], p['sat'], p['val']) if p['jitter'] else None
    crop = Crop(int(p['y1']), int(p['x1']), int(p['crop_h']), int(p['crop_w']))
    monkeypatch.setattr(geometric, 'draw_crop', lambda *_: crop)
    monkeypatch.setattr(geometric, 'draw_colour_change', lambda: ColourChange(tone, bool(p['gray']), int(p['ksize'])))
    image = np.rint(golden['images'][p['src']] + mean).astype(np.uint8).transpose(1, 2, 0)
    labels = golden['labels'][p['src']]
    labels = np.where(labels < 0, 255, labels).astype(np.uint8)
    results = {'img': np.ascontiguousarray(image), 'gt_seg_map': labels, 'seg_fields': ['gt_seg_map'], 'name': 'a'}
    packed = Compose([WeakStrongCrop((24, 32)), Pack()])(results)
    assert np.array_equal(packed['weak'].numpy().astype(np.float32) - mean, golden['weak'][row])
    assert np.array_equal(packed['strong'].numpy().astype(np.float32) - mean, golden['strong'][row])
    expected = np.where(golden['label_crop'][row] < 0, 255, golden['label_crop'][row])
    assert np.array_equal(packed['weak_label'].numpy(), expected)
    full = torch.from_numpy(labels)
    assert torch.equal(full[packed['rows']][:, packed['cols']], packed['weak_label'])

    monkeypatch.setattr(plain_ehtdi, 'draw_crop', lambda *_: crop)
    monkeypatch.setattr(plain_ehtdi, 'draw_colour_change', geometric.draw_colour_change)
    normalised = torch.from_numpy(golden['images'][p['src']])
    weak, strong, label = plain_ehtdi.augment(normalised, full.long(), (24, 32), torch.from_numpy(mean[:, 0, 0]))
    assert np.array_equal(weak, golden['weak'][row])
    assert np.array_equal(strong, golden['strong'][row])
    assert np.array_equal(label, expected)


def test_nearest_rule_is_opencvs_for_every_size():
    differs_from_integers = []
    for length in range(50, 1300):
        column = np.arange(length, dtype=np.float64)[:, None]
        expected = cv2.resize(column, (1, 512), interpolation=cv2.INTER_NEAREST)[:, 0]
        assert np.array_equal(nearest_index(0, length, 512), expected), length
        if not np.array_equal(np.arange(512) * length // 512, expected):
            differs_from_integers.append(length)
    assert {372, 442, 936} <= set(differs_from_integers)
    assert nearest_index(7, 372, 512)[-1] == 7 + 371


def test_crops_keep_to_their_range():
    np.random.seed(0)
    crops = np.array([draw_crop(720, 1280) for _ in range(3000)])
    top, left, height, width = crops.T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 720).all()
    assert (left + width <= 1280).all()
    assert height.min() >= 350
    assert height.max() <= 720
    assert width.max() <= 960
    share = height * width / (720 * 1280)
    assert share.min() > 0.199
    assert share.mean() == pytest.approx(0.40, abs=0.01)  # EHTDI spec 2.4
    assert top[height < 600].max() > 300
    assert (np.abs(np.log(width / height)) < np.log(4 / 3) + 0.01).all()


@pytest.mark.parametrize(
    ('size', 'expected'),
    [((720, 1280), (0, 160, 720, 960)), ((640, 1280), (0, 213, 640, 853)), ((80, 40), (13, 0, 53, 40))],
)
def test_fall_back_is_the_largest_centred_box(size, expected):
    assert draw_crop(*size, tries=0) == expected


def test_views_without_labels():
    np.random.seed(1)
    image = np.random.randint(0, 256, (40, 64, 3), np.uint8)
    packed = Compose([WeakStrongCrop((24, 32)), Pack()])({'img': image, 'name': 'a'})
    assert set(packed) == {'image', 'weak', 'strong', 'rows', 'cols', 'name'}
    assert packed['weak'].shape == packed['strong'].shape == (3, 24, 32)
    assert packed['rows'].dtype == packed['cols'].dtype == torch.int64


def test_colour_change_leaves_its_input_alone():
    image = np.random.RandomState(0).randint(0, 256, (9, 13, 3), np.uint8)
    before = image.copy()
    out = change_colours(image, ColourChange(Tone(1.1, 0.1, 5, 5, 5), True, 5))
    assert np.array_equal(image, before)
    assert out.shape == image.shape
    assert (out[..., 0] == out[..., 1]).all()


def ldbe_item(golden):
    image = np.ascontiguousarray(golden['image'][..., ::-1])
    shape = image.shape[:2]
    return dict(
        img=image, img_shape=shape, ori_shape=shape, gt_seg_map=golden['label'], seg_fields=['gt_seg_map'], name='a'
    )


@pytest.mark.parametrize('case', range(10))
def test_ldbe_training_pipeline_equals_the_reference(case, monkeypatch):
    golden = np.load(LDBE / '13_augment.npz')
    width, height, left, top, side, side_too = golden['resized_w_h_crop_x_y_w_h'][case]

    def drawn(*size):
        assert size == (height, width, 60)
        assert side == side_too == draw_square(*size).height == draw_square(*size).width
        return Crop(top, left, side, side)

    monkeypatch.setattr(geometric, 'draw_square', drawn)
    scale_crop = ShortSideRandomScaleCrop(short_side=72, ratios=(golden['scale'][case],), crop=60)
    flip = dict(type='RandomFlip', prob=float(golden['flip'][case]))
    packed = Compose([scale_crop, flip, Pack()])(ldbe_item(golden))
    assert np.array_equal(packed['image'].numpy(), golden['out_image'][case][..., ::-1].transpose(2, 0, 1))
    assert np.array_equal(packed['label'].numpy(), golden['out_label'][case])
    if case == 4:
        assert np.array_equal(normalised(packed['image']), golden['normalised_case4'])


def normalised(image):
    """As the configs' preprocessor has it."""
    prepare = DomainDataPreprocessor(mean=[104.00698793, 116.66876762, 122.67891434], std=[1.0, 1.0, 1.0])
    return prepare({'target': {'image': image[None]}}, training=True)['target']['image'][0].numpy()


def test_ldbe_test_pipeline_equals_the_reference():
    golden = np.load(LDBE / '13_augment.npz')
    results = PillowResize((64, 32), labels=False)(ldbe_item(golden))
    assert results['gt_seg_map'].shape == results['ori_shape'] == (64, 128)
    packed = Pack()(results)
    assert np.array_equal(normalised(packed['image']), golden['test_resized_64x32_normalised'])


@pytest.mark.parametrize(
    ('size', 'ratio', 'expected'),
    [
        ((760, 1280), 1.25, (899, 1515)),
        ((1052, 1914), 0.5, (360, 654)),
        ((1052, 1914), 1.5, (1080, 1964)),
        ((1024, 2048), 0.75, (540, 1080)),
    ],
)
def test_scaled_sizes_are_truncated(size, ratio, expected, monkeypatch):
    monkeypatch.setattr(geometric, 'imresize', lambda array, size, **_: np.zeros((size[1], size[0], 3), np.uint8))
    seen = []
    monkeypatch.setattr(geometric, 'draw_square', lambda *args: seen.append(args) or draw_square(*args))
    ShortSideRandomScaleCrop(ratios=(ratio,))({'img': np.zeros((*size, 3), np.uint8)})
    assert seen == [(*expected, 600)]


def test_scaled_crops_of_odd_sets():
    np.random.seed(0)
    rows = np.arange(64, dtype=np.uint8)[:, None]
    results = dict(img=np.zeros((32, 64, 3), np.uint8), gt_seg_map=np.tile(rows, (1, 128)), seg_fields=['gt_seg_map'])
    out = ShortSideRandomScaleCrop(32, (1.0,), 32)(results)
    assert np.array_equal(out['gt_seg_map'][:, 0], rows[1::2, 0])  # a label twice its image's size is halved
    squares = np.array([draw_square(50, 80, 40) for _ in range(2000)])
    assert {tuple(s) for s in squares[:, 2:]} == {(40, 40)}
    assert (squares[:, :2].min(0), squares[:, :2].max(0)) == (pytest.approx([0, 0]), pytest.approx([10, 40]))
    assert draw_square(30, 80, 40)[2:] == (30, 30)
