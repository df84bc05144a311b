"""Copy-paste and the two views, byte by byte (HIAST spec 2.4, 6.2, 6.3 and 10)."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import plain_hiast as plain
import pytest
from mmengine.dataset import Compose
from PIL import Image

from mmuda.datasets import HardClassCopyPaste, LoadImage, LoadLabels, RandomSizedCrop, StrongView
from mmuda.datasets.transforms import mixing, photometric
from mmuda.datasets.transforms.geometric import Crop, cut, draw_sized
from mmuda.datasets.transforms.loading import decode_ids
from mmuda.datasets.transforms.mixing import donor_lists, hard_classes
from mmuda.datasets.transforms.photometric import RandomBrightnessContrast, draw_operations

GOLDEN = Path(__file__).parents[1] / 'golden/hiast'
VIEWS = dict(np.load(GOLDEN / 'augmentations.npz'))
PASTE = dict(np.load(GOLDEN / 'copy_paste.npz'))


def bgr(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[..., ::-1])


# ----------------------------------------------------------------------------------------------------- the two views


@pytest.mark.parametrize(('case', 'count'), [('weak_2to1', 4), ('weak_4to3', 2)])
def test_weak_view_golden(case: str, count: int) -> None:
    size = tuple(VIEWS[f'{case}/size_hw'].tolist())
    for number in range(count):
        flip, height, width, top, left = VIEWS[f'{case}/flip_cropH_cropW_hstart_wstart'][number]
        image, label = VIEWS['in/img'], VIEWS['in/lbl']
        if flip:
            image, label = image[:, ::-1], label[:, ::-1]
        box = Crop(int((60 - height) * top), int((112 - width) * left), int(height), int(width))
        assert np.array_equal(cut(bgr(image), box, size, cv2.INTER_LINEAR), bgr(VIEWS[f'{case}/{number}/img']))
        found = cut(np.ascontiguousarray(label), box, size, cv2.INTER_NEAREST)
        assert np.array_equal(found, VIEWS[f'{case}/{number}/lbl'])


def test_boxes_are_drawn_as_said() -> None:
    np.random.seed(0)
    boxes = [draw_sized(60, 112, (20, 55), 2.0) for _ in range(3000)]
    heights = [box.height for box in boxes]
    assert (min(heights), max(heights)) == (20, 55)
    assert abs(np.mean(heights) - 37.5) < 0.7
    for box in boxes:
        assert box.width == 2 * box.height
        assert 0 <= box.top <= 60 - box.height
        assert 0 <= box.left <= 112 - box.width
    assert draw_sized(960, 1280, (900, 900), 1280 / 960).width == 1200
    item = dict(img=np.zeros((60, 112, 3), np.uint8), gt_seg_map=np.zeros((60, 112), np.uint8), img_path='x.png')
    found = RandomSizedCrop((20, 55), 2, (32, 64))(item | {'seg_fields': ['gt_seg_map']})
    assert (found['img'].shape, found['gt_seg_map'].shape, found['img_shape']) == ((32, 64, 3), (32, 64), (32, 64))
    with pytest.raises(ValueError, match=r'x\.png is 112x60, too small for RandomSizedCrop with heights=\(20, 58\)'):
        RandomSizedCrop((20, 58), 2, (32, 64))(item)


def strong(name: str, number: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    prefix = f'strong/{name}/{number}/'
    return VIEWS[f'{prefix}out'], {k.removeprefix(prefix): v for k, v in VIEWS.items() if k.startswith(prefix)}


OPERATIONS = {
    'contrast': lambda image, p: photometric.change_levels(image, contrast=float(p['alpha'])),
    'brightness': lambda image, p: photometric.change_levels(image, brightness=float(p['beta'])),
    'posterize': lambda image, p: photometric.posterize(image),
    'equalize': lambda image, p: photometric.equalize(image),
    'solarize': lambda image, p: photometric.solarize(image),
    'togray': lambda image, p: photometric.to_grey(image),
    'blur': lambda image, p: photometric.blur(image, int(p['ksize'])),
    'jitter': lambda image, p: photometric.jitter(
        image, list(zip(p['order'].tolist(), p['factor'].tolist(), strict=True))
    ),
}


@pytest.mark.parametrize('name', OPERATIONS)
def test_strong_operations_golden(name: str) -> None:
    image = bgr(VIEWS['strong/in'])
    kept = image.copy()
    for number in range(3 if f'strong/{name}/1/out' in VIEWS else 1):
        wanted, parameters = strong(name, number)
        assert np.array_equal(OPERATIONS[name](image, parameters), bgr(wanted)), number
        assert np.array_equal(image, kept)


def test_equalizing_a_constant_channel() -> None:
    constant = np.ascontiguousarray(bgr(VIEWS['strong/in_gray']))
    assert np.array_equal(photometric.equalize(constant), bgr(VIEWS['strong/equalize/const_out']))
    found = photometric.equalize(bgr(VIEWS['strong/equalize/constG_in']))
    assert np.array_equal(found, bgr(VIEWS['strong/equalize/constG_out']))


def test_how_often_operations_act(monkeypatch: pytest.MonkeyPatch) -> None:
    names = list(range(8))
    monkeypatch.setattr(photometric, '_OPERATIONS', tuple((lambda name=name: name) for name in names))
    np.random.seed(0)
    drawn = [draw_operations() for _ in range(20000)]
    assert all(len(set(one)) == len(one) for one in drawn)
    number = np.bincount([len(one) for one in drawn]) / 20000
    np.testing.assert_allclose(number, [1 / 8, 3 / 8, 3 / 8, 1 / 8], atol=0.01)
    np.testing.assert_allclose(number, VIEWS['strong/select/number_applied_fraction'], atol=0.015)
    fraction = np.bincount(np.concatenate([np.array(one, int) for one in drawn])) / 20000
    np.testing.assert_allclose(fraction, 3 / 16, atol=0.01)
    assert any(one[0] > one[-1] for one in drawn if one)  # in random order


def test_the_strong_view_leaves_the_weak_one_alone() -> None:
    np.random.seed(1)
    image = bgr(VIEWS['strong/in'])
    kept, changed = image.copy(), 0
    for _ in range(40):
        results = StrongView()(dict(img=image))
        assert np.array_equal(results['img'], kept)
        assert results['strong'].shape == kept.shape
        assert results['strong'].dtype == np.uint8
        changed += not np.array_equal(results['strong'], kept)
    assert 25 <= changed < 40


def test_blur_widths() -> None:
    np.random.seed(0)
    draw_blur = photometric._OPERATIONS[1]
    widths = np.array([draw_blur().keywords['kernel'] for _ in range(4000)])
    assert set(widths) == set(range(3, 42, 2))
    assert abs((widths == 3).mean() - 1 / 39) < 0.01


def test_brightness_and_contrast_of_the_predecessor() -> None:
    np.random.seed(0)
    image = bgr(VIEWS['strong/in'])
    change = RandomBrightnessContrast()
    changed = sum(not np.array_equal(change(dict(img=image))['img'], image) for _ in range(400))
    assert 90 < changed < 150


# ------------------------------------------------------------------------------------------- donors and hard classes


def test_donors_golden() -> None:
    pixels = PASTE['donors/pixel_count'].T
    for found, number in zip(donor_lists(pixels), range(6), strict=True):
        assert found.tolist() == PASTE[f'donors/kept_{number}'].tolist()
        assert plain.donors(pixels[:, number]) == found.tolist()


@pytest.mark.parametrize(
    ('case', 'number', 'ignored'),
    [('gta_14', 14, ()), ('gta_12', 12, ()), ('synthia_14', 14, (9, 14, 16)), ('oxford_7', 7, ()),
     ('with_unseen_class', 14, ())],
)  # fmt: skip
def test_hard_classes_golden(case: str, number: int, ignored: tuple) -> None:
    values = PASTE.get(f'hard/{case.split("_")[0]}/class_value', PASTE['hard/class_value'])
    values = PASTE.get(f'hard/{case}/class_value', values)
    hard, share = hard_classes(values, number, ignored)
    assert hard.tolist() == PASTE[f'hard/{case}/hard_classes'].tolist()
    plain_hard, plain_share = plain.hard_classes(values, number, ignored)
    assert hard.tolist() == plain_hard
    np.testing.assert_allclose(share, plain_share, rtol=1e-12)
    if case == 'synthia_14':  # the reference's are NaN
        assert np.isfinite(share).all()
        assert (share[[9, 14, 16]] == 0).all()
        assert share.sum() == pytest.approx(1)
    else:
        np.testing.assert_allclose(share, PASTE[f'hard/{case}/class_prob'], rtol=1e-9)


# ----------------------------------------------------------------------------------------------------------- pasting


@pytest.fixture
def target(tmp_path: Path) -> Callable[..., dict]:
    """A target of the golden donors with their labels as pseudo-labels, and the item of one more image."""
    donors, labels = PASTE['paste/donor_imgs'], PASTE['paste/donor_lbls']
    files = [f'train/a/a_00000{i}_000000_leftImg8bit.png' for i in range(5)]

    def save(folder: str, file: str, array: np.ndarray) -> str:
        path = tmp_path / folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)
        return str(path)

    for file, image, label in zip(files, donors, labels, strict=True):
        save('images', file, image)
        save('labels', file, label)

    def item(image: np.ndarray, label: np.ndarray, **manifest: object) -> dict:
        pixels = [np.bincount(own.ravel(), minlength=256)[:7].tolist() for own in labels]
        confidence = dict(zip('abcdefg', PASTE['paste/class_value'].tolist(), strict=True))
        content = dict(kind='pseudo-labels', files=files, count=5, confidence=confidence, pixels_by_image=pixels)
        (tmp_path / 'labels/manifest.json').write_text(json.dumps(content | manifest))
        name = 'train/a/a_000009_000000_leftImg8bit.png'
        return dict(
            img_path=save('images', name, image),
            image=name,
            seg_map_path=save('labels', name, label),
            label_dir=str(tmp_path / 'labels'),
            label_decoder=decode_ids,
            label_table=np.arange(256, dtype=np.uint8),
            seg_fields=[],
        )

    return item


def paste_of(number: int, target: Callable, monkeypatch: pytest.MonkeyPatch) -> dict:
    """The item of a trial, pasted by the recorded draws."""
    golden = {name: PASTE[f'paste/{number}/{name}'] for name in ('img', 'lbl', 'donor', 'drawn_classes')}
    results = Compose([LoadImage(), LoadLabels(to_image=True)])(target(golden['img'], golden['lbl']))
    answers = iter([int(golden['drawn_classes'][0]), int(golden['donor'][0])])

    def choice(options: object, p: np.ndarray | None = None) -> int:
        answer = next(answers)
        assert p[answer] > 0 if p is not None else answer in options
        return answer

    monkeypatch.setattr(mixing.np.random, 'choice', choice)
    return HardClassCopyPaste(4)(results)


@pytest.mark.parametrize('number', range(6))
def test_pasting_golden(number: int, target: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = {name: PASTE[f'paste/{number}/{name}'] for name in ('img', 'lbl', 'out_img', 'out_lbl', 'donor')}
    results = paste_of(number, target, monkeypatch)
    assert np.array_equal(results['img'], bgr(golden['out_img']))
    assert np.array_equal(results['gt_seg_map'], golden['out_lbl'])
    donor = int(golden['donor'][0])
    given = golden['img'], golden['lbl'], PASTE['paste/donor_imgs'][donor], PASTE['paste/donor_lbls'][donor]
    image, label = plain.paste(*given, PASTE['paste/hard_classes'].tolist())
    assert np.array_equal(image, golden['out_img'])
    assert np.array_equal(label, golden['out_lbl'])


def test_how_often_a_class_is_drawn(target: Callable) -> None:
    item = target(PASTE['paste/0/img'], PASTE['paste/0/lbl'])
    donors = mixing.read_donors(item['label_dir'], 4)
    assert np.flatnonzero(donors.pasted).tolist() == sorted(PASTE['paste/hard_classes'].tolist())
    np.testing.assert_allclose(donors.share, PASTE['paste/empirical_class_frequency_20000'], atol=0.01)
    without = mixing.read_donors(item['label_dir'], 4, ignored_classes=[6])
    assert without.share[6] == without.pasted[6] == 0
    assert without.share.sum() == pytest.approx(1)


def test_a_hard_class_without_donors_is_never_drawn(target: Callable) -> None:
    none = [[0, 5, 0, 5, 0, 5, 0]] * 5
    item = target(PASTE['paste/0/img'], PASTE['paste/0/lbl'], pixels_by_image=none)
    donors = mixing.read_donors(item['label_dir'], 4)
    assert donors.pasted[6] == 1
    assert donors.share[6] == 0
    assert np.isfinite(donors.share).all()
    empty = target(PASTE['paste/0/img'], PASTE['paste/0/lbl'], pixels_by_image=[[0] * 7] * 5)
    results = Compose([LoadImage(), LoadLabels(to_image=True)])(empty)
    assert np.array_equal(HardClassCopyPaste(4)(results)['img'], bgr(PASTE['paste/0/img']))


def test_labels_of_the_networks_size(target: Callable) -> None:
    label = PASTE['paste/0/lbl']
    large = PASTE['paste/0/img'].repeat(2, 0).repeat(2, 1)
    results = Compose([LoadImage(), LoadLabels(to_image=True)])(target(large, label))
    assert np.array_equal(results['gt_seg_map'], label.repeat(2, 0).repeat(2, 1))
    small = target(PASTE['paste/0/img'][:7, :11].copy(), label)
    found = Compose([LoadImage(), LoadLabels(to_image=True, backend='pillow')])(small)['gt_seg_map']
    assert np.array_equal(found, np.asarray(Image.fromarray(label).resize((11, 7), Image.NEAREST)))
    assert not np.array_equal(found, cv2.resize(label, (11, 7), interpolation=cv2.INTER_NEAREST))
    np.random.seed(0)
    pasted = HardClassCopyPaste(4)(results)  # donors of another size are brought to the image's
    assert pasted['img'].shape == large.shape
    assert not np.array_equal(pasted['gt_seg_map'], label.repeat(2, 0).repeat(2, 1))


def test_without_pseudo_labels_the_cure_is_named(target: Callable) -> None:
    item = Compose([LoadImage(), LoadLabels(to_image=True)])(target(PASTE['paste/0/img'], PASTE['paste/0/lbl']))
    with pytest.raises(ValueError, match=r'takes its donors from pseudo-labels: .*target\.label_dir'):
        HardClassCopyPaste()(item | {'label_dir': None})
    Path(item['label_dir'], 'manifest.json').unlink()
    with pytest.raises(FileNotFoundError, match=r'no finished pseudo-labels'):
        HardClassCopyPaste()(item)
