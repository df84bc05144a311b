"""Half precision: in the networks only, off by default, one loss scale for all optimisers."""

from collections.abc import Iterator

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.optim import OptimWrapperDict
from torch import Tensor, nn

from mmuda.engine.optimizers import NetworkOptimConstructor
from mmuda.models.uda import UDASegmentor
from mmuda.models.uda.base import PRECISIONS
from mmuda.registry import DATASETS, MODELS


@pytest.fixture
def cfg(load) -> Config:
    crops = {
        f'train_dataloader.dataset.{domain}': (32, 32)
        for domain in ('source.pipeline.4.size', 'target.pipeline.3.size')
    }
    return load('ehtdi/minicity.py', **crops)


def build(cfg: Config, precision: str) -> UDASegmentor:
    torch.manual_seed(0)
    cfg.model.precision = precision
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model.train()


def step(model: UDASegmentor, cfg: Config) -> dict[str, Tensor]:
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    settings = dict(optimizer=dict(type='SGD', lr=0.01))
    return model.train_step(default_collate([dataset[0], dataset[1]]), NetworkOptimConstructor(settings)(model))


@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
def test_only_the_networks_compute_in_half(cfg: Config, precision: str) -> None:
    plain, half = build(cfg, 'fp32'), build(cfg, precision)
    dtypes = set()

    def note(layer: nn.Module, inputs: tuple, output: Tensor) -> None:
        dtypes.add(output.dtype)

    for layer in half.student.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note)
    wanted, found = step(plain, cfg), step(half, cfg)
    assert dtypes == {PRECISIONS[precision]}
    assert all(value.dtype is torch.float32 for value in found.values())
    assert all(value.dtype in (torch.float32, torch.int64) for value in half.state_dict().values())
    assert half.heads(torch.zeros(1, 3, 32, 32))[0].dtype is torch.float32
    for name in ('loss', 'src.loss_seg', 'tgt.loss_pixel'):
        torch.testing.assert_close(found[name], wanted[name], rtol=0.03, atol=0)
    moved = 0.0
    for one, two in zip(plain.student.parameters(), half.student.parameters(), strict=True):
        assert two.is_contiguous(memory_format=torch.channels_last if two.dim() == 4 else torch.contiguous_format)
        moved = max(moved, float((one - two).detach().abs().max()))
    assert 0 < moved < 0.01


def test_prediction_in_half_is_nearly_the_same(cfg: Config) -> None:
    plain, half = (build(cfg, precision).eval() for precision in ('fp32', 'bf16'))
    image = torch.randn(1, 3, 64, 128)
    one, two = (model(image) for model in (plain, half))
    assert 0 < (one - two).abs().max() < 0.05 * one.abs().max()
    one, two = (model.predict(image)[0].pred_sem_seg.data for model in (plain, half))
    assert (one == two).float().mean() > 0.9


def test_an_unknown_precision_is_named(cfg: Config) -> None:
    with pytest.raises(ValueError, match=r"model\.precision='half': choose one of"):
        build(cfg, 'half')


class TwoNetworks(UDASegmentor):
    """A student and a discriminator that can be made to overflow."""

    def __init__(self, precision: str) -> None:
        torch.manual_seed(0)
        super().__init__(
            student=dict(
                type='EncoderDecoder',
                backbone=dict(type='mmuda.CeilResNet', depth=10, base_channels=4, stem_channels=4),
                decode_head=dict(type='mmuda.SummedASPPHead', in_channels=32, in_index=3, num_classes=3),
            ),
            data_preprocessor=dict(type='mmuda.DomainDataPreprocessor'),
            precision=precision,
        )
        self.discriminator = nn.Conv2d(3, 1, 1)
        self.overflow = False

    def parts(self, data: dict) -> Iterator[tuple[str, dict]]:
        logits = self.main_head(data['source']['image'])
        yield 'src', {'loss_a': logits.square().mean()}
        score = self.discriminator(logits.detach()).square().mean()
        yield 'disc', {'loss_b': score * (torch.inf if self.overflow else 1)}


def test_optimizers_share_one_scale_that_survives_a_resume() -> None:
    batch = {'source': {'image': torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)}}
    settings = {name: dict(optimizer=dict(type='SGD', lr=0.1)) for name in ('student', 'discriminator')}
    plain, half = TwoNetworks('fp32').train(), TwoNetworks('fp16').train()
    for model in (plain, half):
        wrapper = NetworkOptimConstructor(settings)(model)
        assert isinstance(wrapper, OptimWrapperDict)
        model.train_step(batch, wrapper)
    for one, two in zip(plain.parameters(), half.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0.02, atol=2e-3)  # the gradients were scaled back for both
    before = half.discriminator.weight.clone(), half.scaler.get_scale()
    half.overflow = True
    half.train_step(batch, wrapper)
    assert torch.equal(half.discriminator.weight, before[0])  # no step with an infinite gradient
    assert half.scaler.get_scale() == before[1] / 2
    again = TwoNetworks('fp16')
    again.load_state_dict(half.state_dict())
    assert again.scaler.get_scale() == before[1] / 2
    again.load_state_dict(plain.state_dict())  # a start in fp32 has no scale: ours stays
    assert again.scaler.get_scale() == before[1] / 2
