"""DAF and IDA against the reference's numbers (DAF+IDA spec 3 to 5 and 10)."""

import copy
from pathlib import Path

import numpy as np
import plain_daf_ida
import pytest
import torch
import toy_networks
from helpers import fresh_model
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.optim import OptimWrapperDict, PolyLR
from torch import Tensor, nn

from mmuda.engine.hooks.pictures import picture_rows
from mmuda.engine.optimizers import NetworkOptimConstructor, RepeatedSGD
from mmuda.models.heads import SummedASPPHead
from mmuda.models.necks import DepthGuide
from mmuda.models.uda import DAF, Adversarial, UDASegmentor
from mmuda.registry import DATASETS, MODELS
from mmuda.utils.weights import network_state

GOLDEN = Path(__file__).parents[1] / 'golden/daf_ida'


def load(name: str) -> dict[str, Tensor]:
    return {key: torch.from_numpy(value) for key, value in np.load(GOLDEN / f'{name}.npz').items()}


def close(actual: Tensor, expected: Tensor, rtol: float = 1e-5) -> None:
    largest = float(expected.detach().abs().max())
    torch.testing.assert_close(actual, expected.to(actual.dtype), rtol=0, atol=rtol * largest)


# ------------------------------------------------------------------------------------------------------- the network


def test_seg_head_golden() -> None:
    golden = load('seg_head')
    head = SummedASPPHead(6, 4, in_index=0, active_branches=4)
    prefix = 'sd.conv2d_list.'
    head.load_state_dict({f'convs.{k.removeprefix(prefix)}': v for k, v in golden.items() if k.startswith(prefix)})
    close(head([golden['input']]), golden['output'])
    close(head([golden['input']]), sum(conv(golden['input']) for conv in head.convs))


@pytest.mark.parametrize('mode', ['eval', 'train'])
def test_depth_guide_golden(mode: str) -> None:
    golden = load('depth_head')
    guide = DepthGuide((16, 32, 48, 64))
    head = SummedASPPHead(64, 4, in_index=3, active_branches=4)
    state = network_state({key[3:]: value for key, value in golden.items() if key.startswith('sd.')}).state
    for name, part in (('neck.', guide), ('decode_head.', head)):
        part.load_state_dict({k.removeprefix(name): v for k, v in state.items() if k.startswith(name)})
    noted = {}
    guide.fuse.register_forward_hook(lambda _, __, output: noted.update(fused=output))
    guide.attentions[0].register_forward_hook(lambda _, inputs, output: noted.update(first=output / inputs[0]))
    guide.conv_depth.register_forward_hook(lambda _, __, output: noted.update(raw=output))

    guide.train(mode == 'train')
    features = [golden[f'feat{i}'].float() for i in range(1, 5)]
    found = guide(features)
    assert len(found) == 5
    assert all(torch.equal(ours, given) for ours, given in zip(found[:3], features, strict=False))
    close(found[3][:1, :8], golden[f'{mode}_fused_b0_c0to8'], 1e-4)
    close(head(found), golden[f'{mode}_seg_logits'], 1e-4)
    assert found[4].shape == tuple(golden[f'{mode}_depth_shape'].tolist())
    close(found[4][..., ::9, ::12], golden[f'{mode}_depth_228x304_every9_12'], 1e-4)
    close(noted['raw'], golden[f'{mode}_depth_raw'], 1e-4)
    close(noted['fused'][: len(golden[f'{mode}_mff'])], golden[f'{mode}_mff'], 1e-4)
    close(noted['first'].nanmean((2, 3), keepdim=True), golden[f'{mode}_att1'], 1e-4)
    for key, value in golden.items():
        if mode == 'train' and key.startswith('train_after.'):
            (name,) = network_state({key.removeprefix('train_after.'): value}).state
            close(guide.state_dict()[name.removeprefix('neck.')], value, 1e-4)


def test_depth_has_one_size_whatever_the_image() -> None:
    for size, wanted in (((228, 304), (228, 304)), (None, (8, 12))):
        guide = DepthGuide((16, 16, 16, 16), depth_size=size)
        found = guide([torch.rand(2, 16, 15, 23), *(torch.rand(2, 16, 8, 12) for _ in range(3))])
        assert found[4].shape == (2, 1, *wanted)


def test_which_convolutions_have_a_bias() -> None:
    guide = DepthGuide((16, 16, 16, 16))
    biased = {name for name, layer in guide.named_modules() if isinstance(layer, nn.Conv2d) and layer.bias is not None}
    assert biased == {'conv_depth', 'gate'}
    weights = [
        layer.weight for layer in guide.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size == (5, 5)
    ]
    assert all(0.009 < weight.std() < 0.011 for weight in weights)


CONFIG = Path(__file__).parents[2] / 'configs/daf_ida/synthia2city_16_stage1_daf.py'


def test_the_published_network_golden() -> None:
    """Every key of the reference's state is a key of ours, once, of the same shape (point 35)."""
    golden = np.load(GOLDEN / 'schedule_optim.npz')
    shapes = [tuple(map(int, filter(None, text.split(',')))) for text in golden['state_shapes'].tolist()]
    theirs = {key: torch.zeros(()).expand(shape) for key, shape in zip(golden['state_names'], shapes, strict=True)}
    found = network_state({'iter': 3, 'model_state_dict': theirs})
    assert found.dropped == []
    with torch.device('meta'):
        ours = MODELS.build(Config.fromfile(CONFIG).student)
    assert {key: value.shape for key, value in found.state.items()} == {
        k: v.shape for k, v in ours.state_dict().items()
    }
    assert sum(p.numel() for p in ours.parameters()) == pytest.approx(46.25e6, abs=5e3)


def test_parameter_groups_golden() -> None:
    golden, cfg = np.load(GOLDEN / 'schedule_optim.npz'), Config.fromfile(CONFIG)
    cfg.merge_from_dict({'student.backbone.base_channels': 2, 'student.backbone.stem_channels': 2})
    cfg.merge_from_dict({'student.neck.in_channels': (8, 16, 32, 64), 'student.decode_head.in_channels': 64})
    network = nn.Module()
    network.student = MODELS.build(cfg.student)
    network.discriminator = nn.Conv2d(1, 1, 1)
    settings = {name: cfg.optim_wrapper[name] for name in ('student', 'discriminator')}
    optimizer = NetworkOptimConstructor(settings)(network)['student'].optimizer
    names = {parameter: name for name, parameter in network.student.named_parameters()}
    found = {names[p]: (g['lr'], g['repeat']) for g in optimizer.param_groups for p in g['params']}

    def ours(name: str) -> str:
        return next(iter(network_state({name: torch.zeros(1, 1)}).state))

    once = zip(golden['group1x_names'].tolist(), golden['group1x_multiplicity'].tolist(), strict=True)
    wanted = {ours(name): (2.5e-4, repeat) for name, repeat in once}
    wanted |= {ours(name): (2.5e-3, 1) for name in golden['group10x_names'].tolist()}
    assert found == wanted
    assert {name for p, name in names.items() if not p.requires_grad} == set(map(ours, golden['frozen_names'].tolist()))


@pytest.mark.parametrize(('lr', 'horizon', 'prefix'), [(2.5e-4, 90000, 'daf'), (2.5e-4, 250000, 'ida')])
def test_learning_rates_golden(lr: float, horizon: int, prefix: str) -> None:
    golden = np.load(GOLDEN / 'schedule_optim.npz')
    iterations = golden['iters' if prefix == 'daf' else 'ida_iters'].tolist()
    optimizer = torch.optim.SGD([dict(params=[nn.Parameter(torch.ones(1))], lr=base) for base in (lr, 1e-4)], lr=1)
    schedule = PolyLR(optimizer, power=0.9, eta_min=0.0, begin=0, end=horizon + 1, by_epoch=False)
    optimizer.step()
    wanted = dict(zip(iterations, zip(golden[f'{prefix}_seg'], golden[f'{prefix}_disc'], strict=True), strict=True))
    for iteration in range(max(iterations) + 1):
        if iteration in wanted:
            found = [group['lr'] for group in optimizer.param_groups]
            np.testing.assert_allclose(found, wanted[iteration], rtol=1e-9, atol=1e-16)
        schedule.step()
    if prefix == 'daf':  # the horizon stays when self-training stops at 25000
        np.testing.assert_array_equal(golden['isl_seg'], golden['daf_seg'][: len(golden['isl_seg'])])


@pytest.mark.parametrize('repeat', [1, 3, 4])
def test_repeated_steps_golden(repeat: int) -> None:
    golden = np.load(GOLDEN / 'schedule_optim.npz')
    parameter = nn.Parameter(torch.from_numpy(golden['sgd_p0']))
    settings = dict(Config.fromfile(CONFIG).optim_wrapper.student.optimizer, repeat=repeat)
    assert settings.pop('type') == 'mmuda.RepeatedSGD'
    optimizer = RepeatedSGD([parameter], **settings)
    for grad, lr, wanted in zip(golden['sgd_grads'], golden['sgd_lr'], golden[f'sgd_k{repeat}'], strict=True):
        optimizer.param_groups[0]['lr'] = float(lr)
        parameter.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        close(parameter, torch.from_numpy(wanted))


# -------------------------------------------------------------------------------------------------- training steps


@MODELS.register_module()
class DepthConv(nn.Module):
    """The goldens' depth: ten times a 1x1 convolution of the features."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 1, 1)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        return [*features, 10 * self.conv(features[-1])]


TOY = {'seg.conv.': 'student.backbone.0.', 'seg.bn.': 'student.backbone.1.', 'seg.seg.': 'student.decode_head.conv.'}
TOY |= {'seg.depth.': 'student.neck.conv.', 'D.': 'discriminator.'}


def by_our_names(golden: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors of one moment of a golden run."""
    return {
        ours + key.removeprefix(prefix + theirs): value
        for key, value in golden.items()
        for theirs, ours in TOY.items()
        if key.startswith(prefix + theirs)
    }


def toy_student() -> dict:
    neck = dict(type='mmuda.DepthConv', in_channels=8)
    return dict(toy_networks.student((3, 8), num_classes=5, kernel=1, divisor=64), neck=neck)


def build(kind: type, golden: dict[str, Tensor], **settings: object) -> UDASegmentor:
    model = kind(
        student=toy_student(),
        data_preprocessor=dict(type='mmuda.DomainDataPreprocessor'),
        discriminator=dict(type='mmuda.FCDiscriminator', base_channels=4),
        **settings,
    )
    assert model.load_state_dict(by_our_names(golden, 'init_'), strict=False) == ([], [])
    return model.train()


def optimizers(model: UDASegmentor, horizon: int = 10) -> tuple[OptimWrapperDict, list[PolyLR]]:
    settings = dict(
        student=dict(
            optimizer=dict(type='SGD', lr=2.5e-4, momentum=0.9, weight_decay=5e-4),
            paramwise_cfg=dict(rules=[dict(match=r'decode_head\.|neck\.', lr_mult=10)]),
        ),
        discriminator=dict(optimizer=dict(type='Adam', lr=1e-4, betas=(0.9, 0.99))),
    )
    wrappers = NetworkOptimConstructor(settings)(model)
    poly = dict(power=0.9, eta_min=0.0, begin=0, end=horizon + 1, by_epoch=False)
    return wrappers, [PolyLR(wrapper.optimizer, **poly) for wrapper in wrappers.values()]


def batch(golden: dict[str, Tensor], number: int) -> dict[str, dict[str, Tensor]]:
    source = {key: golden[f'source_{name}{number}'] for key, name in (('image', 'img'), ('label', 'label'))}
    source['depth'] = golden[f'source_depth{number}'][:, None]
    return {'source': source, 'target': {'image': golden[f'target_img{number}']}}


def test_four_daf_iterations_golden() -> None:
    golden = load('daf_train_steps')
    model = build(DAF, golden)
    wrappers, schedules = optimizers(model)
    for number in range(4):
        log = model.train_step(batch(golden, number), wrappers)
        weighted = {'src.loss_seg': 1.0, 'src.loss_depth': 1e-3, 'tgt.loss_adv': 1e-3, 'disc.loss_tgt': 1.0}
        for name, wanted in zip(weighted, golden['losses_seg_depth_adv_dtrg'][number].tolist(), strict=True):
            assert log[name].item() == pytest.approx(weighted[name] * wanted, rel=1e-5), name
        if number == 0:
            grads = by_our_names(golden, 'iter0_grad_')
            assert grads.keys() == {name for name, p in model.named_parameters() if p.requires_grad}
            for name, wanted in grads.items():
                torch.testing.assert_close(model.get_parameter(name).grad, wanted, rtol=1e-5, atol=1e-7)
        for schedule in schedules:
            schedule.step()
        if number in (0, 3):
            after = by_our_names(golden, f'after_iter{number}_')
            assert after.keys() == model.state_dict().keys() - {'_extra_state'}
            for name, wanted in after.items():
                close(model.state_dict()[name], wanted)


def plain_run(golden: dict[str, Tensor], model: UDASegmentor, **settings: object) -> list[list[float]]:
    """Four iterations by the oracle, on the weights of a model."""
    wrappers, schedules = optimizers(model)

    def network(image: Tensor) -> tuple[Tensor, Tensor]:
        features, depth = model.student.extract_feat(image)
        return model.student.decode_head([features]), depth

    losses = []
    for number in range(4):
        for wrapper in wrappers.values():
            wrapper.zero_grad()
        data = batch(golden, number)
        losses.append(plain_daf_ida.adversarial_iteration(network, model.discriminator, *data.values(), **settings))
        for wrapper in wrappers.values():
            wrapper.step()
        for schedule in schedules:
            schedule.step()
    return losses


def test_the_oracle_golden() -> None:
    golden = load('daf_train_steps')
    model = build(DAF, golden)
    losses = plain_run(golden, model, powers=(1, 2), adv_weight=1e-3, disc_weight=1.0)
    torch.testing.assert_close(torch.tensor(losses).double(), golden['losses_seg_depth_adv_dtrg'], rtol=1e-5, atol=0)
    for name, wanted in by_our_names(golden, 'after_iter3_').items():
        close(model.state_dict()[name], wanted)


@pytest.mark.parametrize('adv_weight', [1e-3, 1.0])
@pytest.mark.parametrize('method', ['DAF', 'IDA'])
def test_four_iterations_equal_the_oracle(method: str, adv_weight: float) -> None:
    golden = load('daf_train_steps')
    kind, powers, disc_weight = (DAF, (1, 2), 1.0) if method == 'DAF' else (Adversarial, (0, 0), 0.5)
    settings = {} if method == 'DAF' else dict(disc_input='self_information')
    model = build(kind, golden, adv_weight=adv_weight, disc_weight=disc_weight, **settings)
    start, plain = copy.deepcopy(model.state_dict()), copy.deepcopy(model)
    losses = plain_run(golden, plain, powers=powers, adv_weight=adv_weight, disc_weight=disc_weight)
    wrappers, schedules = optimizers(model)
    for number in range(4):
        log = model.train_step(batch(golden, number), wrappers)
        assert log['src.loss_seg'].item() == pytest.approx(losses[number][0], rel=1e-5)
        assert log['tgt.loss_adv'].item() == pytest.approx(adv_weight * losses[number][-2], rel=1e-5)
        assert log['disc.loss_tgt'].item() == pytest.approx(losses[number][-1], rel=1e-5)
        for schedule in schedules:
            schedule.step()
    for name, wanted in plain.state_dict().items():
        if name != '_extra_state':
            close(model.state_dict()[name], wanted)
    if method == 'IDA':  # no gradient, so no weight decay either
        assert all(p.grad is None for p in model.student.neck.parameters())
        for name, value in model.student.neck.state_dict().items():
            assert torch.equal(value, start[f'student.neck.{name}'])


def test_maps_grow_with_the_powers_of_depth() -> None:
    golden = load('daf_train_steps')
    model = build(DAF, golden)
    data = model.data_preprocessor(batch(golden, 0), training=True)
    maps = [model.source_pass(data['source'])[1], model.target_pass(data['target'])[1]]
    plain = model.logits_and_depth
    model.logits_and_depth = lambda image: [x * scale for x, scale in zip(plain(image), (1, 2), strict=True)]
    twice = [model.source_pass(data['source'])[1], model.target_pass(data['target'])[1]]
    close(twice[0], 2 * maps[0])
    close(twice[1], 4 * maps[1])


def test_the_sheet_shows_depth_predicted_and_true(load, city: Path) -> None:
    cfg = load('daf_ida/minicity_stage1_daf.py')
    model = fresh_model(cfg)
    model.notes = {}
    data = default_collate([DATASETS.build(cfg.train_dataloader.dataset)[0]])
    [*_] = model.parts(model.data_preprocessor(data, training=True))
    [row] = picture_rows(model, data, model.notes)
    wanted = ['source', 'source label', 'source depth', 'target', 'student on target']
    assert list(row) == [*wanted, 'student on source', 'depth on source', 'depth on target']
    centimetres = data['source']['depth'][0].float()
    logarithms = (centimetres / 100).clamp(min=1).log() / np.log(655.35)
    np.testing.assert_allclose(row['source depth'], 1 - logarithms, atol=1e-4)
    assert len(np.unique(row['source depth'])) > 100
    for title in ('depth on source', 'depth on target'):
        assert row[title].shape == (64, 128)
        assert 0 <= row[title].min() <= row[title].max() <= 1
