"""EHTDI's golden iterations: the reference's tensors in the place of the network, and its batch as ours."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mmuda.models.losses import auxiliary_loss
from mmuda.models.uda import UDASegmentor, ehtdi
from mmuda.registry import MODELS

GOLDEN = Path(__file__).parent / 'golden' / 'ehtdi'
REFERENCE = dict(paste_rule='below_pool', back_samples='first', proto_samples='first')


def ours(label: np.ndarray) -> torch.Tensor:
    """Reference labels (-1 = ignore) as ours."""
    return torch.from_numpy(np.where(label < 0, 255, label).astype(np.int64))


def keys_for(labels: np.ndarray, draws: np.ndarray, num_classes: int) -> torch.Tensor:
    """Random keys that make :func:`mixing.draw_classes` pick what the reference drew (spec T1: id u[m - n - 1 + r])."""
    keys = torch.ones(len(labels), num_classes + 1, dtype=torch.float64)
    for sample, (label, drawn) in enumerate(zip(labels, draws, strict=True)):
        ids = np.unique(label)
        pool = int((ids > 4).sum())
        for order, slot in enumerate(drawn[drawn >= 0]):
            keys[sample, ids[len(ids) - pool - 1 + slot] + 1] = order * 1e-3
    return keys


@MODELS.register_module()
class ToyBackbone(nn.Module):
    """The network of mini_train: a strided convolution, batch norm, ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=8, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(6)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [torch.relu(self.bn(self.conv(x)))]


@MODELS.register_module()
class ToyHead(nn.Module):
    """A 1x1 convolution."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, num_classes, 1)
        self.align_corners, self.num_classes, self.out_channels = True, num_classes, num_classes

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        return self.conv(features[0])


def network() -> dict:
    head = dict(type='mmuda.ToyHead', in_channels=6, num_classes=9)
    return dict(
        type='EncoderDecoder',
        backbone=dict(type='mmuda.ToyBackbone'),
        decode_head=head,
        auxiliary_head=head,
        test_cfg=dict(mode='whole'),
    )


def crops(golden: np.lib.npyio.NpzFile) -> dict[str, dict[str, torch.Tensor]]:
    """The golden's batch as the preprocessor hands it over; the full images are in no term of the golden."""
    image = {key: torch.from_numpy(golden[f'in/{key}']) for key in ('src_weak', 'src_strong', 'tgt_weak', 'tgt_strong')}
    batch, _, crop_h, crop_w = image['src_weak'].shape
    source = dict(
        image=torch.zeros(batch, 3, *golden['src_label'].shape[-2:]),
        label=ours(golden['src_label']),
        weak=image['src_weak'],
        strong=image['src_strong'],
        weak_label=ours(golden['in/src_label_crop']),
        keys=keys_for(golden['in/src_label_crop'], golden['multinomial_draws'], 9),
    )
    target = dict(
        image=torch.zeros(batch, 3, *golden['in/tgt_pseudo_full'].shape[-2:]),
        weak=image['tgt_weak'],
        strong=image['tgt_strong'],
        rows=torch.arange(crop_h).expand(batch, -1),
        cols=torch.arange(crop_w).expand(batch, -1),
    )
    return {'source': source, 'target': target}


def note_cross_entropies(monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(label, value) of every cross entropy that EHTDI takes from now on, of the main head and of auxiliary ones."""
    plain, calls = ehtdi.cross_entropy, []

    def noted(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        calls.append((label, plain(logits, label)))
        return calls[-1][1]

    for names in (vars(ehtdi), auxiliary_loss.__globals__):
        monkeypatch.setitem(names, 'cross_entropy', noted)
    return calls


class Recorded:
    """Put before a method: its network passes are a golden's tensors, and it notes the images it is asked about."""

    @classmethod
    def from_golden(cls, golden: np.lib.npyio.NpzFile, **settings) -> UDASegmentor:
        """The method with the golden's weights and the reference's quirks."""
        names = ('aux_weight', 'target_weight', 'mix_weight', 'contrast_weight', 'confidence')
        weights = dict(zip(names, golden['cfg'].tolist(), strict=True))
        model = cls(student=network(), **weights, **REFERENCE, **settings)
        model.leaves = {
            key.removeprefix('logits/'): torch.from_numpy(golden[key]).requires_grad_()
            for key in golden.files
            if key.startswith('logits/')
        }
        model.calls, model.seen, model.full = golden['calls'].tolist(), {}, {}
        return model

    def heads(self, image: torch.Tensor) -> list[torch.Tensor]:
        name = self.calls.pop(0)
        self.seen[name] = image
        low = self.leaves.get(f'{name}_lowres', self.leaves[f'{name}_main'])
        self.full[id(low)] = self.leaves[f'{name}_main']
        return [low, self.leaves[f'{name}_aux']]

    def main_head(self, image: torch.Tensor) -> torch.Tensor:
        return self.heads(image)[0]

    def upsample(self, logits: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return self.full.get(id(logits), logits)

    def back_propagate(self, golden: np.lib.npyio.NpzFile) -> None:
        """Run the parts and compare their totals and the gradient of every pass with the golden."""
        totals = {}
        for part, terms in self.parts(crops(golden)):
            total = sum(value for name, value in terms.items() if 'loss' in name)
            total.backward()
            totals[part] = float(total.detach())
        assert self.calls == []  # every pass, in the reference's order
        np.testing.assert_allclose(
            [totals['src'], totals['tgt']], [golden['total_source'], golden['total_aug']], rtol=1e-5
        )
        for name, leaf in self.leaves.items():
            if f'grad/{name}' in golden.files:
                np.testing.assert_allclose(leaf.grad.numpy(), golden[f'grad/{name}'], atol=1e-6, err_msg=name)
            else:
                assert leaf.grad is None or not leaf.grad.any(), name
