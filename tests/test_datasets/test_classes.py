from pathlib import Path

import numpy as np
import pytest
from mmseg.datasets import CityscapesDataset as MMSegCityscapes

from mmuda.datasets import layout
from mmuda.datasets.classes import (
    CITYSCAPES_IDS,
    CLASS_SETS,
    MAPILLARY_IDS,
    SYNTHIA_IDS,
    TRAIN_IDS,
    id_table,
    metainfo,
    score_subsets,
)

GOLDEN = Path(__file__).parents[1] / 'golden' / 'ehtdi'
LDBE = Path(__file__).parents[1] / 'golden' / 'ldbe'
DAF_IDA = Path(__file__).parents[1] / 'golden' / 'daf_ida'


@pytest.mark.parametrize(
    ('key', 'classes'), [('gta5_19', 19), ('cityscapes19', 19), ('cityscapes16', 16), ('cityscapes13', 13)]
)
def test_every_raw_id_maps_as_in_the_reference(key, classes):
    golden = np.load(GOLDEN / 'label_map.npz')
    table = id_table(CITYSCAPES_IDS, classes)
    expected = np.where(golden[key] < 0, 255, golden[key])
    # raw id -1 (licence plate) is stored as 255 in an 8-bit file, which index -1 reads
    assert np.array_equal(table[golden['raw_id']], expected)


@pytest.mark.parametrize(
    ('key', 'ids'), [('gta5', CITYSCAPES_IDS), ('cityscapes', CITYSCAPES_IDS), ('synthia', SYNTHIA_IDS)]
)
def test_every_raw_id_maps_to_ldbes_19_classes(key, ids):
    golden = np.load(LDBE / '01_label_maps.npz')
    assert np.array_equal(id_table(ids, 19)[golden['raw_id']], golden[f'{key}_train_id'])


@pytest.mark.parametrize('classes', [16, 7])
def test_synthia_s_tables_of_the_depth_papers(classes):
    expected = np.full(256, 255)
    raw, new = np.load(DAF_IDA / 'data_pipeline.npz')[f'synthia_table{classes}'].T
    expected[raw] = new
    assert np.array_equal(id_table(SYNTHIA_IDS, classes), expected)


@pytest.mark.parametrize('classes', [19, 16, 7])
def test_cityscapes_tables_of_the_depth_papers(classes):
    expected = np.load(DAF_IDA / 'data_pipeline.npz')[f'cityscapes_lut{classes}']
    table = id_table(CITYSCAPES_IDS, classes)
    assert np.array_equal(table[:34], expected[:34])
    assert expected[34] == 255  # of raw id -1, which an 8-bit file stores as 255
    assert (table[34:] == 255).all()


def test_mapillary_s_table_of_the_depth_papers():
    table = id_table(MAPILLARY_IDS, 7)
    assert np.array_equal(table[:66], np.load(DAF_IDA / 'data_pipeline.npz')['mapillary_lut7'])
    assert (table[66:] == 255).all()
    assert (table[29], id_table(CITYSCAPES_IDS, 7)[22]) == (0, 3)  # terrain is flat here and nature there
    with pytest.raises(ValueError, match=r'no table for 19 classes: set classes to one of \[7\]'):
        id_table(MAPILLARY_IDS, 19)


def test_seven_classes_follow_from_train_ids_but_for_caravan_and_trailer():
    by_raw, by_train = id_table(CITYSCAPES_IDS, 7), id_table(TRAIN_IDS, 7)
    raw_to_train = id_table(CITYSCAPES_IDS, 19)
    assert np.flatnonzero(by_train[raw_to_train] != by_raw).tolist() == [29, 30]
    assert metainfo(7)['classes'] == ('flat', 'construction', 'object', 'nature', 'sky', 'human', 'vehicle')
    assert score_subsets(CLASS_SETS[7].names) == {'mIoU': list(range(7))}


def test_train_id_files_are_restricted_to_the_class_set():
    assert np.array_equal(id_table(TRAIN_IDS, 19), [*range(19), *[255] * 237])
    table = id_table(TRAIN_IDS, 16)
    assert table[9] == table[14] == table[16] == table[255] == 255
    assert [table[i] for i in (8, 10, 15, 18)] == [8, 9, 13, 15]


def test_names_and_palette_are_those_of_mmseg():
    assert metainfo(19)['classes'] == MMSegCityscapes.METAINFO['classes']
    assert metainfo(19)['palette'] == MMSegCityscapes.METAINFO['palette']
    assert metainfo(16)['classes'][9:12] == ('sky', 'person', 'rider')
    assert all(len(s.names) == len(s.palette) == len(s.members) == size for size, s in CLASS_SETS.items())


def test_means_average_entries_of_the_networks_own_classes():
    sixteen, thirteen = list(range(16)), [0, 1, 2, 6, 7, 8, *range(9, 16)]
    assert score_subsets(CLASS_SETS[16].names) == {'mIoU': sixteen, 'mIoU16': sixteen, 'mIoU13': thirteen}
    nineteen = score_subsets(CLASS_SETS[19].names)
    assert list(nineteen) == ['mIoU', 'mIoU16', 'mIoU13']
    assert nineteen['mIoU16'] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18]
    assert nineteen['mIoU13'] == [0, 1, 2, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18]
    assert list(score_subsets(CLASS_SETS[13].names)) == ['mIoU', 'mIoU13']
    own = [f'kind {number}' for number in range(19)]
    assert list(score_subsets(own)) == ['mIoU']  # 19 of your own are not those of Cityscapes


@pytest.mark.parametrize('size', CLASS_SETS)
def test_a_class_set_by_its_names_is_the_same(size):
    assert metainfo(CLASS_SETS[size].names) == metainfo(size)


def test_unknown_class_count_names_the_choices():
    with pytest.raises(ValueError, match=r'no set of 20 classes.*\[7, 9, 13, 16, 19\]'):
        metainfo(20)


@pytest.mark.parametrize('split', layout.SPLITS)
def test_shipped_lists_are_the_published_ones(split, tmp_path):
    path = layout.find_list(split, str(tmp_path), 'gta5_list', 'gta5')
    numbers = np.array([int(line) for line in layout.read_list(path)])
    assert np.array_equal(numbers, np.load(GOLDEN / 'splits.npz')[f'gta5_{split}'])
