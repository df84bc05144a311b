"""What Depth Distribution's pipelines load, against the reference (its spec 2.2 to 2.5 and 10)."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from torch.utils.data import default_collate

from mmuda.datasets import FitPad, GridSample, LoadDepth, LoadImage, LoadLabels, Pack, PillowResize, SYNTHIADataset
from mmuda.datasets.classes import CITYSCAPES_IDS, MAPILLARY_IDS, SYNTHIA_IDS, id_table
from mmuda.datasets.transforms.geometric import pad, pad_size, pillow_nearest_index
from mmuda.models import DomainDataPreprocessor

GOLDEN = Path(__file__).parents[1] / 'golden/depth_distribution'
MEAN = [104.00698793, 116.66876762, 122.67891434]


def load(name: str) -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / f'{name}.npz'))


@pytest.mark.parametrize('classes', [16, 7])
def test_id_tables_golden(classes: int) -> None:
    golden = load('data_pipeline')
    assert np.array_equal(id_table(SYNTHIA_IDS, classes), golden[f'synthia_{classes}'])
    assert np.array_equal(id_table(CITYSCAPES_IDS, classes)[:34], golden[f'cityscapes_{classes}'][:34])
    if classes == 7:
        assert np.array_equal(id_table(MAPILLARY_IDS, 7)[:66], golden['mapillary_7'])


@pytest.mark.parametrize('classes', [16, 7])
def test_source_item_golden(classes: int, tmp_path: Path) -> None:
    """From files to the device, with the samples of the grid beside the maps at the network's size."""
    golden, raw = load(f'synthia_item_{classes}'), load('source_density_inputs')
    image = golden['rgb_blocks'].repeat(40, 0).repeat(40, 1)[..., ::-1]
    files = {'RGB': image, 'parsed_LABELS': raw['label_u8'], 'Depth': raw['depth_u16']}
    for folder, array in files.items():
        (tmp_path / 'SYNTHIA' / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / 'SYNTHIA' / folder / '0000000.png'), array)
    size = tuple(golden['size'].tolist())
    pipeline = [LoadImage(), LoadLabels(), LoadDepth(), GridSample((161, 96)), PillowResize(size), Pack()]
    dataset = SYNTHIADataset(data_root=str(tmp_path), split=None, classes=classes, with_depth=True, pipeline=pipeline)
    prepare = DomainDataPreprocessor(mean=MEAN, std=[1, 1, 1])
    item = prepare({'source': default_collate([dataset[0]])}, training=True)['source']
    np.testing.assert_allclose(item['image'][0, :, ::37, ::41], golden['image_sample'], rtol=0, atol=1e-4)
    label, depth = item['label'][0].numpy(), item['depth'][0, 0].numpy()
    assert np.array_equal(label[::7, ::9], golden['label_map_sample'])
    assert np.array_equal(np.bincount(label.ravel(), minlength=256), golden['label_hist'])
    assert np.array_equal(depth[::7, ::9], golden['depth_sample'])
    assert depth.mean(dtype=np.float64) == pytest.approx(golden['depth_mean'], rel=1e-6)
    assert item['grid_label'].shape == (1, 96, 161)
    assert item['grid_depth'].shape == (1, 1, 96, 161)
    assert torch.equal(
        item['grid_depth'][0, 0], item['depth'][0, 0][pillow_nearest_index(760, 96)][:, pillow_nearest_index(1280, 161)]
    )


def test_the_middle_column_is_pillows() -> None:
    """Not floor((u + 0.5) * 1280 / w), which gives 640 (2.5)."""
    assert pillow_nearest_index(1280, 161)[80] == 639
    assert pillow_nearest_index(1280, 81)[40] == 639


@pytest.mark.parametrize('classes', [16, 7])
def test_target_item_golden(classes: int) -> None:
    golden = load('data_pipeline')
    image = np.ascontiguousarray(golden['cs_image_u8'][..., ::-1])
    item = Compose([PillowResize((40, 24)), Pack()])(dict(img=image, img_shape=(32, 64), ori_shape=(32, 64), name='a'))
    mean = np.array(MEAN, np.float32)[:, None, None]
    np.testing.assert_allclose(item['image'].numpy() - mean, golden['cs_item_image'], rtol=0, atol=1e-4)
    label = id_table(CITYSCAPES_IDS, classes)[golden['cs_label_u8']]
    assert np.array_equal(label, golden[f'cs_item{classes}_label'])


@pytest.mark.parametrize('case', ['w', 't', 'e'])
def test_mapillary_item_golden(case: str) -> None:
    golden = load('data_pipeline')
    image = np.ascontiguousarray(golden[f'mp_{case}_image_u8'][..., ::-1])
    label = id_table(MAPILLARY_IDS, 7)[golden[f'mp_{case}_label_u8']]
    results = dict(img=image, gt_seg_map=label, img_shape=label.shape, ori_shape=label.shape)
    found = FitPad((40, 24)).transform(dict(results))
    pixels = found['img'].transpose(2, 0, 1).astype(np.float32) - np.array(MEAN, np.float32)[:, None, None]
    np.testing.assert_allclose(pixels, golden[f'mp_{case}_item_image'], rtol=0, atol=1e-4)
    assert np.array_equal(found['gt_seg_map'], golden[f'mp_{case}_item_label_scaled'][..., 0])
    assert found['ori_shape'] == (24, 40)
    native = pad(label, pad_size(label.shape[::-1], (40, 24)), 255)
    assert np.array_equal(native, golden[f'mp_{case}_item_label_padded_fullres'])
