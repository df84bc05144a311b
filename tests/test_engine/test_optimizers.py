"""Repeated SGD, optimizers per network and the learning rate over time (EHTDI spec 7, T4; LDBE spec 3.4, 5, T9)."""

import itertools
from pathlib import Path

import numpy as np
import plain_ehtdi
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, OptimWrapperDict, PolyLR, build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from mmuda.engine.optimizers import NetworkOptimConstructor, RepeatedSGD
from mmuda.models.backbones import CeilResNet
from mmuda.models.heads import SummedASPPHead
from mmuda.registry import MODELS

GOLDEN = Path(__file__).parents[1] / 'golden' / 'ehtdi'

LDBE = Path(__file__).parents[1] / 'golden' / 'ldbe'
CONFIGS = Path(__file__).parents[2] / 'configs'

# The rules of the paper configs: how often the reference lists each parameter, and the heads' learning rate.
DEEPLAB_RULES = Config.fromfile(CONFIGS / '_base_/schedules/poly_250k.py').optim_wrapper.paramwise_cfg.rules


def _steps(repeat, **kwargs):
    golden = np.load(GOLDEN / 'sgd_repeat.npz')
    param = nn.Parameter(torch.from_numpy(golden['p0']))
    settings = dict(lr=1.0, momentum=float(golden['momentum']), weight_decay=float(golden['weight_decay']))
    optimizer = RepeatedSGD([param], repeat=repeat, **settings, **kwargs)
    for i, (grad, lr) in enumerate(zip(golden['grads'], golden['lr'], strict=True)):
        optimizer.param_groups[0]['lr'] = float(lr)
        param.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        assert torch.equal(param.grad, torch.from_numpy(grad))
        yield param.detach(), optimizer.state[param]['momentum_buffer'], golden, i


@pytest.mark.parametrize('kernels', [{}, dict(fused=False), dict(foreach=True)], ids=['fused', 'plain', 'foreach'])
@pytest.mark.parametrize('repeat', [1, 3, 4])
def test_repeated_sgd_golden(repeat, kernels):
    for param, buffer, golden, i in _steps(repeat, **kernels):
        np.testing.assert_allclose(param, golden[f'traj_k{repeat}'][i], atol=1e-5)
        np.testing.assert_allclose(buffer, golden[f'buf_k{repeat}'][i], atol=1e-5)


@pytest.mark.parametrize('repeat', [1, 3, 4])
def test_plain_sgd_golden(repeat):
    golden = np.load(GOLDEN / 'sgd_repeat.npz')
    param, buffers = nn.Parameter(torch.from_numpy(golden['p0'])), {}
    group = dict(params=[param], repeat=repeat, **{key: float(golden[key]) for key in ('momentum', 'weight_decay')})
    for i, (grad, lr) in enumerate(zip(golden['grads'], golden['lr'], strict=True)):
        param.grad = torch.from_numpy(grad)
        plain_ehtdi.sgd_step([group | {'lr': float(lr)}], buffers)
        np.testing.assert_allclose(param.detach(), golden[f'traj_k{repeat}'][i], atol=1e-5)
        np.testing.assert_allclose(buffers[param], golden[f'buf_k{repeat}'][i], atol=1e-5)


@pytest.mark.parametrize('kernels', [{}, dict(fused=False)], ids=['fused', 'plain'])
@pytest.mark.parametrize(('trajectory', 'carry'), [('torch_now', False), ('seq', True)])
@pytest.mark.parametrize('repeat', [1, 3, 4])
def test_repeated_sgd_golden_of_ldbe(repeat, trajectory, carry, kernels):
    """Old versions of torch shared the momentum between the repeats of the first step, too."""
    golden = np.load(LDBE / '15_optimizer_groups.npz')
    lr, momentum, weight_decay = golden['lr_momentum_wd'].tolist()
    param = nn.Parameter(torch.from_numpy(golden['p0']))
    settings = dict(lr=lr, momentum=momentum, weight_decay=weight_decay, repeat=repeat, carry_first_step=carry)
    optimizer = RepeatedSGD([param], **settings, **kernels)
    for grad, wanted in zip(golden['grads'], golden[f'traj_{trajectory}_n{repeat}'], strict=True):
        param.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        np.testing.assert_allclose(param.detach(), wanted, rtol=0, atol=1e-9)


def test_repeated_sgd_without_repeats_is_sgd():
    torch.manual_seed(0)
    start, grads = torch.randn(7), torch.randn(4, 7)
    ours, stock = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    settings = dict(lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True)
    optimizers = [RepeatedSGD([ours], fused=False, **settings), torch.optim.SGD([stock], **settings)]
    for grad in grads:
        ours.grad = stock.grad = grad
        for optimizer in optimizers:
            optimizer.step()
    assert torch.equal(ours, stock)


def test_repeated_sgd_leaves_parameters_without_gradient_alone():
    idle, late = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    moving = nn.Parameter(torch.ones(3))
    optimizer = RepeatedSGD([idle, late, moving], lr=0.1, momentum=0.9, weight_decay=0.1, repeat=3)
    moving.grad = torch.ones(3)
    optimizer.step()
    after_first_step = moving.detach().clone()
    late.grad = torch.ones(3)  # its first step comes while the other is at its second
    optimizer.step()
    assert torch.equal(idle, torch.ones(3))
    assert idle not in optimizer.state
    assert torch.equal(late, after_first_step)


def test_repeated_sgd_without_momentum_keeps_no_state():
    param = nn.Parameter(torch.ones(2))
    optimizer = RepeatedSGD([param], lr=0.5, repeat=2)
    param.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(param, torch.zeros(2))
    assert not optimizer.state_dict()['state']


def test_repeated_sgd_resumes_exactly():
    def run(steps, state=None):
        param = nn.Parameter(torch.ones(5) if state is None else state[0].clone())
        optimizer = RepeatedSGD([param], lr=0.1, momentum=0.9, repeat=1)
        optimizer.param_groups[0]['repeat'] = 3 if state is None else 1
        if state is not None:
            optimizer.load_state_dict(state[1])
        for step in steps:
            param.grad = torch.full((5,), float(step))
            optimizer.step()
        return param.detach(), optimizer.state_dict()

    whole = run(range(4))
    half = run(range(2))
    assert torch.equal(run(range(2, 4), half)[0], whole[0])
    assert half[1]['param_groups'][0]['repeat'] == 3


@pytest.mark.parametrize('repeat', [0, 2.5])
def test_repeated_sgd_rejects_other_repeats(repeat):
    with pytest.raises(ValueError, match='repeat'):
        RepeatedSGD([nn.Parameter(torch.ones(1))], lr=0.1, repeat=repeat)


class _Segmentor(nn.Module):
    def __init__(self, classes=19, depth=101, width=64):
        super().__init__()
        self.backbone = CeilResNet(
            depth, base_channels=width, stem_channels=width, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), style='caffe'
        )
        channels = self.backbone.feat_dim
        self.decode_head = SummedASPPHead(channels, classes, in_index=3)
        self.auxiliary_head = SummedASPPHead(channels // 2, classes, in_index=2)


class _Adaptation(nn.Module):
    """A student, its frozen copy and a discriminator, as the methods have them."""

    def __init__(self):
        super().__init__()
        self.student = _Segmentor(depth=18, width=4)
        self.teacher = _Segmentor(depth=18, width=4).requires_grad_(False)
        self.discriminator = nn.Conv2d(3, 1, 1)


def _sgd(**kwargs):
    return dict(type='mmuda.RepeatedSGD', lr=2.5e-4, momentum=0.9, weight_decay=5e-4, **kwargs)


def _build(model, **cfg):
    with DefaultScope.overwrite_default_scope('mmuda'):  # as in a Runner
        return build_optim_wrapper(model, dict(constructor='mmuda.NetworkOptimConstructor', **cfg))


def test_groups_golden():
    golden = np.load(GOLDEN / 'param_groups.npz')
    with torch.device('meta'):
        model = _Segmentor()
    wrapper = _build(model, optimizer=_sgd(), paramwise_cfg=dict(rules=DEEPLAB_RULES))

    names = {param: name for name, param in model.named_parameters()}
    ours = {}
    for group in wrapper.optimizer.param_groups:
        for param in group['params']:
            name = names[param].replace('backbone.', '')
            for head, layer in (('decode_head', 'layer6'), ('auxiliary_head', 'layer5')):
                name = name.replace(f'{head}.convs', f'{layer}.conv2d_list')
            assert name not in ours
            ours[name] = (round(group['lr'] / 2.5e-4), group['repeat'])
    expected = {
        name: (10 if group else 1, multiplicity)
        for name, group, multiplicity in zip(golden['name'], golden['group'], golden['multiplicity'], strict=True)
        if 'conv2d_list.2' not in name and 'conv2d_list.3' not in name  # listed, never used: no gradient there
    }
    for dead in ('proto_classifier.weight', 'para', 'fuse_weight_1'):
        del expected[dead]
    assert ours == expected
    assert not set(golden['frozen']) & set(ours)


@pytest.mark.parametrize(
    ('config', 'trained'),
    [('gta2city_stage0_source', ''), ('gta2city_stage1_ld', 'downsample'), ('gta2city', 'downsample')],
)
def test_groups_golden_of_ldbe(config, trained):
    golden = np.load(LDBE / '15_optimizer_groups.npz')
    cfg = Config.fromfile(CONFIGS / f'ldbe/{config}.py')
    with torch.device('meta'), DefaultScope.overwrite_default_scope('mmuda'):
        model = MODELS.build(cfg.model)
    wrapper = _build(model, **{key: value for key, value in cfg.optim_wrapper.items() if key != 'constructor'})
    base, names = cfg.optim_wrapper.optimizer.lr, {param: name for name, param in model.named_parameters()}
    listed = [(names[p], group['lr'] / base) for group in wrapper.optimizer.param_groups for p in group['params']]
    ours = {
        name.removeprefix('student.').removeprefix('backbone.').replace('decode_head.convs', 'layer5.conv2d_list'): lr
        for name, lr in listed
    }
    expected = {
        name: 10 if group else multiplicity
        for name, group, multiplicity, trains in zip(
            golden['param_names'].tolist(),
            golden['group'].tolist(),
            golden['multiplicity'].tolist(),
            golden['requires_grad'].tolist(),
            strict=True,
        )
        if trains and not name.startswith('layer6') and (trained or 'downsample.1' not in name)
    }
    assert ours == pytest.approx(expected)
    assert len(listed) == len(ours)
    assert len(ours) == 1 + 99 + 4 + 8 + (8 if trained else 0)  # stem, blocks, shortcuts, head, affine of the shortcuts
    assert {group['weight_decay'] for group in wrapper.optimizer.param_groups} == {5e-4}


def test_few_groups_with_names():
    wrapper = _build(_Adaptation(), optimizer=_sgd(), paramwise_cfg=dict(rules=DEEPLAB_RULES))
    assert [group['name'] for group in wrapper.optimizer.param_groups] == ['base', 'repeat 3', 'repeat 4', 'lr_mult 10']
    assert wrapper.get_lr()['base_lr'] == [2.5e-4]


def test_one_wrapper_covers_what_trains():
    model = _Adaptation()
    wrapper = _build(model, optimizer=dict(type='Adam', lr=1e-3))
    listed = [param for group in wrapper.param_groups for param in group['params']]
    assert isinstance(wrapper, OptimWrapper)
    assert len(listed) == len(set(listed))
    assert set(listed) == {param for param in model.parameters() if param.requires_grad}
    assert not set(listed) & set(model.teacher.parameters())


def test_one_wrapper_per_network():
    model = _Adaptation()
    wrapper = _build(
        model,
        student=dict(
            optimizer=_sgd(),
            paramwise_cfg=dict(rules=[dict(match=r'\.bn\d\.', lr_mult=0)]),
            clip_grad=dict(max_norm=1),
        ),
        discriminator=dict(optimizer=dict(type='Adam', lr=1e-4)),
    )
    assert isinstance(wrapper, OptimWrapperDict)
    assert set(wrapper['discriminator'].param_groups[0]['params']) == set(model.discriminator.parameters())
    still = [group for group in wrapper['student'].param_groups if group['lr'] == 0]
    assert [group['name'] for group in still] == ['lr_mult 0']
    assert any(param is model.student.backbone.layer1[0].bn1.weight for param in still[0]['params'])
    assert wrapper['student'].clip_grad_kwargs == dict(max_norm=1)


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (
            dict(student=dict(optimizer=_sgd()), generator=dict(optimizer=_sgd())),
            'optim_wrapper.generator is no network',
        ),
        (dict(student=dict(optimizer=_sgd())), 'discriminator.weight is trainable'),
        (
            dict(teacher=dict(optimizer=_sgd()), student=dict(optimizer=_sgd()), discriminator=dict(optimizer=_sgd())),
            'teacher has no trainable parameter',
        ),
        (dict(optimizer=_sgd(), paramwise_cfg=dict(rules=[dict(match='stem', lr_mult=2)])), "'stem' applies to no"),
        (
            dict(optimizer=_sgd(), paramwise_cfg=dict(rules=[dict(match='.'), dict(match='backbone', lr_mult=2)])),
            "'backbone' applies to no",
        ),
        (dict(optimizer=_sgd(), paramwise_cfg=dict(rules=[dict(match='.', lr=2)])), "unknown settings \\['lr'\\]"),
        (
            dict(optimizer=dict(type='SGD', lr=1), paramwise_cfg=dict(rules=[dict(match='.', repeat=3)])),
            'SGD knows no repeat=3',
        ),
    ],
)
def test_wrong_settings_are_named(cfg, message):
    with pytest.raises(ValueError, match=message):
        _build(_Adaptation(), **cfg)


def test_constructor_is_registered():
    from mmuda.registry import OPTIM_WRAPPER_CONSTRUCTORS

    assert OPTIM_WRAPPER_CONSTRUCTORS.get('mmuda.NetworkOptimConstructor') is NetworkOptimConstructor


@pytest.mark.parametrize('horizon', [40000, 250000])
def test_learning_rate_golden(horizon):
    golden = np.load(GOLDEN / 'lr.npz')
    optimizer = torch.optim.SGD([dict(params=nn.Parameter(torch.ones(1)), lr=lr) for lr in (2.5e-4, 2.5e-3)], lr=1)
    scheduler = PolyLR(optimizer, power=0.9, eta_min=0, begin=0, end=horizon + 1, by_epoch=False)
    optimizer.step()
    wanted = {int(i): lr for i, lr in zip(golden['iters'], golden[f'lr_max{horizon}'], strict=True) if i <= horizon}
    for iteration in range(horizon + 1):
        if iteration in wanted:
            lr = [group['lr'] for group in optimizer.param_groups]
            np.testing.assert_allclose(lr, wanted[iteration], rtol=0, atol=1e-12)
        scheduler.step()


@pytest.mark.parametrize(
    ('config', 'stages', 'wanted'),
    [
        ('gta2city_stage0_source', {}, {'source': 'lr_source_ccm'}),
        ('gta2city', {'ld1': 0, 'ld2': 1, 'be1': 0, 'be2': 1}, {}),
    ],
)
def test_learning_rate_golden_of_ldbe(config, stages, wanted):
    golden = np.load(LDBE / '10_lr.npz')
    cfg = Config.fromfile(CONFIGS / f'ldbe/{config}.py')
    runs = {'source': (cfg.optim_wrapper.optimizer.lr, golden['lr_source_ccm'][:, None] * [1, 10])} if wanted else {}
    for entry in cfg.recipe:
        if entry.name in stages:
            runs[entry.name] = entry.options['optim_wrapper.optimizer.lr'], golden[f'lr_round{stages[entry.name]}']
    assert len(runs) == len(stages) + len(wanted)
    for lr, rates in runs.values():
        assert cfg.train_cfg.max_iters == len(rates)
        optimizer = torch.optim.SGD([dict(params=nn.Parameter(torch.ones(1)), lr=lr * mult) for mult in (1, 10)], lr=1)
        (schedule,) = cfg.param_scheduler
        scheduler = PolyLR(optimizer, **{key: value for key, value in schedule.items() if key != 'type'})
        optimizer.step()
        for iteration, rate in enumerate(rates):
            found = [group['lr'] for group in optimizer.param_groups]
            np.testing.assert_allclose(found, rate, rtol=1e-9, atol=1e-18, err_msg=str(iteration))
            scheduler.step()


def test_rounds_of_ldbe():
    golden = np.load(LDBE / '10_lr.npz')

    def rounds(config, kind):
        entries = {entry.name: entry for entry in Config.fromfile(CONFIGS / f'ldbe/{config}.py').recipe}
        names = [name for name in entries if name.startswith(kind) and not name.endswith('labels')]
        labels = [entries[entries[name].labels].selector.prop for name in names]
        return labels, [entries[name].options['optim_wrapper.optimizer.lr'] for name in names]

    for config in ('gta2city', 'synthia2city'):
        for kind in ('ld', 'be'):
            prop, lr = rounds(config, kind)
            assert prop == golden['cb_prop_per_round'].tolist()  # to the last bit: repeated addition (T15)
            np.testing.assert_allclose(lr, golden['base_lr_per_round'][:2], rtol=1e-9)
    prop, lr = rounds('gta2city_2021-07', 'be')
    assert prop == list(itertools.accumulate([0.2, 0.05, 0.05, 0.05, 0.05]))
    np.testing.assert_allclose(lr, golden['base_lr_per_round'] * 0.75, rtol=1e-9)
    assert (prop, lr) == rounds('gta2city_2021-07', 'ld')


@pytest.mark.parametrize('setting', [dict(accumulative_counts=2), dict(type='AmpOptimWrapper')])
def test_wrappers_that_a_step_in_parts_would_bypass_are_refused(setting, monkeypatch):
    monkeypatch.setattr('mmengine.optim.optimizer.amp_optimizer_wrapper.is_npu_available', lambda: True)
    with pytest.raises(ValueError, match='use a plain OptimWrapper'):
        _build(_Adaptation(), optimizer=_sgd(), **setting)
