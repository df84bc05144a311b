"""Depth on its way from a file to the inverse depth that a network regresses."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from tiny_sets import write_image, write_rgb16

from mmuda.datasets import (
    CityscapesDataset,
    GTA5Dataset,
    LoadDepth,
    LoadImage,
    LoadLabels,
    Pack,
    PillowResize,
    SYNTHIADataset,
)
from mmuda.datasets.transforms.loading import decode_centimetres
from mmuda.minicity import make
from mmuda.models.data_preprocessor import DomainDataPreprocessor

GOLDEN = np.load(Path(__file__).parents[1] / 'golden' / 'daf_ida' / 'data_pipeline.npz')
MEAN = [104.00698793, 116.66876762, 122.67891434]


def png(array: np.ndarray) -> bytes:
    return cv2.imencode('.png', array)[1].tobytes()


@pytest.fixture(params=['Depth', 'Depth/Depth'])
def home(request, tmp_path) -> Path:
    """SYNTHIA with the golden image, its labels and depth, the latter with three channels."""
    home = tmp_path / 'SYNTHIA'
    for folder, content in (
        ('RGB', GOLDEN['syn_rgb'][..., ::-1]),
        ('parsed_LABELS', GOLDEN['syn_label_raw']),
        (request.param, np.repeat(GOLDEN['syn_depth_raw_cm'][..., None], 3, 2)),
    ):
        (home / folder).mkdir(parents=True)
        (home / folder / '0000000.png').write_bytes(png(content))
    return home


@pytest.mark.parametrize('classes', [16, 7])
@pytest.mark.parametrize('size', [(30, 22), (16, 8)])
def test_training_pipeline_equals_the_reference(home, size, classes):
    """From files to what a step receives. Label and depth are sampled at different pixels."""
    pipeline = [LoadImage(), LoadLabels(), LoadDepth(), PillowResize(size), Pack()]
    dataset = SYNTHIADataset(data_root=str(home), split=None, classes=classes, with_depth=True, pipeline=pipeline)
    packed = dataset[0]
    assert packed['depth'].dtype == torch.uint16
    batch = {'source': torch.utils.data.default_collate([packed, packed])}
    prepared = DomainDataPreprocessor(mean=MEAN, std=[1, 1, 1])(batch, training=True)['source']
    key = f'{size[0]}x{size[1]}'
    assert prepared['depth'].dtype == torch.float32
    assert prepared['depth'].shape == (2, 1, size[1], size[0])
    for index in range(2):
        assert np.array_equal(prepared['depth'][index, 0].numpy(), GOLDEN[f'syn_depth_{key}'])
        assert np.array_equal(prepared['label'][index].numpy(), GOLDEN[f'syn_label{classes}_{key}'])
        assert np.array_equal(prepared['image'][index].numpy(), GOLDEN[f'syn_image_{key}'])


def test_one_channel_is_the_same_as_three():
    raw = GOLDEN['syn_depth_raw_cm']
    for array in (raw, np.repeat(raw[..., None], 3, 2)):
        decoded = decode_centimetres(png(array), 'a')
        assert decoded.dtype == np.uint16
        assert np.array_equal(decoded, raw)


def test_depth_is_flipped_with_its_image(home):
    pipeline = [LoadImage(), LoadDepth(), dict(type='RandomFlip', prob=1.0)]
    dataset = SYNTHIADataset(data_root=str(home), split=None, with_depth=True, pipeline=pipeline)
    assert np.array_equal(dataset[0]['gt_depth_map'], GOLDEN['syn_depth_raw_cm'][:, ::-1])
    assert np.array_equal(dataset[0]['img'], GOLDEN['syn_rgb'][:, ::-1, ::-1])


def test_stock_crops_take_depth_along(home):
    crop = dict(type='RandomCrop', crop_size=(8, 9))
    dataset = SYNTHIADataset(
        data_root=str(home), split=None, with_depth=True, pipeline=[LoadImage(), LoadDepth(), crop]
    )
    np.random.seed(0)
    item = dataset[0]
    wanted = item['img'][..., ::-1]
    place = [(y, x) for y in range(15) for x in range(22) if (GOLDEN['syn_rgb'][y : y + 8, x : x + 9] == wanted).all()]
    ((y, x),) = place
    assert np.array_equal(item['gt_depth_map'], GOLDEN['syn_depth_raw_cm'][y : y + 8, x : x + 9])


def test_labels_false_leaves_depth_alone(home):
    pipeline = [LoadImage(), LoadLabels(), LoadDepth(), PillowResize((16, 8), labels=False)]
    item = SYNTHIADataset(data_root=str(home), split=None, with_depth=True, pipeline=pipeline)[0]
    assert item['img'].shape[:2] == (8, 16)
    assert item['gt_depth_map'].shape == item['gt_seg_map'].shape == (22, 30)


@pytest.mark.parametrize('home', ['Depth'], indirect=True)
class TestErrors:
    def dataset(self, home: Path) -> SYNTHIADataset:
        return SYNTHIADataset(data_root=str(home), split=None, with_depth=True, pipeline=[LoadImage(), LoadDepth()])

    def test_no_folder(self, home):
        (home / 'Depth').rename(home / 'elsewhere')
        with pytest.raises(FileNotFoundError, match=r'SYNTHIA/Depth/Depth, .*SYNTHIA/Depth\.'):
            self.dataset(home)
        assert len(SYNTHIADataset(data_root=str(home), split=None)) == 1

    def test_missing_file(self, home):
        write_image(home / 'RGB/0000001.png', 1, (30, 22))
        (home / 'parsed_LABELS/0000001.png').write_bytes((home / 'parsed_LABELS/0000000.png').read_bytes())
        with pytest.raises(FileNotFoundError, match=r'Depth/0000001\.png: missing, but asked for by its image'):
            self.dataset(home)
        assert len(SYNTHIADataset(data_root=str(home), split=None, with_depth=True, indices=1)) == 1

    def test_other_size(self, home):
        (home / 'Depth/0000000.png').write_bytes(png(np.zeros((22, 31), np.uint16)))
        with pytest.raises(ValueError, match=r'Depth/0000000.png: the depth map is 31x22, its image .* 30x22'):
            self.dataset(home)[0]

    @pytest.mark.parametrize(
        ('array', 'form'),
        [(np.zeros((22, 30), np.uint8), '1 of 8 bits'), (np.zeros((22, 30, 4), np.uint16), '4 of 16 bits')],
    )
    def test_other_form(self, home, array, form):
        (home / 'Depth/0000000.png').write_bytes(png(array))
        with pytest.raises(ValueError, match=rf'Depth/0000000.png: depth is a 16-bit PNG .* this one has {form}'):
            self.dataset(home)[0]

    def test_channels_that_differ(self, home):
        rgb = np.repeat(GOLDEN['syn_depth_raw_cm'][..., None], 3, 2)
        rgb[3, 4, 1] ^= 1
        write_rgb16(home / 'Depth/0000000.png', rgb)
        with pytest.raises(ValueError, match=r'Depth/0000000.png: the 3 channels of a depth file must be equal'):
            self.dataset(home)[0]

    @pytest.mark.parametrize('share', [0, 0.5])
    def test_damage(self, home, share):
        data = (home / 'Depth/0000000.png').read_bytes()
        (home / 'Depth/0000000.png').write_bytes(data[: int(share * len(data))])
        with pytest.raises(ValueError, match=r'Depth/0000000.png: empty, broken or cut-off depth file'):
            self.dataset(home)[0]

    def test_not_asked_for(self, home):
        with pytest.raises(ValueError, match=r'0000000.png comes without depth: give its data set with_depth=True'):
            SYNTHIADataset(data_root=str(home), split=None, pipeline=[LoadImage(), LoadDepth()])[0]


def test_a_data_set_without_depth(gta5):
    with pytest.raises(ValueError, match='GTA5Dataset has no depth maps'):
        GTA5Dataset(data_root=str(gta5), with_depth=True)


class TestDepthFromElsewhere:
    """GTA5 has no depth of its own; a folder of it may lie anywhere."""

    def dataset(self, gta5: Path, folder: Path) -> GTA5Dataset:
        given = dict(with_depth=True, depth_dir=str(folder), pipeline=[LoadImage(), LoadDepth()])
        return GTA5Dataset(data_root=str(gta5), split=None, **given)

    def write(self, gta5: Path, folder: Path, kind: str, array: np.ndarray) -> None:
        folder.mkdir(exist_ok=True)
        for image in GTA5Dataset(data_root=str(gta5), split=None).load_data_list():
            path = (folder / image['image']).with_suffix(kind)
            if kind == '.npy':
                np.save(path, array)
            else:
                path.write_bytes(png(array))

    @pytest.mark.parametrize('form', ['png', 'centimetres', 'metres'])
    def test_every_form_is_centimetres(self, gta5, tmp_path, form):
        wanted = np.random.default_rng(0).integers(0, 65536, (32, 48)).astype(np.uint16)
        wanted[0, 0] = 65535
        metres = wanted.astype(np.float32) / 100
        metres[wanted == 65535] = np.inf
        array = metres if form == 'metres' else wanted
        self.write(gta5, tmp_path / 'depth', '.png' if form == 'png' else '.npy', array)
        for item in self.dataset(gta5, tmp_path / 'depth'):
            assert np.array_equal(item['gt_depth_map'], wanted)
            assert item['gt_depth_map'].dtype == np.uint16

    def test_a_missing_file(self, gta5, tmp_path):
        self.write(gta5, tmp_path / 'depth', '.npy', np.ones((32, 48)))
        gone = sorted((tmp_path / 'depth').rglob('*.npy'))[-1]
        gone.unlink()
        with pytest.raises(FileNotFoundError, match=rf'{gone.name}: missing, but asked for by its image'):
            self.dataset(gta5, tmp_path / 'depth')
        with pytest.raises(FileNotFoundError, match='nowhere'):
            self.dataset(gta5, tmp_path / 'nowhere')

    @pytest.mark.parametrize(
        ('array', 'message'),
        [
            (np.ones((32, 47)), 'the depth map is 47x32, its image .* 48x32'),
            (np.ones((32, 48, 1)), r'this one is \(32, 48, 1\) of float64'),
            (np.ones((32, 48), np.int64), 'metres in floating-point numbers or of centimetres in uint16, .* int64'),
            (-np.ones((32, 48)), 'some metres are negative or no number'),
            (np.full((32, 48), np.nan), 'some metres are negative or no number. Write inf'),
        ],
    )
    def test_wrong_arrays(self, gta5, tmp_path, array, message):
        self.write(gta5, tmp_path / 'depth', '.npy', array)
        with pytest.raises(ValueError, match=rf'\.npy: .*{message}'):
            self.dataset(gta5, tmp_path / 'depth')[0]

    def test_damage(self, gta5, tmp_path):
        self.write(gta5, tmp_path / 'depth', '.npy', np.ones((32, 48)))
        for file in (tmp_path / 'depth').rglob('*.npy'):
            file.write_bytes(file.read_bytes()[:60])
        with pytest.raises(ValueError, match=r'\.npy: empty, broken or cut-off depth file \(60 bytes\)'):
            self.dataset(gta5, tmp_path / 'depth')[0]


@pytest.mark.parametrize(
    ('kind', 'stream', 'split'), [(SYNTHIADataset, 'source', None), (CityscapesDataset, 'val', 'val')]
)
def test_minicity_s_depth_reads_back_as_its_scenes(city, kind, stream, split):
    dataset = kind(data_root=str(city), split=split, with_depth=True, pipeline=[LoadImage(), LoadDepth()])
    assert len(dataset) >= 3
    for item in dataset:
        view = make(stream, int(item['name'].split('_')[-2 if split else 0]), size=(64, 128))
        assert np.array_equal(item['gt_depth_map'], np.rint(100 * view.depth).clip(0, 65535))


def test_cityscapes_images_equal_the_reference():
    image = np.ascontiguousarray(GOLDEN['cs_rgb'][..., ::-1])
    results = {'img': image, 'img_shape': (21, 42), 'ori_shape': (21, 42), 'name': 'a'}
    packed = Compose([PillowResize((20, 10)), Pack()])(results)
    mean = np.array(MEAN, np.float32)[:, None, None]
    assert np.array_equal(packed['image'].numpy().astype(np.float32) - mean, GOLDEN['cs_image_20x10'])
