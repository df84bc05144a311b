"""Backbone and heads against the references' numbers (EHTDI spec 3; LDBE spec 3)."""

import re
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmseg.models.backbones.resnet import Bottleneck
from mmseg.models.utils import ResLayer
from torch import nn

from mmuda.models.backbones import CeilResNet
from mmuda.models.heads import SummedASPPHead
from mmuda.registry import MODELS
from mmuda.utils.weights import network_state

GOLDEN = Path(__file__).parents[1] / 'golden' / 'ehtdi'
LDBE = Path(__file__).parents[1] / 'golden' / 'ldbe'


def load(name):
    return {key: torch.from_numpy(value) for key, value in np.load(GOLDEN / f'{name}.npz').items()}


def close(actual, expected, rtol=1e-5, atol=1e-5):
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)


def backbone(depth=101, width=64, **kwargs):
    kwargs = dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), contract_dilation=False, style='caffe') | kwargs
    return CeilResNet(depth, base_channels=width, stem_channels=width, **kwargs)


def head(in_channels, classes, **kwargs):
    return SummedASPPHead(in_channels, classes, align_corners=True, **kwargs)


# ------------------------------------------------------------------------------------------------------- the head


def test_head_golden():
    golden = load('aspp_head')
    ours = head(8, 5, in_index=0)
    prefix = 'sd/conv2d_list.'
    weights = {f'convs.{key.removeprefix(prefix)}': value for key, value in golden.items() if key.startswith(prefix)}
    ours.load_state_dict(weights)
    x = golden['x'].requires_grad_()
    out = ours([x])
    out.sum().backward()

    close(out, golden['out'])
    close(x.grad, golden['gx'])
    for name, param in ours.named_parameters():
        assert (param.grad is None) == bool(golden[f'grad_is_none/conv2d_list.{name.removeprefix("convs.")}']), name
        assert param.requires_grad == (param.grad is not None)


def test_head_sums_as_many_branches_as_are_active():
    torch.manual_seed(0)
    two, four = head(4, 3, in_index=0), head(4, 3, in_index=0, active_branches=4)
    four.load_state_dict(two.state_dict())
    x = torch.randn(1, 4, 50, 50)
    close(two([x]), two.convs[0](x) + two.convs[1](x))
    close(four([x]), sum(conv(x) for conv in two.convs))
    assert all(param.requires_grad for param in four.parameters())


@pytest.mark.parametrize('active', [2, 4])
def test_head_in_half_precision(active):
    torch.manual_seed(0)
    ours = head(64, 5, in_index=0, active_branches=active)
    x, seed = torch.randn(2, 64, 27, 50).bfloat16(), torch.randn(2, 5, 27, 50)

    def compute(x, enabled):
        ours.zero_grad()
        x = x.requires_grad_()
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            out = ours([x])
        out.backward(seed)
        assert out.dtype == torch.float32
        return [out, x.grad.float(), *(conv.weight.grad for conv in ours.convs[:active]), ours.convs[0].bias.grad]

    for exact, half in zip(compute(x.float(), False), compute(x, True), strict=True):
        assert (half - exact).norm() < 0.006 * exact.norm()  # one tap more or less, or elsewhere: above 0.1
    assert all(conv.weight.grad is None for conv in ours.convs[active:])


def test_head_initialisation():
    ours = head(256, 19)
    ours.init_weights()
    assert sorted({key.split('.')[0] for key in ours.state_dict()}) == ['convs']
    for conv in ours.convs:
        assert abs(conv.weight.std().item() - 0.01) < 2e-4
        assert 0.5 / (9 * 256) ** 0.5 < conv.bias.abs().max() <= 1 / (9 * 256) ** 0.5


@pytest.mark.parametrize('active', [0, 5])
def test_head_rejects_other_numbers_of_branches(active):
    with pytest.raises(ValueError, match='active_branches'):
        head(4, 3, active_branches=active)


# --------------------------------------------------------------------------------------------------- the backbone


@pytest.mark.parametrize(('case', 'settings'), [('stride2', (2, 1)), ('dil2', (1, 2)), ('dil4_nods', (1, 4))])
def test_bottleneck_golden(case, settings):
    golden = {key.removeprefix(f'{case}/'): value for key, value in load('bottleneck').items() if key.startswith(case)}
    stride, dilation = settings
    layer = ResLayer(
        Bottleneck, golden['x'].shape[1], 4, 1, stride=stride, dilation=dilation, style='caffe', contract_dilation=False
    )
    layer[0].load_state_dict({key[3:]: value for key, value in golden.items() if key.startswith('sd/')})
    close(layer.eval()(golden['x']), golden['out_eval'])
    close(layer.train()(golden['x']), golden['out_train'])
    close(layer[0].norm3.running_var, golden['bn3_running_var_after_train'])


@pytest.mark.parametrize(
    ('size', 'features'),
    [
        ((512, 512), (65, 65)),
        ((720, 1280), (91, 161)),
        ((640, 1280), (81, 161)),
        ((512, 1024), (65, 129)),
        ((600, 600), (76, 76)),
    ],
)
def test_feature_size_rounds_up(size, features):
    with torch.device('meta'):
        outputs = backbone(depth=18, width=4)(torch.zeros(1, 3, *size))
    assert [tuple(out.shape[-2:]) for out in outputs[1:]] == [features] * 3


@pytest.mark.parametrize(('depth', 'channels'), [(10, 128), (18, 128), (50, 512), (101, 512)])
def test_small_networks_build(depth, channels):
    network = backbone(depth=depth, width=16)
    network.init_weights()
    with torch.no_grad():
        assert network(torch.rand(1, 3, 32, 48))[-1].shape == (1, channels, 5, 7)


def test_backbone_initialisation():
    network = backbone(depth=18)
    network.init_weights()
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            assert abs(module.weight.std().item() - 0.01) < 5e-4, name
        if isinstance(module, nn.BatchNorm2d):
            assert torch.all(module.weight == 1), name
            assert torch.all(module.bias == 0), name


@pytest.mark.parametrize(
    ('parts', 'trained'),
    [
        (('layer',), r'layer'),  # EHTDI: all but the stem's
        (('bn1', 'layer'), r''),
        (('downsample',), r'downsample'),  # LDBE, stages 1 and 2
        ((), r'^$'),  # LDBE, stage 0
    ],
)
def test_affine_of_other_batch_norms_stands_still_and_their_statistics_move(parts, trained):
    torch.manual_seed(0)
    network = backbone(depth=18, width=8, trainable_affine=parts)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.eval()
    network.train()
    optimizer = torch.optim.SGD([param for param in network.parameters() if param.requires_grad], lr=0.1)
    network(torch.randn(2, 3, 32, 32))[-1].square().mean().backward()
    optimizer.step()
    norms = [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]
    after = network.state_dict()
    for name in norms:
        for kind in ('weight', 'bias'):
            moved = not torch.equal(after[f'{name}.{kind}'], before[f'{name}.{kind}'])
            assert moved == bool(re.search(trained, name)), (name, kind)
        assert not torch.equal(after[f'{name}.running_mean'], before[f'{name}.running_mean'])


# ---------------------------------------------------------------------------------------------------- the network


def reference_state(shapes):
    """Weights by the golden data's rule for every key of the reference's state dict."""
    state = {}
    for key, shape in shapes.items():
        if key.endswith('num_batches_tracked'):
            state[key] = torch.tensor(0)
            continue
        z = np.random.RandomState(zlib.crc32(key.encode())).randn(*shape)
        if len(shape) == 4:
            z = z * np.sqrt(2 / np.prod(shape[1:]))
        elif key.endswith('running_var'):
            z = 0.5 + np.abs(z)
        elif key.endswith('bn3.weight'):
            z = 0.1 + 0.1 * np.abs(z)
        elif key.endswith('weight'):
            z = 0.5 + 0.25 * np.abs(z)
        else:
            z = 0.1 * z
        state[key] = torch.from_numpy(z.astype(np.float32))
    return state


class _Network(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.backbone = backbone()
        self.decode_head = head(2048, classes, in_index=3)
        self.auxiliary_head = head(1024, classes, in_index=2)

    def reference_shapes(self):
        for key, value in self.state_dict().items():
            key = key.removeprefix('backbone.').replace('decode_head.convs', 'layer6.conv2d_list')
            yield key.replace('auxiliary_head.convs', 'layer5.conv2d_list'), tuple(value.shape)

    def forward(self, x):
        features = self.backbone(x)
        return features[-1], self.decode_head(features), self.auxiliary_head(features)


@torch.no_grad()
def test_network_golden():
    golden = load('net_forward')
    network = _Network(5)
    state = reference_state(dict(network.reference_shapes()))
    # as a training run of the reference leaves it: wrapped, with the average beside it and parameters nobody uses
    dead = {'proto_classifier.weight': torch.ones(5, 2048, 1, 1), 'para': torch.ones(1), 'fuse_weight_1': torch.ones(1)}
    shadow = {f'module.{key}': value for key, value in (state | dead).items()}
    assert {*state, *dead} == set(np.load(GOLDEN / 'param_groups.npz')['state_dict_keys'])
    imported = network_state({'state_dict': {}, 'shadow': shadow, 'epoch': 3})
    assert imported.dropped == list(dead)
    network.load_state_dict(imported.state)  # strict: every weight has come through

    def up(logits):
        return F.interpolate(logits, size=golden['x'].shape[-2:], mode='bilinear', align_corners=True)

    close_net = dict(rtol=1e-4, atol=1e-4)
    features, main, aux = network.eval()(golden['x'])
    close(features[:, :64], golden['eval_feat4_ch0_63'], **close_net)
    close(main, golden['eval_main_lr'], **close_net)
    close(up(main), golden['eval_main_up'], **close_net)
    close(up(aux), golden['eval_aux_up'], **close_net)

    _, main, aux = network.train()(golden['x'])
    close(main, golden['train_main_lr'], **close_net)
    close(up(aux), golden['train_aux_up'], **close_net)
    last = network.backbone.layer4[2].bn3
    close(network.backbone.bn1.running_mean, golden['after_bn1_running_mean'], **close_net)
    close(network.backbone.bn1.running_var, golden['after_bn1_running_var'], **close_net)
    close(last.running_mean, golden['after_l42_bn3_running_mean'], **close_net)
    close(last.running_var, golden['after_l42_bn3_running_var'], **close_net)


def test_parts_work_in_a_stock_segmentor():
    parts = dict(type='mmuda.SummedASPPHead', num_classes=19, align_corners=True)
    model = MODELS.build(
        dict(
            type='EncoderDecoder',
            backbone=dict(type='mmuda.CeilResNet', depth=18, stem_channels=16, base_channels=16, style='caffe'),
            decode_head=dict(in_channels=128, in_index=3, **parts),
            auxiliary_head=dict(in_channels=64, in_index=2, **parts),
            test_cfg=dict(mode='whole'),
        )
    )
    model.init_weights()
    assert model(torch.rand(1, 3, 32, 64), mode='tensor').shape[:2] == (1, 19)
    assert model.decode_head.loss_decode.avg_non_ignore


# ---------------------------------------------------------------------------------------------------- LDBE's network


def test_ldbe_head_golden():
    golden = {key: torch.from_numpy(value) for key, value in np.load(LDBE / '11_aspp_head.npz').items()}
    ours = head(8, 5, in_index=0, active_branches=4)
    prefix = 'sd.conv2d_list.'
    ours.load_state_dict(
        {f'convs.{key.removeprefix(prefix)}': value for key, value in golden.items() if key.startswith(prefix)}
    )
    out = ours([golden['x']])
    close(out, golden['out'])
    full = F.interpolate(out, size=(131, 177), mode='bilinear', align_corners=True)
    close(full[..., ::8, ::8], golden['out_up_131x177_stride8'])


class _OneBottleneckPerStage(CeilResNet):
    arch_settings: ClassVar[dict] = {**CeilResNet.arch_settings, 14: (Bottleneck, (1, 1, 1, 1))}


def uniform(j, shape):
    """u(j, i) of the golden README, i = 0, 1, ... in C order."""
    x = np.arange(np.prod(shape, dtype=np.uint64), dtype=np.uint64) + np.uint64(1000003 * j)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x &= np.uint64(0xFFFFFFFF)
        x ^= x >> np.uint64(shift)
        x *= np.uint64(factor)
    x &= np.uint64(0xFFFFFFFF)
    return ((x ^ (x >> np.uint64(16))) / 2**32).reshape(shape)


def ldbe_weight(key, u):
    if u.ndim == 4:
        return (2 * u - 1) * np.sqrt(3 / np.prod(u.shape[1:]))
    if key.endswith('running_var'):
        return 0.5 + u
    if key.endswith('running_mean'):
        return 0.2 * (2 * u - 1)
    return 0.8 + 0.4 * u if key.endswith('weight') else 0.1 * (2 * u - 1)


@torch.no_grad()
def test_ldbe_network_golden():
    golden = np.load(LDBE / '12_deeplab_tiny.npz')
    network = nn.ModuleDict(
        dict(
            backbone=_OneBottleneckPerStage(
                14, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), contract_dilation=False, style='caffe'
            ),
            decode_head=head(2048, 7, in_index=3, active_branches=4),
        )
    )
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    state = {}
    for j, key in enumerate(golden['keys'].tolist()):
        ours = f'backbone.{key}'
        if key.startswith(('layer5', 'layer6')):
            ours = key.replace('layer5.conv2d_list', 'decode_head.convs').replace(
                'layer6.conv2d_list', 'decode_head.convs'
            )
        state[key] = torch.from_numpy(ldbe_weight(key, uniform(j, shapes[ours])).astype(np.float32))
    weights = network_state(state).state
    missing = network.load_state_dict(weights, strict=False).missing_keys
    assert all(key.endswith('num_batches_tracked') for key in missing)

    shape = tuple(golden['input_shape'])
    x = torch.from_numpy((255 * uniform(999, shape) - 110).astype(np.float32))

    def run():
        features = network['backbone'](x)
        low = network['decode_head'](features)
        return features[-1], low, F.interpolate(low, size=shape[2:], mode='bilinear', align_corners=True)

    def near(found, name, rel):
        wanted = torch.from_numpy(golden[name])
        close(found, wanted, rtol=0, atol=rel * float(wanted.abs().max()))

    network.eval()
    features, low, full = run()
    assert tuple(features.shape) == tuple(golden['feat_shape'])
    near(features[:, ::32].mean((2, 3)), 'feat_mean', 1e-4)
    near(low, 'logits_low_eval', 1e-4)
    near(full[..., ::3, ::3], 'logits_up_eval', 1e-4)
    network.train()
    near(run()[1], 'logits_low_train', 1e-3)
    near(network['backbone'].bn1.running_mean, 'bn1_running_mean_after_train', 1e-3)
