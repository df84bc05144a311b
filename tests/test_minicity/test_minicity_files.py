"""What lies on disk: layouts, encodings, manifest, and that nothing but the parameters decides about it."""

import dataclasses
import hashlib
import json

import cv2
import numpy as np
import pytest
from mmseg.datasets import MapillaryDataset_v1
from PIL import Image

from mmuda.minicity import GENERATOR_VERSION, LAYOUTS, ensure, generate, make
from mmuda.minicity.labels import CLASSES, MAPILLARY_ID, MAPILLARY_PALETTE, PALETTE, RAW_ID, ROBOTCAR_ID, TRAIN_ID
from mmuda.minicity.pencil import SKY_DEPTH

SMALL = dict(size=(32, 64), source=4, target_train=3, target_val=2, progress=False)
PINNED = {
    'gta5': 'acea56cc4d6f5d9cb45f7e4a8e14dcaa6d5097a29ead359cb8057410d9059056',
    'cityscapes': '611c2b9cf3402cfe69b311f80db8a5fadae45df76e1f1585f9a09f87ee7f004c',
}
PINNED_MORE = {
    'cityscapes_depth': '3925346ea35dda85dded19a774475d70ebfc5b57253d7f8037b4c5768e9fee7c',
    'mapillary': '5c9906556d30424b9d5d2465bd562ec0597a6e902f0e70028caa8d1597fd87f0',
}
PINNED_ROBOTCAR = '96784da0ba70ff6ebae05303c579e716fb6227ada2245fed6a8a1c25d5e7fc66'
PINNED_SYNTHIA = '00f6ca7eb6bbfc1313be05e2fc4000d499735fded258a827ef5c4f666a86137c'


def contents(root):
    files = (path for path in root.rglob('*') if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope='module')
def city(tmp_path_factory):
    root = tmp_path_factory.mktemp('city')
    return root, generate(root, workers=1, **SMALL)


def test_the_generator_is_fixed(city):
    """Whoever changes a pixel raises GENERATOR_VERSION and pins again; measured tables are void then."""
    assert GENERATOR_VERSION == 2
    assert {name: record['sha256'] for name, record in city[1]['layouts'].items()} == PINNED


def test_the_number_of_workers_does_not_matter(city, tmp_path):
    generate(tmp_path, workers=2, **SMALL)
    assert contents(tmp_path) == contents(city[0])


def test_manifest_tells_what_lies_there(city):
    root, manifest = city
    assert json.loads((root / 'minicity.json').read_text()) == manifest
    assert manifest['scenes'] == {'source': 4, 'train': 3, 'val': 2}
    assert manifest['layouts']['gta5']['files'] == 2 * 4 + 1
    assert manifest['layouts']['cityscapes']['files'] == 3 * 5 + 2
    assert len(contents(root)) == 9 + 17 + 1  # nothing temporary is left


def test_gta5_labels_are_palette_images_of_raw_ids(city):
    for index in range(4):
        label = Image.open(city[0] / f'GTA5/labels/{index + 1:05d}.png')
        view = make('source', index, size=(32, 64))
        assert label.mode == 'P'
        assert (np.asarray(label) == view.label).all()
        assert (np.asarray(label.convert('RGB')) == PALETTE[view.label]).all()
        assert (np.asarray(Image.open(city[0] / f'GTA5/images/{index + 1:05d}.png')) == view.image).all()
    assert (city[0] / 'GTA5/gta5_list/train.txt').read_text() == '1\n2\n3\n4\n'


@pytest.mark.parametrize(('split', 'count'), [('train', 3), ('val', 2)])
def test_cityscapes_layout(city, split, count):
    root = city[0] / 'cityscapes'
    lines = (root / 'city_list' / f'{split}.txt').read_text().split()
    assert len(set(lines)) == count
    for index, line in enumerate(lines):
        prefix, stem = line.split('_', 1)
        place = stem.split('_')[0]
        assert prefix == split
        image = Image.open(root / f'leftImg8bit/{split}/{place}/{stem}_leftImg8bit.png')
        ids, train_ids = (
            np.asarray(Image.open(root / f'gtFine/{split}/{place}/{stem}_gtFine_{kind}.png'))
            for kind in ('labelIds', 'labelTrainIds')
        )
        assert (image.mode, ids.dtype, ids.ndim) == ('RGB', np.uint8, 2)
        assert (ids == make(split, index, size=(32, 64)).label).all()
        assert (train_ids == TRAIN_ID[ids]).all()


@pytest.fixture(scope='module')
def synthia(tmp_path_factory):
    root = tmp_path_factory.mktemp('synthia')
    return root, generate(root, layouts=['gta5', 'synthia'], workers=1, **SMALL)


def test_synthia_layout_holds_the_scenes_of_gta5(synthia):
    root, manifest = synthia
    assert manifest['layouts']['gta5']['sha256'] == PINNED['gta5']
    assert manifest['layouts']['synthia'] == {'files': 3 * 4 + 1, 'sha256': PINNED_SYNTHIA}
    assert (root / 'SYNTHIA/synthia_list/train.txt').read_text() == '0\n1\n2\n3\n'
    for index in range(4):
        images = [
            Image.open(root / path) for path in (f'SYNTHIA/RGB/{index:07d}.png', f'GTA5/images/{index + 1:05d}.png')
        ]
        assert np.array_equal(*images)


def test_synthia_labels_and_depth_are_16_bit_with_3_channels(synthia):
    for index in range(4):
        view = make('source', index, size=(32, 64))
        label, depth = (
            cv2.imread(str(synthia[0] / 'SYNTHIA' / folder / f'{index:07d}.png'), cv2.IMREAD_UNCHANGED)
            for folder in ('GT/LABELS', 'Depth')
        )
        assert (label.dtype, label.shape) == (depth.dtype, depth.shape) == (np.uint16, (32, 64, 3))
        assert set(np.unique(label[..., 2])) <= {*range(23)} - {13, 14, 22}
        assert (label[..., :2] == 0).all()
        assert ((label[..., 2] == 0) == (TRAIN_ID[view.label] == 255)).all()
        assert (depth == depth[..., :1]).all()
        sky = view.depth == SKY_DEPTH
        assert (depth[sky] == 65535).all()
        assert abs(depth[~sky, 0] / 100 - view.depth[~sky]).max() <= 0.005 + 1e-5


@pytest.fixture(scope='module')
def more(tmp_path_factory):
    root = tmp_path_factory.mktemp('more')
    return root, generate(root, layouts=['cityscapes', 'mapillary', 'cityscapes_depth'], workers=1, **SMALL)


def test_more_layouts_are_fixed_and_leave_the_first_ones_alone(more):
    hashes = {name: record['sha256'] for name, record in more[1]['layouts'].items()}
    assert hashes == {'cityscapes': PINNED['cityscapes']} | PINNED_MORE
    assert len(contents(more[0])) == (3 * 5 + 2) + 2 * 5 + 2 + 1


@pytest.mark.parametrize(('split', 'folder', 'count'), [('train', 'training', 3), ('val', 'validation', 2)])
def test_mapillary_layout_holds_the_scenes_of_cityscapes(more, split, folder, count):
    images = sorted((more[0] / f'mapillary/{folder}/images').iterdir())
    assert len(images) == count
    for image in images:
        index = int(image.stem.split('_')[1])
        view = make(split, index, size=(32, 64))
        label = Image.open(more[0] / f'mapillary/{folder}/labels/{image.stem}.png')
        assert label.mode == 'P'
        assert (np.asarray(label) == MAPILLARY_ID[view.label]).all()
        assert (np.asarray(label.convert('RGB')) == MAPILLARY_PALETTE[np.asarray(label)]).all()
        with Image.open(image) as picture:
            assert picture.format == 'JPEG'
            error = np.asarray(picture).astype(int) - view.image
        assert 0 < abs(error).mean() < 0.6  # lossy, but little
        assert abs(error).max() <= 6
        assert (more[0] / f'cityscapes/leftImg8bit/{split}/{image.stem.split("_")[0]}').is_dir()


def test_mapillary_s_ids_mean_what_the_classes_are_called():
    """By the class list that mmseg ships, whose names differ a little."""
    names = [name.lower() for name in MapillaryDataset_v1.METAINFO['classes']]
    called = {'traffic sign': 'traffic sign (front)', 'rider': 'bicyclist', 'train': 'on rails'}
    for name in (*CLASSES, 'ego vehicle'):
        assert names[MAPILLARY_ID[RAW_ID[name]]] == called.get(name, name)
    assert {names[MAPILLARY_ID[raw]] for raw in range(7) if raw != 1} == {'unlabeled'}


def test_robotcar_layout_has_labels_of_the_validation_images_only(tmp_path):
    manifest = generate(tmp_path, layouts=['robotcar'], workers=1, **SMALL)
    assert manifest['layouts']['robotcar'] == {'files': 3 + 2 * 2, 'sha256': PINNED_ROBOTCAR}
    assert sorted(path.name for path in (tmp_path / 'RobotCar').iterdir()) == ['anno', 'train', 'val']
    for path in (tmp_path / 'RobotCar/anno').iterdir():
        view, label = make('val', int(path.stem[-6:]), size=(32, 64)), Image.open(path)
        assert label.mode == 'RGBA'
        assert (np.asarray(label)[..., 0] == ROBOTCAR_ID[view.label]).all()
        assert (np.asarray(Image.open(tmp_path / 'RobotCar/val' / path.name)) == view.image).all()


def test_depth_of_the_validation_images(more):
    paths = sorted((more[0] / 'cityscapes/depth').rglob('*.png'))
    assert [path.parts[-3] for path in paths] == ['val'] * 2
    for path in paths:
        view = make('val', int(path.stem.split('_')[1]), size=(32, 64))
        depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert (depth.dtype, depth.shape) == (np.uint16, (32, 64))
        assert (depth == np.rint(100 * view.depth).clip(0, 65535)).all()
        assert ((depth == 65535) == (view.depth == SKY_DEPTH)).all()
        assert (more[0] / f'cityscapes/leftImg8bit/val/{path.parent.name}').is_dir()


def test_training_and_validation_cities_differ(city):
    root = city[0] / 'cityscapes/leftImg8bit'
    train, val = ({path.name for path in (root / split).iterdir()} for split in ('train', 'val'))
    assert train
    assert val
    assert not train & val


def test_an_interrupted_run_is_completed(city, tmp_path, monkeypatch):
    def interrupted(view, stream, index):
        if index == 2:
            raise KeyboardInterrupt
        return LAYOUTS['cityscapes'].files(view, stream, index)

    gta5 = dataclasses.replace(LAYOUTS['gta5'], files=interrupted, streams=('val', 'train'))
    with monkeypatch.context() as patch:
        patch.setitem(LAYOUTS, 'gta5', gta5)
        with pytest.raises(KeyboardInterrupt):
            generate(tmp_path, workers=1, **SMALL)
    assert not (tmp_path / 'minicity.json').exists()
    assert any(tmp_path.rglob('*_leftImg8bit.png'))
    stale = tmp_path / 'cityscapes' / 'x.png.tmp1'
    stale.touch()
    generate(tmp_path, workers=1, **SMALL)
    assert not stale.exists()
    assert contents(tmp_path) == contents(city[0])


def test_a_missing_layout_is_added(city, tmp_path):
    generate(tmp_path, layouts=['gta5'], workers=1, **SMALL)
    assert not (tmp_path / 'cityscapes').exists()
    generate(tmp_path, workers=1, **SMALL)
    assert contents(tmp_path) == contents(city[0])


def test_ensure_leaves_a_complete_city_alone(city):
    before = {path: path.stat().st_mtime_ns for path in city[0].rglob('*')}
    ensure(dict(root=city[0], **SMALL))
    ensure(dict(root=city[0], layouts=('gta5',), **SMALL))
    assert {path: path.stat().st_mtime_ns for path in city[0].rglob('*')} == before


@pytest.mark.parametrize('other', [dict(seed=1), dict(shift='mild'), dict(size=(64, 128)), dict(source=5)])
def test_other_parameters_are_an_error_that_names_the_folder(city, other):
    with pytest.raises(FileExistsError, match=rf'{city[0]} holds another MiniCity: .*[Dd]elete'):
        ensure(dict(root=city[0]) | SMALL | other)


@pytest.mark.parametrize('folder', ['GTA5/images', 'gta5/images', 'Cityscapes/leftImg8bit'])
def test_foreign_data_are_left_alone(tmp_path, folder):
    (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(FileExistsError, match=rf'{tmp_path} holds other data .*--data-root'):
        generate(tmp_path, workers=1, **SMALL)
    assert not (tmp_path / 'minicity.json').exists()


@pytest.mark.parametrize(
    ('bad', 'message'),
    [
        (dict(layouts=['kitti']), 'cannot write kitti; choose from gta5, cityscapes'),
        (dict(size=(8, 8)), 'at least 16 pixels'),
        (dict(source=0), 'at least one scene'),
        (dict(seed=-1), 'seed of 0 or more'),
        (dict(shift='no'), 'no shift level'),
    ],
)
def test_unusable_parameters_are_named(tmp_path, bad, message):
    with pytest.raises(ValueError, match=message):
        generate(tmp_path, **(SMALL | bad))
    assert not any(tmp_path.iterdir())


def test_another_seed_is_another_city(city, tmp_path):
    manifest = generate(tmp_path, seed=1, workers=1, **SMALL)
    for name, record in manifest['layouts'].items():
        assert record['sha256'] != city[1]['layouts'][name]['sha256']
