"""What a source-free stage opens."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.fileio import get
from mmengine.runner import Runner
from PIL import Image

from mmuda.engine.hooks import LabelFirewallHook
from mmuda.engine.hooks.label_firewall import places
from mmuda.registry import DATASETS


@pytest.fixture
def cfg(load, city: Path, tmp_path: Path) -> Config:
    """AdaBN, which needs no source, behind a firewall."""
    cfg = load('baselines/minicity_adabn.py')
    cfg.work_dir, cfg.train_cfg.max_iters, cfg.train_cfg.val_interval = str(tmp_path), 2, 2
    forbid = dict(source=[f'{city}/GTA5'], target_labels=[f'{city}/cityscapes/gtFine/train'])
    cfg.custom_hooks.append(dict(type='mmuda.LabelFirewallHook', forbid=forbid))
    return cfg


@pytest.mark.parametrize('workers', [0, 2])
def test_a_clean_stage_reports_nothing_but_target_images(cfg: Config, workers: int, capfd) -> None:
    cfg.train_dataloader.num_workers = workers
    Runner.from_cfg(cfg).train()
    # validation: 3 images and their labels; training: 4 images, more when workers fetch ahead
    text = capfd.readouterr().out
    line = next(line for line in text.splitlines() if 'label firewall' in line)
    assert 'opened 0 of the source, 0 of the target labels; ' in line
    others = int(line.split('; ')[1].split()[0])
    assert others == 10 if workers == 0 else others >= 10


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize('what', ['source', 'target labels'])
def test_a_forbidden_file_ends_the_run(cfg: Config, city: Path, workers: int, what: str) -> None:
    cfg.train_dataloader.num_workers = workers
    if what == 'source':
        cfg.train_dataloader.dataset.target.update(type='mmuda.GTA5Dataset', data_root=str(city))
    else:
        cfg.train_dataloader.dataset.target.with_labels = True
        cfg.train_dataloader.dataset.target.pipeline.insert(1, dict(type='mmuda.LoadLabels'))
    with pytest.raises(PermissionError, match=rf'belongs to the {what}, which this stage must not read'):
        Runner.from_cfg(cfg).train()


def test_no_reader_and_no_link_goes_round_it(city: Path, tmp_path: Path) -> None:
    file = next((city / 'GTA5/images').glob('*.png'))
    (tmp_path / 'link').symlink_to(city / 'GTA5')
    firewall = LabelFirewallHook(dict(source=[str(tmp_path / 'link')]))
    for path in (file, tmp_path / 'link/images' / file.name):
        for read in (get, Image.open, open):
            with pytest.raises(PermissionError, match='belongs to the source'):
                read(path)
    assert list(firewall.opened) == [6, 0]


@pytest.mark.parametrize(
    ('kind', 'forbidden', 'layout'),
    [
        ('GTA5', 'GTA5', {'GTA5': 'gtav'}),
        ('SYNTHIA', 'SYNTHIA', {'SYNTHIA': 'synthia/RAND_CITYSCAPES'}),
        (
            'Cityscapes',
            'cityscapes/gtFine/train',
            {'leftImg8bit': 'CityScapes/leftImg8bit', 'gtFine': 'CityScapes/gtFine_trainvaltest/gtFine'},
        ),
        ('Cityscapes', 'cityscapes/gtFine/train', {'leftImg8bit': 'leftImg8bit', 'gtFine': 'gtFine'}),
        (
            'Mapillary',
            'mapillary/training/labels',
            {
                'training/images': 'mapillary-vistas/train/images',
                'training/labels': 'mapillary-vistas/train/v1.2/labels',
            },
        ),
    ],
)
def test_no_other_name_goes_round_it(
    kind: str, forbidden: str, layout: dict, city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data sets are found under several names, here below 'datasets' in the place of 'data', too."""
    monkeypatch.delenv('MMUDA_DATA', raising=False)
    monkeypatch.chdir(tmp_path)
    home, _, labels = forbidden.partition('/')
    for own, other in layout.items():
        link = tmp_path / 'datasets' / other
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(city / home / own if labels else city / own)
    item = DATASETS.build(dict(type=f'mmuda.{kind}Dataset', split=None, classes=7)).get_data_info(0)
    firewall = LabelFirewallHook(dict(these=[f'data/{forbidden}']))
    with pytest.raises(PermissionError, match='belongs to the these'):
        get(item['seg_map_path'])
    if labels:
        get(item['img_path'])
        assert list(firewall.opened) == [1, 1]


def test_a_folder_of_no_data_set_is_itself_alone() -> None:
    assert places('data/camera/labels') == {'data/camera/labels'}
