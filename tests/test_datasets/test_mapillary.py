"""Mapillary Vistas: folders of v1.2 and v2.0, ids, JPEGs."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmuda.datasets import LoadImage, LoadLabels, MapillaryDataset
from mmuda.minicity import make
from mmuda.minicity.labels import TRAIN_ID

GOLDEN = Path(__file__).parents[1] / 'golden' / 'daf_ida'
LOAD = [LoadImage(), LoadLabels()]
EVERY_ID = np.arange(66, dtype=np.uint8).reshape(6, 11)


def names(dataset):
    return [dataset.get_data_info(i)['name'] for i in range(len(dataset))]


def write_image(path: Path, size: tuple = (11, 6), **options) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    w, h = size
    Image.fromarray(np.random.RandomState(0).randint(0, 256, (h, w, 3), np.uint8)).save(path, **options)
    return path.read_bytes()


def write_labels(path: Path, ids: np.ndarray = EVERY_ID) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(ids)
    picture.putpalette(bytes(range(255, -1, -1)) * 3)
    picture.save(path)


@pytest.fixture
def home(tmp_path) -> Path:
    """Two training images and a validation image, which has labels."""
    home = tmp_path / 'mapillary'
    for image in ('training/images/b', 'training/images/a', 'validation/images/c'):
        write_image(home / f'{image}.jpg')
    write_labels(home / 'validation/labels/c.png')
    return home


def test_every_id_maps_as_in_the_reference(home):
    (item,) = MapillaryDataset(data_root=str(home.parent), split='val', pipeline=LOAD)
    assert np.array_equal(item['gt_seg_map'].ravel(), np.load(GOLDEN / 'data_pipeline.npz')['mapillary_lut7'])


@pytest.mark.parametrize('folder', ['training', 'train'])
def test_training_needs_no_labels(home, folder):
    (home / 'training').rename(home / folder)
    dataset = MapillaryDataset(data_root=str(home), with_labels=False)
    assert names(dataset) == ['a', 'b']
    assert dataset.get_data_info(0)['img_path'] == str(home / folder / 'images/a.jpg')
    with pytest.raises(FileNotFoundError, match=r'training/labels, .*train/labels'):
        MapillaryDataset(data_root=str(home))


def test_lists(home):
    (home / 'selftrain.txt').write_text('b.jpg\n')
    assert names(MapillaryDataset(data_root=str(home), split='selftrain.txt', with_labels=False)) == ['b']
    (home / 'val.txt').write_text('validation/images/c.jpg\n')
    assert names(MapillaryDataset(data_root=str(home), split='val.txt')) == ['c']
    (home / 'selftrain.txt').write_text('c\n')
    with pytest.raises(FileNotFoundError, match=r'training/images/c.jpg: missing, .*selftrain.txt'):
        MapillaryDataset(data_root=str(home), split='selftrain.txt', with_labels=False)


def test_the_archive_of_v2_has_the_labels_of_v1_2_too(home):
    (home / 'validation/v2.0').mkdir()
    (home / 'validation/labels').rename(home / 'validation/v2.0/labels')
    with pytest.raises(ValueError, match=r'v2.0/labels: .*124 classes.*Use the labels of v1.2; .*v1.2/labels'):
        MapillaryDataset(data_root=str(home), split='val')
    write_labels(home / 'validation/v1.2/labels/c.png')
    dataset = MapillaryDataset(data_root=str(home), split='val')
    assert dataset.get_data_info(0)['seg_map_path'].endswith('validation/v1.2/labels/c.png')


def test_ids_of_v2_are_named(home):
    write_labels(home / 'validation/labels/c.png', EVERY_ID + 1)
    with pytest.raises(ValueError, match=r'labels/c.png: holds the id 66, .*v1.2 .*0 to 65. Use the labels of v1.2'):
        MapillaryDataset(data_root=str(home), split='val', pipeline=LOAD)[0]


def test_other_class_sets_have_no_table(home):
    with pytest.raises(ValueError, match=r'no table for 19 classes: set classes to one of \[7\]'):
        MapillaryDataset(data_root=str(home), split='val', classes=19)


def test_jpegs_are_decoded_as_by_pillow_whatever_their_orientation(home):
    turned = Image.Exif()
    turned[0x112] = 6  # to be shown turned by 90 degrees
    data = write_image(home / 'validation/images/c.jpg', quality=80, exif=turned)
    (item,) = MapillaryDataset(data_root=str(home), split='val', pipeline=LOAD)
    assert np.array_equal(item['img'][..., ::-1], np.asarray(Image.open(BytesIO(data))))
    assert item['ori_shape'] == (6, 11)


@pytest.mark.parametrize('share', [0.0, 0.1, 0.5, 0.9])
def test_a_cut_off_jpeg_is_named(home, share):
    path = home / 'validation/images/c.jpg'
    data = write_image(path, (640, 480))
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=r'images/c.jpg: empty, broken or cut-off image'):
        MapillaryDataset(data_root=str(home), split='val', pipeline=[LoadImage()])[0]


def test_minicity_reads_back_as_its_scenes(city):
    groups = [(0, 1), (2, 3, 4), (5, 6, 7), (8,), (10,), (11, 12), (13, 14, 15, 16, 17, 18)]
    new_id = np.full(256, 255)
    for new, trains in enumerate(groups):
        new_id[list(trains)] = new
    new_id[9] = 0  # terrain
    dataset = MapillaryDataset(data_root=str(city), split='val', pipeline=LOAD)
    assert len(dataset) == 3
    for item in dataset:
        view = make('val', int(item['name'].split('_')[1]), size=(64, 128))
        assert np.array_equal(item['gt_seg_map'], new_id[TRAIN_ID[view.label]])
        assert abs(item['img'][..., ::-1].astype(int) - view.image).max() <= 6
    assert len(MapillaryDataset(data_root=str(city))) == 8
