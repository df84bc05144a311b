"""The hard cases for every method that is here."""

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import fresh_model
from method_tester import MethodTester, PseudoLabelTester
from mmengine.config import Config

from mmuda.datasets.classes import metainfo
from mmuda.models.density import write_mixtures
from mmuda.models.uda import UDASegmentor
from mmuda.utils.weights import start_state


class TestEHTDI(MethodTester):
    config = 'ehtdi/minicity.py'
    crops = {  # noqa: RUF012
        'train_dataloader.dataset.source.pipeline.4.size': (32, 32),
        'train_dataloader.dataset.target.pipeline.3.size': (32, 32),
    }


class TestEHTDIEdge(TestEHTDI):
    config = 'ehtdi/minicity_edge.py'


class TestEHTDIWithoutAuxiliaryHead(TestEHTDI):
    """A stock transformer in place of the network with two heads."""

    config = 'ehtdi/minicity_mit-b0.py'
    crops = {key: (64, 64) for key in TestEHTDI.crops}  # noqa: RUF012  (at stride 32 batch norm needs two values or more)


class TestSupervised(MethodTester):
    config = 'baselines/minicity_source.py'
    test_the_target_needs_no_label_folder = None  # it reads no target


class TestLabelDenoising(PseudoLabelTester):
    config = 'ldbe/minicity_stage1_ld.py'
    supervised = 'tgt.loss_seg'
    crops = {  # noqa: RUF012
        'train_dataloader.dataset.target.pipeline.2.short_side': 64,
        'train_dataloader.dataset.target.pipeline.2.crop': 48,
    }


class TestBoundaryEnhancement(PseudoLabelTester):
    config = 'ldbe/minicity.py'
    crops = TestLabelDenoising.crops

    def test_the_teacher_fills_what_was_not_selected(self, model: UDASegmentor, cfg: Config) -> None:
        """In train mode, also after a validation; it gets neither gradients nor a place in the optimiser."""
        model.eval()
        batch = model.train().data_preprocessor(self.batch(cfg), training=True)['target']
        before = model.teacher.model.backbone.norm1.running_mean.clone()
        label, conf = model.dense_labels(batch['image'], batch['label'])
        assert not torch.equal(model.teacher.model.backbone.norm1.running_mean, before)
        selected = batch['label'] != 255
        assert torch.equal(label[selected], batch['label'][selected])
        assert (label < 19).all()
        assert (conf[selected] == 1).all()
        assert (conf[~selected] < 1).all()
        self.step(model, cfg, self.batch(cfg))
        assert all(parameter.grad is None for parameter in model.teacher.parameters())


class TestAdvEnt(MethodTester):
    config = 'baselines/minicity_advent.py'


class TestAdaptSegNet(TestAdvEnt):
    config = 'baselines/minicity_adaptsegnet.py'


class TestMinEnt(MethodTester):
    config = 'baselines/minicity_minent.py'


class TestDAF(MethodTester):
    config = 'daf_ida/minicity_stage1_daf.py'
    road = 3

    def own_copy(self, cfg: Config, tmp_path: Path) -> Path:
        """See the base class; in SYNTHIA's layout, with depth."""
        blank = np.zeros((64, 128), np.uint8)
        files = {'RGB': cv2.merge([blank] * 3), 'parsed_LABELS': blank + self.road, 'Depth': blank.astype(np.uint16)}
        for folder, array in files.items():
            (tmp_path / 'SYNTHIA' / folder).mkdir(parents=True)
            cv2.imwrite(str(tmp_path / 'SYNTHIA' / folder / '0000000.png'), array)
        cfg.train_dataloader.dataset.source.data_root = str(tmp_path / 'SYNTHIA')
        return tmp_path / 'SYNTHIA/parsed_LABELS/0000000.png'


class TestISL(PseudoLabelTester):
    config = 'daf_ida/minicity_stage2_isl.py'
    supervised = 'tgt.loss_seg'

    def test_the_depth_regression_keeps_its_weights_but_not_its_statistics(
        self, model: UDASegmentor, cfg: Config
    ) -> None:
        neck = model.student.neck
        before = copy.deepcopy(neck.state_dict())
        self.step(model, cfg, self.batch(cfg))
        after = neck.state_dict()
        for name, value in neck.named_parameters():
            regression = name.startswith(('reg.', 'conv_depth.'))
            assert (value.grad is None) == regression
            assert not regression or torch.equal(value, before[name])  # nor by weight decay
        assert not torch.equal(after['reg.bn.running_mean'], before['reg.bn.running_mean'])


class TestIDA(PseudoLabelTester):
    config = 'daf_ida/minicity.py'
    labelled = 'source'  # the easy images of the target
    supervised = 'src.loss_seg'


class TestDepthDistribution(TestDAF):
    config = 'depth_distribution/minicity_stage1_uda.py'
    crops = {'train_dataloader.dataset.source.pipeline.3.size': (17, 9)}  # noqa: RUF012

    @pytest.fixture
    def cfg(self, load, city: Path) -> Config:
        """With mixtures of 19 classes on the small grid."""
        cfg = load(self.config, **self.crops)
        table = city / 'mixtures.json'
        names = metainfo(19)['classes']
        means = {name: [(1.0, [8.0, 4.0, 10.0 * number + 1], [9.0, 4.0, 100.0])] for number, name in enumerate(names)}
        table.write_text(write_mixtures((9, 17), means))
        cfg.model.mixtures = str(table)
        return cfg

    def batch(self, cfg: Config, size: int = 2) -> dict:
        batch = super().batch(cfg, size)
        assert batch['source']['grid_depth'].shape == (size, 9, 17)
        return batch

    def test_not_square_and_odd(self, model: UDASegmentor, cfg: Config) -> None:
        """The grid is that of the features, whatever the image's size; another one is an error."""
        batch = self.batch(cfg)
        for name in ('image', 'label', 'depth'):
            batch['source'][name] = batch['source'][name][..., :61, :117]
        batch['target']['image'] = batch['target']['image'][..., :61, :117]
        with pytest.raises(ValueError, match=r'GridSample samples 17x9 cells, but the features .* have 15x8'):
            self.step(model, cfg, batch)
        for name in ('grid_label', 'grid_depth'):
            batch['source'][name] = batch['source'][name][..., :8, :15]
        self.assert_sound(model, self.step(model, cfg, batch))

    def test_another_class_count_is_an_error(self, cfg: Config, model: UDASegmentor) -> None:
        """The mixtures' classes are checked first (test_mixtures_of_other_classes)."""
        cfg.model.mixtures = None
        super().test_another_class_count_is_an_error(cfg, model)

    @pytest.mark.parametrize('depth', [0, 700, 65535])
    def test_constant_depth(self, model: UDASegmentor, cfg: Config, depth: int) -> None:
        batch = self.batch(cfg)
        for name in ('depth', 'grid_depth'):
            batch['source'][name] = torch.full(batch['source'][name].shape, depth).to(torch.uint16)
        self.assert_sound(model, self.step(model, cfg, batch))

    def test_no_density_anywhere(self, model: UDASegmentor, cfg: Config) -> None:
        model.density.places = ((9, 17), torch.full((9 * 17 * 19, 1), -torch.inf))
        log = self.step(model, cfg, self.batch(cfg))
        self.assert_sound(model, log)
        assert log['src.loss_balance'] > 0  # the head is to become 0

    def test_both_networks_are_carried_on(self, model: UDASegmentor, cfg: Config) -> None:
        """As uda:load_from=FILE does."""
        fresh = fresh_model(cfg)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1)
        start = start_state(model.state_dict(), fresh, carry=['discriminator'])
        fresh.load_state_dict(start, strict=False)
        assert all(torch.equal(value, fresh.state_dict()[key]) for key, value in model.state_dict().items())


class TestDepthDistributionSelfTraining(PseudoLabelTester):
    config = 'depth_distribution/minicity.py'
    supervised = 'tgt.loss_seg'

    def test_the_other_heads_stand_still(self, model: UDASegmentor, cfg: Config) -> None:
        before = copy.deepcopy(model.student.state_dict())
        self.step(model, cfg, self.batch(cfg))
        after = model.student.state_dict()
        moved = {name.split('.')[0] for name in before if not torch.equal(before[name], after[name])}
        assert moved == {'backbone', 'decode_head'}


class TestHIAST(PseudoLabelTester):
    config = 'hiast/minicity.py'
    supervised = 'tgt.cross_entropy'
    any_size = True
    crops = {  # noqa: RUF012
        'train_dataloader.dataset.target.pipeline.4.heights': (30, 60),
        'train_dataloader.dataset.target.pipeline.4.size': (62, 120),
    }

    def test_a_sample_leaves_its_worker_as_bytes(self, cfg: Config) -> None:
        """Two views and a label: 3.7 MB at the paper's 512x1024."""
        sample = self.batch(cfg, size=1)['target']
        shipped = sum(value.nbytes for value in sample.values() if isinstance(value, torch.Tensor))
        assert shipped == 7 * 62 * 120

    def test_an_image_with_labels_receives_the_hard_classes_of_another(self, cfg: Config) -> None:
        """The last 14 classes in the manifest; the halves without labels get them, too."""
        cfg.train_dataloader.dataset.target.pipeline[3:6] = []  # as pasted
        pasted = self.batch(cfg, 8)['target']['label']
        del cfg.train_dataloader.dataset.target.pipeline[2]
        plain = self.batch(cfg, 8)['target']['label']
        changed = pasted != plain
        assert changed.any()
        assert set(pasted[changed].tolist()) <= set(range(5, 19))


class TestAdaBN(MethodTester):
    config = 'baselines/minicity_adabn.py'
    supervised = None
    test_a_bad_file_is_named = test_ids_of_no_class_are_ignored = None  # it reads no labels
    test_a_step_never_waits_for_the_device = None  # torch reads the counter of a mean over all batches

    def test_a_step_changes_the_student(self, model: UDASegmentor, cfg: Config) -> None:
        """No weight moves, and the statistics are the plain mean over the batches."""
        before = copy.deepcopy(dict(model.student.named_parameters()))
        seen = []
        norm = model.student.backbone.norm1
        norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].mean((0, 2, 3))))
        norm.running_mean.fill_(100.0)  # the source's
        for number in range(3):
            batch = self.batch(cfg)
            batch['target']['image'] = batch['target']['image'] // (number + 1)
            self.step(model, cfg, batch)
        assert all(torch.equal(value, before[name]) for name, value in model.student.named_parameters())
        torch.testing.assert_close(norm.running_mean, torch.stack(seen).mean(0), atol=1e-4, rtol=1e-4)
        again = fresh_model(cfg)
        again.load_state_dict(model.state_dict())
        self.step(again, cfg, self.batch(cfg))  # a resumed run goes on counting
        assert int(again.student.backbone.norm1.num_batches_tracked) == 4


@pytest.mark.parametrize(
    'kind', [TestEHTDI, TestEHTDIEdge, TestSupervised, TestAdaptSegNet, TestMinEnt, TestDAF, TestDepthDistribution]
)
def test_without_labels_the_setting_is_named(kind: type[MethodTester], load) -> None:
    tester, cfg = kind(), load(kind.config, **kind.crops)
    cfg.train_dataloader.dataset.source.with_labels = False
    model = fresh_model(cfg)
    model.student.backbone.register_forward_pre_hook(lambda *_: pytest.fail('it was too late'))
    message = r'source comes without labels: .*_dataloader\.dataset\.source\..*with_labels=True.*LoadLabels'
    with pytest.raises(ValueError, match=message):
        tester.step(model, cfg, tester.batch(cfg))


@pytest.mark.parametrize('kind', [TestDAF, TestDepthDistribution])
def test_without_depth_the_setting_is_named(kind: type[MethodTester], load) -> None:
    tester, cfg = kind(), load(kind.config, **kind.crops)
    batch, model = tester.batch(cfg), fresh_model(cfg)
    del batch['source']['depth']
    model.student.backbone.register_forward_pre_hook(lambda *_: pytest.fail('it was too late'))
    message = r'source comes without depth: .*_dataloader\.dataset\.source\.with_depth=True.*LoadDepth'
    with pytest.raises(ValueError, match=message):
        tester.step(model, cfg, batch)
