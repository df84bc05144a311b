"""Oxford RobotCar and the nine classes (HIAST spec 2.1 and 2.2)."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mmuda.datasets import CityscapesDataset, LoadImage, LoadLabels, RobotCarDataset
from mmuda.datasets.classes import CLASS_SETS, ROBOTCAR_IDS, SYNTHIA_IDS, TRAIN_IDS, id_table, score_subsets

GOLDEN = dict(np.load(Path(__file__).parents[1] / 'golden/hiast/label_maps.npz'))
PIPELINE = [LoadImage(), LoadLabels()]


def test_tables_golden() -> None:
    assert np.array_equal(id_table(ROBOTCAR_IDS, 9), GOLDEN['oxford_to_9'])
    assert np.array_equal(id_table(TRAIN_IDS, 9), GOLDEN['cityscapes19_to_9'])
    assert np.array_equal(id_table(SYNTHIA_IDS, 19), GOLDEN['synthia_to_19'])
    assert np.array_equal(CLASS_SETS[19].palette, GOLDEN['palette_19'])
    assert np.array_equal(CLASS_SETS[9].palette, GOLDEN['palette_9'])
    assert score_subsets(CLASS_SETS[9].names) == {'mIoU': list(range(9))}


def test_the_two_domains_have_the_same_classes(city: Path) -> None:
    """MiniCity writes the same scenes in both layouts."""
    robotcar = RobotCarDataset(data_root=str(city), split='val', pipeline=PIPELINE)
    cityscapes = CityscapesDataset(data_root=str(city), split='val', classes=9, pipeline=PIPELINE)
    assert robotcar.metainfo['classes'] == cityscapes.metainfo['classes']
    assert len(robotcar) == len(cityscapes) == 3
    by_number = {item['name'].split('_')[1]: item for item in cityscapes}
    for item in robotcar:
        other = by_number[item['name'][-6:]]
        assert np.array_equal(item['img'], other['img'])
        assert np.array_equal(item['gt_seg_map'], other['gt_seg_map'])
        assert len(np.unique(item['gt_seg_map'])) > 5


def test_training_drives_have_no_labels(city: Path) -> None:
    train = RobotCarDataset(data_root=str(city), with_labels=False, pipeline=PIPELINE)
    assert len(train) == 8
    assert all('gt_seg_map' not in item for item in train)
    with pytest.raises(FileNotFoundError, match=r'missing, but asked for by its image .*with_labels=False'):
        len(RobotCarDataset(data_root=str(city)))


def test_lists(city: Path, tmp_path: Path) -> None:
    (tmp_path / 'val.txt').write_text('val/2014-12-16-18-44-24-000001.png\n2014-12-16-18-44-24-000000\n')
    found = RobotCarDataset(data_root=str(city), split=str(tmp_path / 'val.txt'))
    assert [found.get_data_info(i)['name'][-6:] for i in range(2)] == ['000001', '000000']
    with pytest.raises(ValueError, match=r'no table for 19 classes: set classes to one of \[9\]'):
        RobotCarDataset(data_root=str(city), split='val', classes=19)


def test_grey_labels_are_refused(city: Path, tmp_path: Path) -> None:
    for folder in ('val', 'anno'):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / 'a.png'), np.zeros((4, 8, 3) if folder == 'val' else (4, 8), np.uint8))
    with pytest.raises(ValueError, match=r'a\.png: a label file of RobotCar is an 8-bit PNG with 3 or 4 channels'):
        RobotCarDataset(data_root=str(tmp_path), split='val', pipeline=PIPELINE)[0]
    (tmp_path / 'anno/a.png').write_bytes(b'')
    with pytest.raises(ValueError, match=r'a\.png: empty, broken or cut-off label file'):
        RobotCarDataset(data_root=str(tmp_path), split='val', pipeline=PIPELINE)[0]
