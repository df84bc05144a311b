"""SYNTHIA: folders, published splits, and the three forms of its labels."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_sets import write_image, write_red16, write_rgb16

from mmuda.datasets import LoadImage, LoadLabels, SYNTHIADataset
from mmuda.datasets.classes import CITYSCAPES_IDS, SYNTHIA_IDS
from mmuda.minicity import generate, make
from mmuda.minicity.labels import TRAIN_ID
from mmuda.registry import DATASETS

GOLDEN = Path(__file__).parents[1] / 'golden' / 'ehtdi'
LOAD = [LoadImage(), LoadLabels()]
EVERY_ID = np.arange(256).reshape(16, 16)


def names(dataset):
    return [dataset.get_data_info(i)['name'] for i in range(len(dataset))]


def write_grey(path, ids):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids.astype(np.uint8)).save(path)


def labels(home, **kwargs):
    return SYNTHIADataset(data_root=str(home), split=None, pipeline=LOAD, **kwargs)[0]['gt_seg_map']


@pytest.fixture
def home(tmp_path) -> Path:
    """SYNTHIA with one image and no labels yet."""
    write_image(tmp_path / 'SYNTHIA/RGB/0000000.png', 0, (16, 16))
    return tmp_path / 'SYNTHIA'


@pytest.mark.parametrize('folder', ['GT/LABELS', 'parsed_LABELS'])
@pytest.mark.parametrize('classes', [19, 16])
def test_every_raw_id_maps_as_in_the_reference(home, folder, classes):
    write = write_red16 if folder == 'GT/LABELS' else write_grey
    write(home / folder / '0000000.png', EVERY_ID)
    golden = np.load(GOLDEN / 'label_map.npz')
    raw, expected = golden['raw_id'], golden[f'synthia{classes}']
    assert np.array_equal(raw, range(-1, 256))
    expected = np.where(expected < 0, 255, expected)[1:]  # a file holds no -1
    assert np.array_equal(labels(home, classes=classes).ravel(), expected)


@pytest.mark.parametrize(
    ('kind', 'table'), [('labelIds', CITYSCAPES_IDS.train), ('labelTrainIds', {i: i for i in range(19)})]
)
def test_mapped_files_are_read_as_said(home, kind, table):
    write_grey(home / 'synthia_mapped_to_cityscapes/0000000.png', EVERY_ID)
    expected = [table.get(raw, 255) for raw in range(256)]
    assert labels(home, label_kind=kind).ravel().tolist() == expected
    with pytest.raises(ValueError, match=r"mapped_to_cityscapes: .*label_kind='labelIds' .*label_kind='labelTrainIds'"):
        labels(home)


def test_a_given_kind_is_the_only_one_looked_for(home):
    write_grey(home / 'parsed_LABELS/0000000.png', np.full((16, 16), 3))
    write_grey(home / 'synthia_mapped_to_cityscapes/0000000.png', np.full((16, 16), 8))
    assert SYNTHIADataset(data_root=str(home), split=None).label_kind == 'parsed_LABELS'
    assert (labels(home) == 0).all()
    assert (labels(home, label_kind='labelIds') == 1).all()
    with pytest.raises(FileNotFoundError, match=r'None of these folders exists: \S*/GT/LABELS\. '):
        labels(home, label_kind='LABELS')
    write_red16(home / 'GT/LABELS/0000000.png', np.full((16, 16), 2))
    assert (labels(home) == 2).all()
    with pytest.raises(ValueError, match=r"label_kind='GT': choose one of LABELS, parsed_LABELS, labelIds"):
        labels(home, label_kind='GT')


def test_16_bit_labels_among_8_bit_ones(home):
    for folder in ('parsed_LABELS', 'synthia_mapped_to_cityscapes'):
        write_red16(home / folder / '0000000.png', EVERY_ID)
    for kind in ('parsed_LABELS', 'labelIds'):
        with pytest.raises(ValueError, match=r"/0000000.png: a 16-bit label file.*label_kind='LABELS'"):
            labels(home, label_kind=kind)


@pytest.mark.parametrize(
    ('array', 'form'),
    [
        (np.zeros((16, 16), np.uint8), '1 of 8 bits'),
        (np.zeros((16, 16, 3), np.uint8), '3 of 8 bits'),
        (np.zeros((16, 16), np.uint16), '1 of 16 bits'),
        (np.zeros((16, 16, 4), np.uint8), '4 of 8 bits'),
    ],
)
def test_labels_of_another_form_among_16_bit_ones(home, array, form):
    (home / 'GT/LABELS').mkdir(parents=True)
    Image.fromarray(array).save(home / 'GT/LABELS/0000000.png')
    with pytest.raises(ValueError, match=rf'LABELS/0000000.png: .*3 channels, this one has {form}.*parsed_LABELS'):
        labels(home)


def test_depth_in_place_of_labels(home):
    write_rgb16(home / 'GT/LABELS/0000000.png', np.full((16, 16, 3), 65535))
    with pytest.raises(ValueError, match=r'LABELS/0000000.png: the red channel goes up to 65535'):
        labels(home)


@pytest.mark.parametrize('how', ['empty', 'cut off', 'garbage'])
def test_damaged_label_is_named(home, how):
    path = home / 'GT/LABELS/0000000.png'
    write_red16(path, EVERY_ID)
    data = path.read_bytes()
    path.write_bytes({'empty': b'', 'cut off': data[: len(data) // 2], 'garbage': b'no picture' * 50}[how])
    with pytest.raises(ValueError, match=r'LABELS/0000000.png: empty, broken or cut-off label file'):
        labels(home)


def test_published_splits_are_ranges(tmp_path):
    (tmp_path / 'RGB').mkdir()
    for number in range(9400):
        (tmp_path / f'RGB/{number:07d}.png').touch()
    golden = np.load(GOLDEN / 'splits.npz')
    for split in ('train', 'val'):
        found = names(SYNTHIADataset(data_root=str(tmp_path), split=split, with_labels=False))
        assert found == [f'{number:07d}' for number in range(*golden[f'synthia_{split}_range'])]
    assert len(SYNTHIADataset(data_root=str(tmp_path), split=None, with_labels=False)) == 9400


def test_a_split_that_cannot_be_had(home):
    with pytest.raises(ValueError, match=r'SYNTHIA has no test split: choose train or val'):
        SYNTHIADataset(data_root=str(home), split='test')
    with pytest.raises(
        FileNotFoundError, match=r"RGB/0000001.png and 8998 more: missing.*the published split 'train'.*split=FILE"
    ):
        SYNTHIADataset(data_root=str(home))


def test_list_lines(home):
    for number in range(1, 4):
        shutil.copy(home / 'RGB/0000000.png', home / f'RGB/{number:07d}.png')
    (home / 'synthia_list').mkdir()
    (home / 'synthia_list/train.txt').write_text('0\n0000001\n0000003.png\n')
    dataset = SYNTHIADataset(data_root=str(home), with_labels=False)
    assert names(dataset) == ['0000000', '0000001', '0000003']
    (home / 'synthia_list/train.txt').write_text('first\n')
    with pytest.raises(ValueError, match=r"'first'.*'train'.*0000001"):
        SYNTHIADataset(data_root=str(home), with_labels=False)


@pytest.mark.parametrize(
    'place',
    [
        '',
        'RAND_CITYSCAPES',
        'SYNTHIA',
        'synthia',
        'SYNTHIA/RAND_CITYSCAPES',
        'SYNTHIA_RAND_CITYSCAPES/RAND_CITYSCAPES',
    ],
)
def test_places(tmp_path, place):
    write_image(tmp_path / place / 'RGB/0000000.png', 0, (16, 16))
    write_red16(tmp_path / place / 'GT/LABELS/0000000.png', np.full((16, 16), 19))
    assert (labels(tmp_path, classes=16) == 13).all()


def test_items_travel_to_loader_workers(home):
    write_red16(home / 'GT/LABELS/0000000.png', EVERY_ID)
    pipeline = [dict(type='mmuda.LoadImage'), dict(type='mmuda.LoadLabels')]
    config = dict(type='mmuda.SYNTHIADataset', data_root=str(home), split=None, pipeline=pipeline)
    dataset = pickle.loads(pickle.dumps(DATASETS.build(config)))
    assert np.array_equal(dataset[0]['gt_seg_map'], labels(home))


@pytest.mark.parametrize('classes', [19, 16])
def test_minicity_reads_back_as_its_scenes(tmp_path, classes):
    generate(
        tmp_path, size=(32, 64), source=6, target_train=1, target_val=1, layouts=['synthia'], workers=1, progress=False
    )
    dataset = SYNTHIADataset(data_root=str(tmp_path), classes=classes, pipeline=LOAD)
    shared = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18]
    new_id = np.full(256, 255)
    new_id[range(19) if classes == 19 else shared] = range(classes)
    assert len(dataset) == 6
    for index, item in enumerate(dataset):
        view = make('source', index, size=(32, 64))
        assert np.array_equal(item['img'][..., ::-1], view.image)
        assert np.array_equal(item['gt_seg_map'], new_id[TRAIN_ID[view.label]])


def test_one_raw_id_per_class():
    assert sorted(SYNTHIA_IDS.train.values()) == list(range(19))
    assert not {0, 13, 14, 22} & set(SYNTHIA_IDS.train)
