"""The hard cases for every method that is here."""

import copy

import torch
from method_tester import MethodTester, PseudoLabelTester
from mmengine.config import Config

from mmuda.models.uda import UDASegmentor


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


class TestAdaBN(MethodTester):
    config = 'baselines/minicity_adabn.py'
    labelled = supervised = None

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
        again = self.build(cfg)
        again.load_state_dict(model.state_dict())
        self.step(again, cfg, self.batch(cfg))  # a resumed run goes on counting
        assert int(again.student.backbone.norm1.num_batches_tracked) == 4
