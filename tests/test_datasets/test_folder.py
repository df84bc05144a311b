"""Your own data: MiniCity under other names, with other ids, other classes and other files."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import ROOT, SMALL_CITY, run_tool, stamp, tiny
from mmengine.config import Config
from PIL import Image

from mmuda.datasets import FolderDataset, LoadImage, LoadLabels
from mmuda.datasets.classes import metainfo
from mmuda.engine.recipe import Recipe
from mmuda.utils.checkpoint import load_safe
from mmuda.utils.inference import Predictor

# raw id of MiniCity's files -> id of the private ones, as in configs/your_data/data.py; the rest becomes 0, no class
PRIVATE = {7: 1, 8: 2, 11: 3, 12: 4, 21: 5, 23: 6, 24: 7, 26: 8, 27: 9, 28: 10}
CLASSES = ('road', 'pavement', 'building', 'vegetation', 'sky', 'person', 'vehicle')
CONFIG = ROOT / 'configs/your_data/ehtdi.py'


def private_ids(label: Path) -> np.ndarray:
    table = np.zeros(256, np.uint8)
    table[list(PRIVATE)] = list(PRIVATE.values())
    return table[np.asarray(Image.open(label))]


@pytest.fixture(scope='session')
def private(city: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small city as somebody's own recordings: GTA5's scenes as a renderer's, Cityscapes' as a camera's."""
    root = tmp_path_factory.mktemp('private')

    def put(folder: str, name: str, picture: np.ndarray) -> None:
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(path.suffix, picture)[1].tobytes())

    for number, image in enumerate(sorted((city / 'GTA5/images').iterdir())):
        name = f'level{number % 2}/shot {number}.png'
        (root / 'renderer/frames' / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, root / 'renderer/frames' / name)
        put('renderer/ids', name, private_ids(city / 'GTA5/labels' / image.name))
    images = city / 'cityscapes/leftImg8bit'
    for number, image in enumerate(sorted(images.glob('train/*/*.png'))):
        put('camera/drives', f'monday/{number}.jpg', cv2.imread(str(image)))
    for number, image in enumerate(sorted(images.glob('val/*/*.png'))):
        label = city / 'cityscapes/gtFine' / image.relative_to(images)
        label = label.with_name(label.name.replace('leftImg8bit', 'gtFine_labelIds'))
        put('camera/checked/frames', f'{number}.jpg', cv2.imread(str(image)))
        put('camera/checked/masks', f'{number}_ids.png', private_ids(label))
    return root


def dataset(private: Path, **settings: object) -> FolderDataset:
    cfg = Config.fromfile(CONFIG.with_name('data.py'))
    common = dict(data_root=str(private), pipeline=[LoadImage(), LoadLabels()])
    return FolderDataset(**{**cfg.val, **common, **settings})


def test_ids_become_the_classes_in_their_order(private: Path, city: Path) -> None:
    found = dataset(private)
    assert found.metainfo['classes'] == CLASSES
    label = np.asarray(Image.open(sorted((city / 'cityscapes/gtFine/val').glob('*/*labelIds.png'))[0]))
    groups = ((7,), (8,), (11, 12), (21,), (23,), (24,), (26, 27, 28))
    wanted = np.full(label.shape, 255)
    for number, raws in enumerate(groups):
        wanted[np.isin(label, raws)] = number
    assert np.array_equal(found[0]['gt_seg_map'], wanted)
    assert len(np.unique(wanted)) > 4


def test_own_classes_have_colours_of_their_own() -> None:
    found = metainfo(CLASSES)
    assert found['palette'][0] == metainfo(19)['palette'][0]  # road
    assert len({tuple(colour) for colour in found['palette']}) == len(CLASSES)


def test_a_list_takes_some_of_the_images(private: Path, tmp_path: Path) -> None:
    (tmp_path / 'some.txt').write_text('monday/3\nmonday/1.jpg\n')
    target = Config.fromfile(CONFIG.with_name('data.py')).target
    found = FolderDataset(**target, data_root=str(private), split=str(tmp_path / 'some.txt'), with_labels=False)
    assert [found.get_data_info(index)['name'] for index in range(2)] == ['monday/3', 'monday/1']
    target.images = str(private / target.images)
    assert len(FolderDataset(**target, data_root='nowhere', with_labels=False)) == SMALL_CITY['target_train']


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(images='camera/nothing'), r'camera/nothing\. Set the folder'),
        (dict(image_suffix='.webp'), r'no \*\.webp image in this folder'),
        (dict(label_suffix='_mask.png'), r'camera/checked/masks/0_mask\.png and 2 more: missing'),
        (dict(labels=None), r'name the folder of its labels \(labels=\.\.\.\)'),
        (dict(split='train'), r"split='train' has to be a list file"),
        (dict(ids={'road': 1, 'car': [2, 1]}), r'1 belongs to road and to car'),
        (dict(ids={'road': 256}), r'road has the id 256, but a class has ids of 0 to 254'),
    ],
)
def test_mistakes_are_named(private: Path, settings: dict, message: str) -> None:
    with pytest.raises((OSError, ValueError), match=message):
        dataset(private, **settings)


@pytest.fixture(scope='module')
def trained(private: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """The shipped config with nothing changed but sizes and lengths."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MMUDA_DATA', str(private))
        recipe = Recipe.load(CONFIG, tmp_path_factory.mktemp('run'))
        for stage in recipe.stages:
            cfg = stage.cfg
            cfg.merge_from_dict(tiny(cfg))
            for domain in (cfg.train_dataloader.dataset.source, cfg.train_dataloader.dataset.target or {}):
                for step in domain.get('pipeline', ()):
                    step.update(
                        {'scale': (128, 64)} if 'scale' in step else {'size': (32, 32)} if 'size' in step else {}
                    )
            for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
                loader.num_workers, loader.persistent_workers = 0, False
            for pipeline in (
                cfg.val_dataloader.dataset.pipeline,
                cfg.test_dataloader.dataset.pipeline,
                cfg.test_pipeline,
            ):
                next(step for step in pipeline if 'scale' in step).scale = (128, 64)
            cfg.train_cfg.max_iters, cfg.train_cfg.val_interval = 2, 2
        recipe.run()
    return recipe


def test_the_shipped_config_trains(trained: Recipe) -> None:
    scores = stamp(trained.work_dir / '01_ehtdi')['scores']
    assert {key for key in scores if key.startswith('mIoU')} == {'mIoU'}  # no subsets that mean other classes
    assert {f'IoU.{name}' for name in CLASSES} <= {*scores}
    state = load_safe(trained.work_dir / '01_ehtdi/iter_2.pth')['state_dict']
    assert len(state['student.decode_head.convs.0.bias']) == len(CLASSES)


def test_the_trained_network_names_the_own_classes(trained: Recipe, private: Path) -> None:
    stage = trained.stages[-1]
    predictor = Predictor(stage.cfg, trained.work_dir / '01_ehtdi/iter_2.pth')
    assert predictor.meta == metainfo(CLASSES)
    assert predictor(str(private / 'camera/drives/monday/0.jpg')).label.shape == tuple(SMALL_CITY['size'])


def test_own_data_are_checked(private: Path, tmp_path: Path) -> None:
    done = run_tool('check_dataset.py', CONFIG, '--data-root', private, '--num-workers', 0)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f'target: FolderDataset split=None in {private}/camera/drives/: 8 images' in done.stdout
    assert 'warning: the ids 0 belong to no class and are ignored' in done.stdout
    shutil.copytree(private, tmp_path / 'other')
    (tmp_path / 'other/renderer/ids/level0/shot 2.png').unlink()
    done = run_tool('check_dataset.py', CONFIG, '--data-root', tmp_path / 'other', '--num-workers', 0)
    assert done.returncode == 1
    assert 'renderer/ids/level0/shot 2.png: missing, but asked for by its image' in done.stdout
