import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_sets import write_image, write_labels

import mmuda.datasets
from mmuda.datasets import CityscapesDataset, GTA5Dataset, LoadImage, LoadLabels
from mmuda.registry import DATASETS

GOLDEN = Path(__file__).parents[1] / 'golden'
LOAD = [LoadImage(), LoadLabels()]


def names(dataset):
    return [dataset.get_data_info(i)['name'] for i in range(len(dataset))]


@pytest.mark.parametrize('inside', [True, False])
def test_gta5_is_found_in_the_root_or_as_the_root(gta5, inside):
    dataset = GTA5Dataset(data_root=str(gta5 if inside else gta5.parent))
    assert names(dataset) == ['00001', '00002', '00003', '00004']


def test_list_beside_the_data_set_folder(gta5):
    shutil.move(gta5 / 'gta5_list', gta5.parent / 'gta5_list')
    assert len(GTA5Dataset(data_root=str(gta5.parent))) == 4


@pytest.mark.parametrize('split', [None, '', 'empty.txt'])
def test_no_list_or_an_empty_one_takes_every_file(gta5, split):
    (gta5 / 'empty.txt').write_text('\n')
    assert len(GTA5Dataset(data_root=str(gta5), split=split)) == 5


def test_shipped_list_names_what_is_missing(gta5):
    with pytest.raises(FileNotFoundError, match=r'images/00022.png and 6381 more: missing.*gta5_val.txt.*split=FILE'):
        GTA5Dataset(data_root=str(gta5), split='val')


def test_listed_but_missing_file(gta5):
    (gta5 / 'mine.txt').write_text('2\n9\n')
    with pytest.raises(FileNotFoundError, match=r'images/00009.png: missing, but asked for by .*mine.txt'):
        GTA5Dataset(data_root=str(gta5), split='mine.txt')


def test_missing_label_file(gta5):
    (gta5 / 'labels/00002.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'labels/00002.png: missing'):
        GTA5Dataset(data_root=str(gta5))
    assert len(GTA5Dataset(data_root=str(gta5), with_labels=False)) == 4


def test_unreadable_list_line(gta5):
    (gta5 / 'mine.txt').write_text('first\n')
    with pytest.raises(ValueError, match=r"'first'.*mine.txt.*00001"):
        GTA5Dataset(data_root=str(gta5), split='mine.txt')


def test_unknown_split_names_what_was_tried(gta5):
    with pytest.raises(FileNotFoundError, match=r"split='trian' is neither one of train, val, test.*GTA5/trian"):
        GTA5Dataset(data_root=str(gta5), split='trian')


def test_missing_root_names_every_folder_and_the_cure(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'GTA5/images.*gtav/images.*--data-root.*MMUDA_DATA.*data_root'):
        GTA5Dataset(data_root=str(tmp_path))


def test_empty_folder(tmp_path):
    (tmp_path / 'GTA5/images').mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r'GTA5/images: no \*.png image'):
        GTA5Dataset(data_root=str(tmp_path), split=None)


def test_default_root_is_data_then_datasets_unless_the_variable_is_set(gta5, tmp_path, monkeypatch):
    monkeypatch.delenv('MMUDA_DATA', raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'data/GTA5/images.*datasets/GTA5/images'):
        GTA5Dataset()
    (tmp_path / 'datasets').symlink_to(gta5.parent)
    assert len(GTA5Dataset()) == 4
    monkeypatch.setenv('MMUDA_DATA', str(gta5))
    assert GTA5Dataset().get_data_info(0)['img_path'] == str(gta5 / 'images/00001.png')
    monkeypatch.setenv('MMUDA_DATA', 'elsewhere')
    with pytest.raises(FileNotFoundError, match='elsewhere/GTA5/images'):
        GTA5Dataset()


def test_palette_index_becomes_the_class(gta5):
    item = GTA5Dataset(data_root=str(gta5), pipeline=LOAD)[0]
    raw = np.asarray(Image.open(gta5 / 'labels/00001.png'))
    expected = np.full(raw.shape, 255)
    for train, ids in enumerate((7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)):
        expected[raw == ids] = train
    assert np.array_equal(item['gt_seg_map'], expected)
    assert np.array_equal(item['img'][..., ::-1], np.asarray(Image.open(gta5 / 'images/00001.png')))


def test_stock_transforms_read_the_same(gta5):
    stock = [{'type': 'LoadImageFromFile'}, {'type': 'LoadAnnotations'}]
    ours = GTA5Dataset(data_root=str(gta5), classes=16, pipeline=LOAD)[1]
    theirs = DATASETS.build({'type': 'mmuda.GTA5Dataset', 'data_root': str(gta5), 'classes': 16, 'pipeline': stock})[1]
    for key in ('img', 'gt_seg_map', 'ori_shape', 'img_shape'):
        assert np.array_equal(ours[key], theirs[key])


def test_what_mmsegs_tools_read_from_a_data_set(gta5):
    dataset = GTA5Dataset(data_root=str(gta5), classes=13)
    assert len(dataset.METAINFO['classes']) == len(dataset.metainfo['palette']) == 13
    assert (dataset.ignore_index, dataset.reduce_zero_label) == (255, False)


def test_cityscapes_takes_its_split_folder(cityscapes):
    val = CityscapesDataset(data_root=str(cityscapes.parent), split='val')
    assert names(val) == ['aachen_000000_000000', 'aachen_000000_000001']
    assert val.get_data_info(0)['seg_map_path'] == str(
        cityscapes / 'gtFine/val/aachen/aachen_000000_000000_gtFine_labelIds.png'
    )


def test_target_needs_no_label_folder(cityscapes):
    shutil.rmtree(cityscapes / 'gtFine')
    dataset = CityscapesDataset(data_root=str(cityscapes), with_labels=False, pipeline=LOAD)
    item = dataset[0]
    assert len(dataset) == 3
    assert 'seg_map_path' not in item
    assert 'gt_seg_map' not in item
    with pytest.raises(FileNotFoundError, match=r'gtFine, .*gtFine_trainvaltest/gtFine'):
        CityscapesDataset(data_root=str(cityscapes))


def test_archives_unpacked_side_by_side(cityscapes):
    for kind in ('leftImg8bit', 'gtFine'):
        (cityscapes / f'{kind}_trainvaltest').mkdir()
        shutil.move(cityscapes / kind, cityscapes / f'{kind}_trainvaltest' / kind)
    assert len(CityscapesDataset(data_root=str(cityscapes), split='val')) == 2


@pytest.mark.parametrize(
    'line',
    [
        'train_aachen_000000_000001',
        'aachen_000000_000001',
        'aachen/aachen_000000_000001_leftImg8bit.png',
        'leftImg8bit/train/aachen/aachen_000000_000001_leftImg8bit.png',
    ],
)
def test_cityscapes_list_lines(cityscapes, line):
    (cityscapes / 'city_list').mkdir()
    (cityscapes / 'city_list/train.txt').write_text(line + '\n')
    dataset = CityscapesDataset(data_root=str(cityscapes), with_labels=False)
    assert names(dataset) == ['aachen_000000_000001']
    assert '/train/aachen/' in dataset.get_data_info(0)['img_path']


def test_cityscapes_list_of_any_name_must_tell_the_split(cityscapes):
    (cityscapes / 'mine.txt').write_text('val_aachen_000000_000001\n')
    assert len(CityscapesDataset(data_root=str(cityscapes), split='mine.txt')) == 1
    (cityscapes / 'mine.txt').write_text('aachen_000000_000001\n')
    with pytest.raises(ValueError, match=r'names no split: write train_aachen_000000_000001'):
        CityscapesDataset(data_root=str(cityscapes), split='mine.txt')


def test_the_published_easy_and_hard_images(tmp_path):
    """Lists whose names and lines tell no split; their 2975 images are found by their cities."""
    golden = np.load(GOLDEN / 'daf_ida' / 'published_split.npz')
    home = tmp_path / 'cityscapes/leftImg8bit'
    for image in (*golden['easy'], *golden['hard']):
        path = home / 'train' / image
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (home / 'val/lindau').mkdir(parents=True)
    (home / 'val/lindau/lindau_000000_000019_leftImg8bit.png').touch()
    listed = {}
    for part in ('easy', 'hard'):
        (tmp_path / f'{part}_split.txt').write_text('\n'.join(golden[part]))
        for split in (f'cityscapes_{part}.txt', str(tmp_path / f'{part}_split.txt')):
            dataset = CityscapesDataset(data_root=str(tmp_path), split=split, with_labels=False)
            listed[part] = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
            assert listed[part] == [str(home / 'train' / image) for image in golden[part]]
    assert not set(listed['easy']) & set(listed['hard'])
    train = CityscapesDataset(data_root=str(tmp_path), split='train', with_labels=False)
    assert sorted(listed['easy'] + listed['hard']) == [train.get_data_info(i)['img_path'] for i in range(2975)]


def test_train_id_files_are_read_as_such(cityscapes):
    path = cityscapes / 'gtFine/val/aachen/aachen_000000_000000_gtFine_labelTrainIds.png'
    Image.fromarray(np.full((32, 64), 18, np.uint8)).save(path)
    common = {'data_root': str(cityscapes), 'split': 'val', 'pipeline': LOAD}
    with pytest.raises(FileNotFoundError, match=r'000001_gtFine_labelTrainIds.png: missing'):
        CityscapesDataset(label_kind='labelTrainIds', **common)
    assert len(CityscapesDataset(label_kind='labelTrainIds', indices=1, **common)) == 1
    assert len(CityscapesDataset(label_kind='labelTrainIds', indices=[-2], **common)) == 1
    for nothing in (0, [], [0, 2]):
        with pytest.raises(ValueError, match=r'indices=.* of CityscapesDataset must choose among 2 images'):
            CityscapesDataset(indices=nothing, **common)
    (cityscapes / 'val.txt').write_text('aachen_000000_000000')
    common['split'] = 'val.txt'
    assert (CityscapesDataset(label_kind='labelTrainIds', classes=16, **common)[0]['gt_seg_map'] == 15).all()
    assert CityscapesDataset(**common).label_kind == 'labelIds'
    path.with_name(path.name.replace('TrainIds', 'Ids')).unlink()
    assert (CityscapesDataset(**common)[0]['gt_seg_map'] == 18).all()
    with pytest.raises(ValueError, match='labelIds, labelTrainIds'):
        CityscapesDataset(label_kind='color', **common)


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    path.write_bytes({'empty': b'', 'cut off': data[: len(data) // 2], 'garbage': b'no picture' * 50}[how])


@pytest.mark.parametrize('how', ['empty', 'cut off', 'garbage'])
@pytest.mark.parametrize('kind', ['images', 'labels'])
def test_damaged_file_is_named(gta5, kind, how):
    dataset = GTA5Dataset(data_root=str(gta5), pipeline=LOAD)
    damage(gta5 / kind / '00002.png', how)
    dataset[0]
    with pytest.raises(ValueError, match=rf'{kind}/00002.png: empty, broken or cut-off.*again'):
        dataset[1]


@pytest.mark.parametrize('kind', ['images', 'labels'])
def test_file_lost_after_the_start_is_named(gta5, kind):
    dataset = GTA5Dataset(data_root=str(gta5), pipeline=LOAD)
    (gta5 / kind / '00002.png').unlink()
    with pytest.raises(FileNotFoundError, match=f'{kind}/00002.png'):
        dataset[1]


@pytest.mark.parametrize('mode', ['RGB', 'I;16', '1'])
def test_labels_that_are_not_8_bit_ids(gta5, mode):
    array = {
        'RGB': np.zeros((32, 48, 3), np.uint8),
        'I;16': np.zeros((32, 48), np.uint16),
        '1': np.zeros((32, 48), bool),
    }[mode]
    Image.fromarray(array).save(gta5 / 'labels/00001.png')
    with pytest.raises(ValueError, match=rf'labels/00001.png.*8-bit id.*mode {mode}.*not its colour pictures'):
        GTA5Dataset(data_root=str(gta5), pipeline=LOAD)[0]


def test_label_of_another_size(gta5):
    write_labels(gta5 / 'labels/00001.png', 0, (40, 32))
    with pytest.raises(ValueError, match=r'labels/00001.png: the label is 40x32, its image .*00001.png 48x32'):
        GTA5Dataset(data_root=str(gta5), pipeline=LOAD)[0]
    item = GTA5Dataset(data_root=str(gta5), pipeline=[LoadImage(), LoadLabels(same_size=False)])[0]
    assert item['gt_seg_map'].shape == (32, 40)


def test_all_ignored_labels_are_a_defined_result(gta5):
    Image.fromarray(np.zeros((32, 48), np.uint8)).save(gta5 / 'labels/00001.png')
    assert (GTA5Dataset(data_root=str(gta5), pipeline=LOAD)[0]['gt_seg_map'] == 255).all()


def test_other_suffixes_in_the_folder_are_left_alone(gta5):
    write_image(gta5 / 'images/.hidden.png', 0)
    (gta5 / 'images/readme.txt').write_text('text')
    assert len(GTA5Dataset(data_root=str(gta5), split=None)) == 5


def test_every_read_goes_through_fileio():
    package = Path(mmuda.datasets.__file__).parents[1]
    files = [path for part in ('datasets', 'models', 'evaluation', 'utils') for path in (package / part).rglob('*.py')]
    forbidden = re.compile(r'cv2\.imread\b|(?<![\w.])open\(|(Image\.open|np\.load)\((?!BytesIO)|\.read_(text|bytes)\(')
    hits = [f'{p.name}: {hit[0]}' for p in files for hit in forbidden.finditer(p.read_text())]
    assert not hits


def test_a_list_may_mix_splits(cityscapes, tmp_path):
    lines = ('train_aachen_000000_000000', 'val_aachen_000000_000001')
    (tmp_path / 'train.txt').write_text('\n'.join(lines))
    found = CityscapesDataset(data_root=str(cityscapes), split=str(tmp_path / 'train.txt'), with_labels=False)
    assert [Path(found[i]['img_path']).parts[-3] for i in range(2)] == ['train', 'val']


@pytest.mark.parametrize('content', [b'', b'no picture'])
def test_a_bad_image_is_named_under_the_stock_name_too(gta5, content):
    (gta5 / 'images/00001.png').write_bytes(content)
    dataset = GTA5Dataset(data_root=str(gta5), pipeline=[dict(type='LoadImageFromFile')])
    with pytest.raises(ValueError, match=r'images/00001\.png: empty, broken'):
        dataset[0]
