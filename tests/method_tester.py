"""The hard cases that every method has to pass; a method's test file derives from it and names its config."""

import copy
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import fresh_model, fresh_optimizer
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.runner import Runner
from PIL import Image
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmuda.datasets import CityscapesDataset
from mmuda.models.uda import UDASegmentor
from mmuda.offline import manifest
from mmuda.registry import DATASETS, MODELS
from mmuda.utils.checkpoint import load_safe


class HostReads(TorchDispatchMode):
    """Notes operations for which the host would wait for a GPU: it reads a value, or has to learn a size.

    Attributes:
        found: Their names.
    """

    names = ('_local_scalar_dense', 'nonzero', 'masked_select', 'equal', '_unique2', 'unique_dim', 'bincount')

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> object:
        name = func.overloadpacket.__name__
        by_mask = name in ('index', 'index_put', 'index_put_') and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if name in self.names or by_mask:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


class MethodTester:
    """Hard cases on real files of a small MiniCity; a method that a case cannot happen to sets it to None.

    Attributes:
        config: Config file below ``configs/``; its last stage is the method.
        crops: Config options that make the method's crops fit the small images.
        labelled: Domain whose labels the method reads.
        supervised: The loss, as the log has it, that is 0 without a labelled pixel; None if there is none.
        any_size: Whether labels are brought to the size of their images.
    """

    config: str
    crops: dict = {}  # noqa: RUF012
    labelled = 'source'
    supervised: str | None = 'src.loss_seg'
    any_size = False
    road = 7  # in its label files

    @pytest.fixture
    def cfg(self, load) -> Config:
        return load(self.config, **self.crops)

    @pytest.fixture
    def model(self, cfg: Config) -> UDASegmentor:
        return fresh_model(cfg)

    def batch(self, cfg: Config, size: int = 2) -> dict:
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        return default_collate([dataset[number] for number in range(size)])

    def step(self, model: UDASegmentor, cfg: Config, batch: dict) -> dict[str, torch.Tensor]:
        return model.train_step(batch, fresh_optimizer(cfg, model))

    def assert_sound(self, model: UDASegmentor, log: dict[str, torch.Tensor]) -> None:
        assert all(torch.isfinite(value) for value in log.values()), log
        bad = [name for name, value in model.state_dict().items() if not torch.isfinite(value.float()).all()]
        assert not bad

    def fill(self, batch: dict, value: int) -> None:
        """Give every labelled pixel of a batch one value."""
        for domain in batch.values():
            for name in {'label', 'weak_label'}.intersection(domain):
                domain[name].fill_(value)

    # ----------------------------------------------------------------------------------------- labels and batches

    def test_a_step_changes_the_student(self, model: UDASegmentor, cfg: Config) -> None:
        before = copy.deepcopy(model.student.state_dict())
        self.assert_sound(model, self.step(model, cfg, self.batch(cfg)))
        first = next(name for name, value in model.student.named_parameters() if value.requires_grad)
        assert not torch.equal(model.student.state_dict()[first], before[first])

    def test_a_step_never_waits_for_the_device(self, model: UDASegmentor, cfg: Config) -> None:
        batch = model.data_preprocessor(self.batch(cfg), training=True)
        with HostReads() as reads:
            for _, terms in model.parts(batch):
                model.parse_losses(terms)[0].backward()
            if model.teacher is not None:
                model.teacher.update(model.student)
        assert not reads.found

    def test_all_labels_ignored(self, model: UDASegmentor, cfg: Config) -> None:
        batch = self.batch(cfg)
        self.fill(batch, 255)
        log = self.step(model, cfg, batch)
        self.assert_sound(model, log)
        assert self.supervised is None or log[self.supervised] == 0

    def test_a_single_class(self, model: UDASegmentor, cfg: Config) -> None:
        batch = self.batch(cfg)
        self.fill(batch, 0)
        self.assert_sound(model, self.step(model, cfg, batch))

    def test_batch_of_one(self, model: UDASegmentor, cfg: Config) -> None:
        self.assert_sound(model, self.step(model, cfg, self.batch(cfg, size=1)))

    def test_not_square_and_odd(self, model: UDASegmentor, cfg: Config) -> None:
        batch = self.batch(cfg)
        for domain in batch.values():
            alike = [name for name in ('strong',) if name in domain and domain[name].shape == domain['image'].shape]
            domain['image'] = domain['image'][..., :61, :117]
            for name in {'label', 'depth', *alike}.intersection(domain):
                domain[name] = domain[name][..., :61, :117]
            if 'rows' in domain:
                domain['rows'], domain['cols'] = domain['rows'].clamp(max=60), domain['cols'].clamp(max=116)
        self.assert_sound(model, self.step(model, cfg, batch))

    def test_the_target_needs_no_label_folder(self, cfg: Config, tmp_path: Path, city: Path) -> None:
        (tmp_path / 'cityscapes').mkdir()
        for name in ('leftImg8bit', 'city_list'):
            (tmp_path / 'cityscapes' / name).symlink_to(city / 'cityscapes' / name)
        cfg.train_dataloader.dataset.target.data_root = str(tmp_path)
        assert 'label' not in self.batch(cfg)['target']

    # ------------------------------------------------------------------------------------------------ broken files

    def own_copy(self, cfg: Config, tmp_path: Path) -> Path:
        """One image and label of our own, all road, to break; returns the label's file."""
        root = tmp_path / 'GTA5'
        for folder in ('images', 'labels'):
            (root / folder).mkdir(parents=True)
        cv2.imwrite(str(root / 'images/00001.png'), np.zeros((64, 128, 3), np.uint8))
        Image.fromarray(np.full((64, 128), self.road, np.uint8)).save(root / 'labels/00001.png')
        (tmp_path / 'list.txt').write_text('1\n')
        cfg.train_dataloader.dataset.source.data_root = str(root)
        cfg.train_dataloader.dataset.source.split = str(tmp_path / 'list.txt')
        return root / 'labels/00001.png'

    @pytest.mark.parametrize('what', ['missing', 'broken', 'wrong size', 'colours'])
    def test_a_bad_file_is_named(self, cfg: Config, tmp_path: Path, what: str) -> None:
        label = self.own_copy(cfg, tmp_path)
        assert (self.batch(cfg, size=1)[self.labelled]['label'] == 0).all()
        if what == 'missing':
            label.unlink()
        elif what == 'broken':
            label.write_bytes(label.read_bytes()[:40])
        elif what == 'wrong size':
            Image.fromarray(np.full((32, 128), self.road, np.uint8)).save(label)
        else:
            Image.fromarray(np.zeros((64, 128, 3), np.uint8)).save(label)
        if what == 'wrong size' and self.any_size:
            data = self.batch(cfg, size=1)[self.labelled]
            assert data['label'].shape[1:] == data['image'].shape[2:]
            return
        with pytest.raises((ValueError, FileNotFoundError), match=re.escape(str(label.relative_to(tmp_path)))):
            self.batch(cfg, size=1)

    def test_ids_of_no_class_are_ignored(self, model: UDASegmentor, cfg: Config, tmp_path: Path) -> None:
        Image.fromarray(np.full((64, 128), 200, np.uint8)).save(self.own_copy(cfg, tmp_path))
        batch = self.batch(cfg, size=1)
        assert (batch[self.labelled]['label'] == 255).all()
        self.assert_sound(model, self.step(model, cfg, batch))

    # ------------------------------------------------------------------------------------------------- checkpoints

    def test_another_class_count_is_an_error(self, cfg: Config, model: UDASegmentor) -> None:
        for head in {'decode_head', 'auxiliary_head'} & set(cfg.model.student):
            cfg.model.student[head].num_classes = 33
        with pytest.raises(ValueError, match=r'decode_head.*\(19, .*\(33, .*num_classes'):
            fresh_model(cfg).load_state_dict(model.state_dict(), strict=False)

    def test_a_foreign_checkpoint_is_an_error(self, model: UDASegmentor) -> None:
        with pytest.raises(ValueError, match='network'):
            model.load_state_dict(nn.Linear(2, 2).state_dict(), strict=False)

    def test_a_plain_network_becomes_the_student(self, cfg: Config, model: UDASegmentor) -> None:
        plain = MODELS.build(cfg.model.student)
        model.load_state_dict(plain.state_dict(), strict=False)
        for network in [model.student] + ([] if model.teacher is None else [model.teacher.model]):
            assert all(torch.equal(value, plain.state_dict()[key]) for key, value in network.state_dict().items())

    def test_nan_stops_the_run_before_a_checkpoint(self, cfg: Config, tmp_path: Path) -> None:
        cfg.work_dir, cfg.train_cfg.max_iters, cfg.train_cfg.val_interval = str(tmp_path), 6, 2
        cfg.custom_hooks[1].interval = 100
        cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
        cfg.default_hooks.checkpoint.save_best = None
        runner = Runner.from_cfg(cfg)
        model, plain = runner.model, runner.model.train_step

        def poisoned(data: dict, optim_wrapper) -> dict:
            log = plain(data, optim_wrapper)
            return {**log, 'loss': log['loss'] * torch.nan} if runner.iter == 3 else log

        model.train_step = poisoned
        with pytest.raises(FloatingPointError, match='iteration 4: loss became NaN'):
            runner.train()
        assert [file.name for file in tmp_path.glob('*.pth')] == ['iter_2.pth']
        runner.call_hook('after_run')  # a firewall stands as long as its hook lives, or until this

    # -------------------------------------------------------------------------------------------------- prediction

    def test_predicts_like_the_network_it_evaluates(self, model: UDASegmentor) -> None:
        model.eval()
        image = torch.randn(2, 3, 64, 128)
        with torch.no_grad():
            found = model.predict(image)
            low = model.network.decode_head(model.network.extract_feat(image))
            align = model.network.decode_head.align_corners
            wanted = nn.functional.interpolate(low, size=(64, 128), mode='bilinear', align_corners=align).argmax(1)
        for sample, labels in zip(found, wanted, strict=True):
            assert torch.equal(sample.pred_sem_seg.data[0], labels)

    def test_exports(self, model: UDASegmentor) -> None:
        model.eval()
        image = torch.randn(1, 3, 64, 128)
        with torch.no_grad():
            program = torch.export.export(model, (image,))
            torch.testing.assert_close(program.module()(image), model(image), atol=1e-5, rtol=1e-5)

    def test_a_checkpoint_is_plain(self, model: UDASegmentor, tmp_path: Path) -> None:
        torch.save({'state_dict': model.state_dict()}, tmp_path / 'x.pth')
        assert load_safe(tmp_path / 'x.pth')['state_dict'].keys() == model.state_dict().keys()


class PseudoLabelTester(MethodTester):
    """The hard cases of a method that learns from pseudo-labels and sees the target only."""

    labelled = 'target'
    supervised = None
    road = 0

    @pytest.fixture
    def cfg(self, load, city: Path, tmp_path: Path) -> Config:
        """With the ground truth as pseudo-labels, but for the right half of each image, which is not selected."""
        cfg = load(self.config, **self.crops)
        cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type != 'mmuda.LabelFirewallHook']
        for item in CityscapesDataset(data_root=str(city), split='train'):
            label = item['label_table'][np.asarray(Image.open(item['seg_map_path']))]
            label[:, 64:] = 255
            self.save(label, tmp_path / 'labels' / item['image'])
        self.write_manifest(tmp_path / 'labels')
        cfg.train_dataloader.dataset[self.labelled].label_dir = str(tmp_path / 'labels')
        return cfg

    @staticmethod
    def save(label: np.ndarray, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(label).save(path)

    @staticmethod
    def write_manifest(folder: Path) -> None:
        """What copy-paste draws by; every class is less sure than the one before."""
        files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*.png'))
        labels = [np.asarray(Image.open(folder / file)) for file in files]
        content = dict(
            confidence={str(c): 0.9 - 0.01 * c for c in range(19)},
            pixels_by_image=[np.bincount(label.ravel(), minlength=256)[:19].tolist() for label in labels],
        )
        manifest.write(folder, dict(kind='pseudo-labels', files=files, count=len(files)) | content)

    def test_the_target_needs_no_label_folder(self, cfg: Config, tmp_path: Path, city: Path) -> None:
        """The labels are those on disk, at the pixels that the crop shows."""
        (tmp_path / 'cityscapes').mkdir()
        (tmp_path / 'cityscapes/leftImg8bit').symlink_to(city / 'cityscapes/leftImg8bit')
        for domain in ('source', 'target'):
            if cfg.train_dataloader.dataset[domain]:
                cfg.train_dataloader.dataset[domain].data_root = str(tmp_path)
        label = self.batch(cfg)[self.labelled]['label']
        assert 255 in label
        assert label.unique().numel() > 4

    def own_copy(self, cfg: Config, tmp_path: Path) -> Path:
        """See the base class."""
        name = 'train/a/a_000000_000000_leftImg8bit.png'
        image, label = tmp_path / 'own/leftImg8bit' / name, tmp_path / 'own_labels' / name
        self.save(np.zeros((64, 128, 3), np.uint8), image)
        self.save(np.full((64, 128), self.road, np.uint8), label)
        self.write_manifest(tmp_path / 'own_labels')
        cfg.train_dataloader.dataset[self.labelled].update(
            data_root=str(tmp_path / 'own'), label_dir=str(tmp_path / 'own_labels')
        )
        return label

    def test_ids_of_no_class_are_ignored(self, cfg: Config, tmp_path: Path) -> None:
        """They are an error instead: whoever writes pseudo-labels writes classes."""
        label = self.own_copy(cfg, tmp_path)
        self.save(np.full((64, 128), 200, np.uint8), label)
        with pytest.raises(ValueError, match=f'{re.escape(str(label))}: holds the id 200, .* 19 classes'):
            self.batch(cfg, size=1)

    def test_without_pseudo_labels_the_setting_is_named(self, model: UDASegmentor, cfg: Config) -> None:
        cfg.train_dataloader.dataset[self.labelled].label_dir = None
        with pytest.raises(ValueError, match=rf'run the recipe .*_dataloader\.dataset\.{self.labelled}\.label_dir'):
            self.step(model, cfg, self.batch(cfg))
