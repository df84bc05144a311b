"""Depth Distribution against the reference's numbers (its spec 3 to 5 and 10)."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import plain_depth_distribution as plain
import pytest
import torch
import torch.nn.functional as F
import toy_networks
from mmengine.config import Config
from mmengine.optim import OptimWrapperDict, PolyLR
from torch import Tensor, nn

from mmuda.engine.optimizers import NetworkOptimConstructor
from mmuda.evaluation import confusion_matrix, scores
from mmuda.models.discriminators import FCDiscriminator
from mmuda.models.losses import berhu, binary_cross_entropy, cross_entropy, self_information
from mmuda.models.uda import DensityDepthSegmentor, DepthDistribution, SelfTraining
from mmuda.models.uda.depth_distribution import RegressionHead
from mmuda.registry import MODELS
from mmuda.utils.weights import network_state

GOLDEN = Path(__file__).parents[1] / 'golden/depth_distribution'
CONFIGS = Path(__file__).parents[2] / 'configs/depth_distribution'


def load(name: str) -> dict[str, Tensor]:
    return {
        key: torch.from_numpy(value)
        for key, value in np.load(GOLDEN / f'{name}.npz').items()
        if value.dtype.kind != 'U'
    }


def close(actual: Tensor, expected: Tensor, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    torch.testing.assert_close(actual.double(), expected.double(), rtol=rtol, atol=atol)


# ------------------------------------------------------------------------------------------------------- the network


def golden_weights(golden: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Weights by the rule of the golden README."""
    state = {}
    shapes = dict(zip(golden['state_dict_keys'].tolist(), golden['state_dict_shapes'].tolist(), strict=True))
    for n, key in enumerate(sorted(shapes)):
        shape = [int(part) for part in shapes[key].replace('x', ',').strip('()').split(',') if part.strip()]
        i = np.arange(int(np.prod(shape)), dtype=np.float64)
        s = np.sin(0.7 * i + 1.3 * (n + 1) + 0.001 * (i % 97) * (i % 89)).reshape(shape)
        if key.endswith('num_batches_tracked'):
            s = np.zeros(shape)
        elif key.endswith('running_mean'):
            s = 0.05 * s
        elif key.endswith('running_var'):
            s = 1 + 0.3 * s
        elif len(shape) == 4:
            s = np.sqrt(4 / np.prod(shape[1:])) * s
        elif key.endswith('weight'):
            s = 0.05 * s + (0.15 if '.bn3.' in key else 0.8)
        else:
            s = 0.1 * s
        state[key] = torch.from_numpy(np.asarray(s, np.float32))
    return state


@torch.no_grad()
def test_network_golden() -> None:
    golden = dict(np.load(GOLDEN / 'network_forward.npz'))
    imported = network_state({'model': golden_weights(golden), 'optimizer': {}})
    assert imported.layout == 'DeepLab-v2 port, density and depth, model'
    assert {key for key in imported.dropped} == set(golden['trainable_never_used'].tolist())
    cfg = Config.fromfile(CONFIGS / 'synthia2city_16_stage1_uda.py')
    network = MODELS.build(cfg.model.student)
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    network.load_state_dict(imported.state)
    theirs = set(golden['trainable_keys'].tolist()) - set(golden['trainable_never_used'].tolist())
    assert trained == {
        next(iter(network_state({key: torch.ones(1), 'enc5_1.weight': torch.ones(1)}).state)) for key in theirs
    }
    assert len(trained) == 124

    blocks = golden['image_u8_blocks'].repeat(4, 1).repeat(4, 2)
    mean = np.array(cfg.data_preprocessor.mean, np.float32)[:, None, None]
    image = torch.from_numpy(blocks.astype(np.float32) - mean)[None]

    def near(found: Tensor, wanted: np.ndarray) -> None:
        close(found, torch.from_numpy(wanted), rtol=1e-3, atol=1e-3 * float(np.abs(wanted).max()))

    kept = {}
    for name in ('conv1', 'maxpool', 'layer1', 'layer2', 'layer3', 'layer4'):
        network.backbone.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: kept.update({name: out})
        )
    for mode in ('eval', 'train'):
        network.train(mode == 'train')
        features = network.extract_feat(image)
        near(network.decode_head(features), golden[f'{mode}_seg'])
        near(network.density_head(features), golden[f'{mode}_density'])
        near(network.depth_head(features), golden[f'{mode}_depth'])
        for name, out in kept.items():
            assert tuple(out.shape) == tuple(golden[f'{mode}_{name}_shape'])
            near(out[0, :4, :4, :5], golden[f'{mode}_{name}_slice'])
            stats = torch.stack([out.mean(), out.std(), out.abs().max()])
            close(stats, torch.from_numpy(golden[f'{mode}_{name}_stats']), rtol=1e-3, atol=1e-3)
        if mode == 'eval':
            assert network.backbone.bn1.num_batches_tracked == 0
    network.extract_feat(image)  # the golden run saw the image twice
    assert network.backbone.bn1.num_batches_tracked == golden['train_after_bn1.num_batches_tracked']
    for key, wanted in golden.items():
        if key.startswith('train_after_') and 'num_batches' not in key:
            near(network.backbone.state_dict()[key.removeprefix('train_after_')][:8], wanted)


def test_initial_weights() -> None:
    """Every convolution starts with a spread of 0.01, biases as torch has them (point 9)."""
    head = RegressionHead()
    for conv in (head.conv1, head.conv2, head.conv3):
        bound = (conv.in_channels * conv.kernel_size[0] ** 2) ** -0.5
        assert conv.weight.std().item() == pytest.approx(0.01, rel=0.03)
        assert 0.9 * bound < conv.bias.abs().max() <= bound
    golden = np.load(GOLDEN / 'network_forward.npz')
    np.testing.assert_allclose(golden['init_std'], 0.01, rtol=0.03)


@pytest.mark.parametrize(('size', 'grid'), [((760, 1280), (96, 161)), ((320, 640), (41, 81)), ((64, 96), (9, 13))])
def test_grids(size: tuple, grid: tuple) -> None:
    cfg = Config.fromfile(CONFIGS / 'synthia2city_16_stage1_uda.py').model.student
    cfg.backbone.update(depth=10, base_channels=4, stem_channels=4)
    with torch.device('meta'):
        assert MODELS.build(dict(cfg.backbone))(torch.zeros(1, 3, *size))[-1].shape[2:] == grid


def test_discriminator_golden() -> None:
    golden = load('discriminator')
    ours = FCDiscriminator(4, base_channels=4)
    ours.load_state_dict({key[4:]: value for key, value in golden.items() if key.startswith('sd__')})
    close(ours(golden['x']), golden['y'], atol=1e-5)
    with torch.device('meta'):
        real = FCDiscriminator(16)
        assert real(torch.zeros(1, 16, 760, 1280)).shape[2:] == (23, 40)
        assert real(torch.zeros(1, 16, 320, 640)).shape[2:] == (10, 20)
    assert sum(p.numel() for p in real.parameters()) == 2_778_049


# -------------------------------------------------------------------------------------------------------- losses


@pytest.fixture(scope='module')
def losses() -> dict[str, Tensor]:
    return load('losses')


@pytest.mark.parametrize('form', [berhu, plain.berhu])
@pytest.mark.parametrize('case', ['b1_nonsquare', 'b2', 'outlier65536', 'onepix', 'tie_boundary'])
def test_berhu_golden(losses: dict, case: str, form: Callable) -> None:
    pred = losses[f'berhu_{case}_pred'].clone().requires_grad_()
    loss = form(pred, losses[f'berhu_{case}_label'][:, None])
    loss.backward()
    close(loss, losses[f'berhu_{case}_loss'])
    close(pred.grad, losses[f'berhu_{case}_grad'])


def test_berhu_of_equal_maps() -> None:
    pred = torch.rand(1, 1, 4, 4, requires_grad=True)
    loss = berhu(pred, pred.detach())
    loss.backward()
    assert loss == 0
    assert (pred.grad == 0).all()


@pytest.mark.parametrize('exp', [1, 2, 3, 4, 5])
def test_cross_entropy_golden(losses: dict, exp: int) -> None:
    names = {1: 'synthia2city_16', 2: 'synthia2city_7', 3: 'synthia2city_7_small'}
    names |= {4: 'synthia2mapillary_7', 5: 'synthia2mapillary_7_small'}
    weight = Config.fromfile(CONFIGS / f'{names[exp]}_stage1_uda.py').model.class_weight
    weight = None if weight is None else torch.tensor(weight)
    constants = np.load(GOLDEN / 'constants.npz')
    if weight is not None:
        np.testing.assert_allclose(weight, constants[f'ce_weight_{len(weight)}'], rtol=1e-6)
        assert (1 / (len(weight) * weight)).sum() == pytest.approx(1, abs=1e-3)
    logits, label = losses[f'ce_exp{exp}_logits'].clone().requires_grad_(), losses[f'ce_exp{exp}_label'].long()
    loss = cross_entropy(logits, label, weight)
    loss.backward()
    close(loss, losses[f'ce_exp{exp}_loss'])
    close(logits.grad, losses[f'ce_exp{exp}_grad'])
    if weight is not None:
        close(loss, plain.weighted_cross_entropy(logits, label, weight))
    nothing = cross_entropy(logits, torch.full_like(label, 255), weight)
    (grad,) = torch.autograd.grad(nothing, logits)
    assert nothing == 0
    assert (grad == 0).all()


def test_self_training_cross_entropy_golden(losses: dict) -> None:
    logits = losses['ceself_mixed_logits'].clone().requires_grad_()
    loss = cross_entropy(logits, losses['ceself_mixed_label'].long())
    loss.backward()
    close(loss, losses['ceself_mixed_loss'])
    close(logits.grad, losses['ceself_mixed_grad'])


@pytest.mark.parametrize('label', [0, 1])
def test_bce_golden(losses: dict, label: int) -> None:
    x = losses['bce_x'].clone().requires_grad_()
    loss = binary_cross_entropy(x, label)
    loss.backward()
    close(loss, losses[f'bce_{label}_loss'])
    close(x.grad, losses[f'bce_{label}_grad'])


@pytest.mark.parametrize('form', [self_information, plain.self_information])
def test_adversarial_input_golden(losses: dict, form: Callable) -> None:
    logits, density = (losses[f'ent_{name}'].clone().requires_grad_() for name in ('logits', 'density'))
    information = form(logits)
    seen = information * density
    (seen * torch.linspace(-1, 1, seen.numel()).view_as(seen)).sum().backward()
    close(information, losses['ent_map'])
    close(seen, losses['ent_advinput'])
    close(logits.grad, losses['ent_grad_logits'], atol=1e-5)
    close(density.grad, losses['ent_grad_density'])


@pytest.mark.parametrize('case', ['iou', 'iou2'])
def test_scores_golden(losses: dict, case: str) -> None:
    matrix = confusion_matrix(losses[f'{case}_pred'], losses[f'{case}_gt'], 7)
    assert torch.equal(matrix, losses[f'{case}_hist'])
    found = scores(matrix)
    np.testing.assert_allclose(found['IoU'], losses[f'{case}_per_class'].numpy(), rtol=1e-9)
    assert found['mIoU'] == pytest.approx(losses[f'{case}_mean'].item(), rel=1e-9)


@pytest.mark.parametrize(
    ('name', 'wanted'), [('synthia2city_16', 'lr_disc_exp123'), ('synthia2mapillary_7', 'lr_disc_exp45')]
)
def test_learning_rates_golden(name: str, wanted: str) -> None:
    golden = np.load(GOLDEN / 'lr_schedule.npz')
    uda, last = (Config.fromfile(CONFIGS / f'{name}{end}.py') for end in ('_stage1_uda', ''))
    rates = [uda.optim_wrapper[network].optimizer.lr for network in ('student', 'discriminator')]
    optimizer = torch.optim.SGD([dict(params=[nn.Parameter(torch.ones(1))], lr=lr) for lr in rates], lr=1)
    (settings,) = copy.deepcopy(uda.param_scheduler)
    assert settings.pop('type') == 'PolyLR'
    schedule = PolyLR(optimizer, **settings)
    optimizer.step()
    expected = dict(zip(golden['iters'].tolist(), zip(golden['lr_seg'], golden[wanted], strict=True), strict=True))
    for iteration in range(max(expected) + 1):
        if iteration in expected:
            found = [group['lr'] for group in optimizer.param_groups]
            np.testing.assert_allclose(found, expected[iteration], rtol=1e-11, atol=1e-18)
        schedule.step()
    assert last.param_scheduler == uda.param_scheduler  # the horizon stays
    assert last.optim_wrapper.optimizer == uda.optim_wrapper.student.optimizer


# ------------------------------------------------------------------------------------------------- training steps


@MODELS.register_module()
class RawBackbone(nn.Module):
    """The goldens' heads see the image itself."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x]


@MODELS.register_module()
class PatchHead(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, num_classes, 8, stride=8, padding=4)
        self.align_corners, self.num_classes, self.out_channels = True, num_classes, num_classes

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.conv(features[-1])


def toy(kind: type, golden: dict[str, Tensor], **settings: object) -> DepthDistribution | SelfTraining:
    """The goldens' network and discriminator; two tensors that no pass uses stand for the unused and frozen ones."""
    student = toy_networks.student((3, 8), num_classes=7, kernel=1)
    student.update(
        type='mmuda.DensityDepthSegmentor',
        backbone=dict(type='mmuda.RawBackbone'),
        decode_head=dict(type='mmuda.PatchHead', num_classes=7),
        density_head=dict(in_channels=1, mid_channels=1, out_channels=1),
        depth_head=dict(in_channels=1, mid_channels=1, out_channels=1),
    )
    model = kind(student=student, data_preprocessor=dict(type='mmuda.DomainDataPreprocessor'), **settings)
    model.student.density_head, model.student.depth_head = PatchHead(1), PatchHead(1)
    model.student.unused = nn.Parameter(golden['init_model__unused'].clone())
    model.student.frozen = nn.Parameter(golden['init_model__frozen'].clone(), requires_grad=False)
    model.load_state_dict(by_our_names(golden, 'init_'))
    return model.train()


NAMES = {'model__seg': 'decode_head.conv', 'model__density': 'density_head.conv', 'model__depth': 'depth_head.conv'}


def by_our_names(golden: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors of one moment of the golden run."""
    found = {'_extra_state': torch.zeros(2)} if prefix == 'init_' else {}
    for key, value in golden.items():
        if key.startswith(f'{prefix}D__'):
            found[f'discriminator.{key.removeprefix(f"{prefix}D__")}'] = value
        elif key.startswith(f'{prefix}model__'):
            name = key.removeprefix(prefix)
            for theirs, ours in NAMES.items():
                name = name.replace(theirs, ours)
            found[f'student.{name.removeprefix("model__")}'] = value
    return found


def optimizers(model: DepthDistribution, lr: float) -> tuple[OptimWrapperDict, list[PolyLR]]:
    settings = copy.deepcopy(Config.fromfile(CONFIGS / 'synthia2city_7_small_stage1_uda.py').optim_wrapper)
    del settings['constructor']
    assert settings.discriminator.optimizer.lr == lr
    wrappers = NetworkOptimConstructor(settings)(model)
    poly = dict(power=0.9, eta_min=0.0, begin=0, end=90001, by_epoch=False)
    return wrappers, [PolyLR(wrapper.optimizer, **poly) for wrapper in wrappers.values()]


def large(maps: Tensor) -> Tensor:
    return maps.repeat_interleave(8, -2).repeat_interleave(8, -1)


def batch(golden: dict[str, Tensor], number: int) -> dict[str, dict[str, Tensor]]:
    mean = torch.tensor([104.00698793, 116.66876762, 122.67891434])[:, None, None]
    images = {
        domain: large(golden[f'{name}_img'][number]).float() - mean
        for domain, name in (('source', 'src'), ('target', 'trg'))
    }
    source = {
        'label': large(golden['src_label'][number])[None].long(),
        'depth': large(golden['src_depth'][number])[None, None],
    }
    source |= {'grid_label': torch.zeros(1, 41, 81, dtype=torch.long), 'grid_depth': torch.ones(1, 1, 41, 81)}
    return {'source': {'image': images['source'][None], **source}, 'target': {'image': images['target'][None]}}


@pytest.mark.parametrize('form', ['fast', 'plain'])
def test_three_iterations_golden(form: str) -> None:
    golden = load('train_trace_exp3')
    cfg = Config.fromfile(CONFIGS / 'synthia2city_7_small_stage1_uda.py').model
    weights = {key: cfg[key] for key in cfg if key.endswith('weight') and key != 'gan_loss'}
    names = ('source_balance_weight', 'depth_weight', 'adv_weight', 'target_balance_weight')
    assert [cfg[name] for name in names] == pytest.approx(golden['lambdas_seg_balS_depS_advT_balT'][1:].tolist())
    discriminator = dict(type='mmuda.FCDiscriminator', base_channels=4)
    settings = dict(mixtures=cfg.mixtures, density_scale=cfg.density_scale, adv_input=cfg.adv_input)
    model = toy(DepthDistribution, golden, discriminator=discriminator, **settings, **weights)
    if form == 'plain':
        model.disc_input = plain.self_information
        model.gan_loss = lambda seen, label: F.binary_cross_entropy_with_logits(seen, torch.full_like(seen, label))
    wrappers, schedules = optimizers(model, golden['lr_D'].item())
    implied, plain_target = [], model.target_density
    model.target_density = lambda *args: implied.append(plain_target(*args)) or implied[-1]
    for number in range(3):
        maps = golden['src_density'][number].float()  # the toy source's density is given, class by class
        model.source_density = lambda classes, _, maps=maps: maps.gather(0, classes)[:, None]
        log = model.train_step(batch(golden, number), wrappers)
        unweighted = {
            'src.loss_seg': 1.0,
            'src.loss_balance': cfg.source_balance_weight,
            'src.loss_depth': cfg.depth_weight,
            'tgt.loss_balance': cfg.target_balance_weight,
            'tgt.loss_adv': cfg.adv_weight,
        }
        for (name, weight), wanted in zip(unweighted.items(), golden['losses'][number].tolist(), strict=True):
            assert log[name].item() == pytest.approx(weight * wanted, rel=1e-5), name
        for name, wanted in zip(
            ('disc.loss_src', 'disc.loss_tgt'), golden['bce_adv_dsrc_dtrg'][number, 1:], strict=True
        ):
            assert log[name].item() == pytest.approx(wanted.item(), rel=1e-5), name
        close(implied[-1][0, 0], golden['target_density_pseudo'][number], rtol=0, atol=1e-3)
        for schedule in schedules:
            schedule.step()
        if number in (0, 2):
            for name, wanted in by_our_names(golden, f'iter{number}_').items():
                close(model.state_dict()[name], wanted, rtol=0)
    for name, wanted in by_our_names(golden, 'final_').items():
        # Adam divides by gradients near 0: there, formulas that differ in the last bits step apart, by 4e-6 here. The
        # reference itself is 2e-5 away from what either formula gives in float64.
        close(model.state_dict()[name], wanted, rtol=0, atol=1e-6 if form == 'plain' else 1e-5)


def test_which_part_reaches_which_network() -> None:
    """Target terms leave the depth head alone, the student's the discriminator, and the discriminator's the student."""
    golden = load('train_trace_exp3')
    weights = dict(depth_weight=1.0, source_balance_weight=1.0, target_balance_weight=1.0)
    discriminator = dict(type='mmuda.FCDiscriminator', base_channels=4)
    model = toy(DepthDistribution, golden, discriminator=discriminator, mixtures='7_small', **weights)
    touched = {}
    for number, (part, terms) in enumerate(model.parts(batch(golden, 0))):
        model.zero_grad()
        model.parse_losses(terms)[0].backward()
        touched[part, number] = {
            name.split('.conv')[0].split('.')[1 if name[0] == 's' else 0]
            for name, p in model.named_parameters()
            if p.grad is not None
        }
    heads = {'decode_head', 'density_head', 'depth_head'}
    disc = {'discriminator'}
    assert list(touched.values()) == [heads, heads - {'depth_head'}, disc, disc]


@pytest.mark.parametrize(('adv_input', 'channels'), [('seg', 7), ('density', 1), ('seg_depth', 7), ('seg_density', 7)])
def test_what_the_discriminator_sees(adv_input: str, channels: int) -> None:
    golden = load('train_trace_exp3')
    weights = dict(depth_weight=1.0, source_balance_weight=1.0, target_balance_weight=1.0)
    model = toy_with(golden, adv_input, weights)
    assert model.discriminator[0].in_channels == channels
    data = batch(golden, 0)
    logits, density, depth = model.three_heads(data['target']['image'])
    up = [F.interpolate(x, size=(320, 640), mode='bilinear', align_corners=True) for x in (logits, density, depth)]
    information = plain.self_information(up[0])
    wanted = {
        'seg': information,
        'density': up[1],
        'seg_depth': information * up[2],
        'seg_density': information * up[1],
    }
    _, seen = model.target_pass(data['target'])
    close(seen, wanted[adv_input], rtol=1e-4, atol=1e-4)


def toy_with(golden: dict, adv_input: str, weights: dict) -> DepthDistribution:
    state = {key: value for key, value in golden.items() if not key.startswith('init_D')}
    discriminator = dict(type='mmuda.FCDiscriminator', base_channels=4)
    plain_load = DepthDistribution.load_state_dict
    DepthDistribution.load_state_dict = lambda self, given: plain_load(self, given, strict=False)
    try:
        return toy(
            DepthDistribution, state, discriminator=discriminator, mixtures='7_small', adv_input=adv_input, **weights
        )
    finally:
        DepthDistribution.load_state_dict = plain_load


def test_self_training_leaves_the_other_heads_alone() -> None:
    golden = load('train_trace_exp3')
    state = {key: value for key, value in golden.items() if not key.startswith('init_D')}
    model = toy(SelfTraining, state)
    before = copy.deepcopy(model.state_dict())
    wrapper = NetworkOptimConstructor(dict(optimizer=dict(type='SGD', lr=2.5e-4, momentum=0.9, weight_decay=5e-4)))(
        model
    )
    target = batch(golden, 0)['target']
    for label in (large(golden['src_label'][0])[None].long(), torch.full((1, 320, 640), 255)):
        log = model.train_step({'target': target | {'label': label}}, wrapper)
        moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert moved == {'student.decode_head.conv.weight', 'student.decode_head.conv.bias'}
    assert log['tgt.loss_seg'] == 0  # nothing labelled: momentum and weight decay go on


# -------------------------------------------------------------------------------------------------------- density


@pytest.fixture
def model(load: Callable[..., Config]) -> Callable[..., DepthDistribution]:
    def make(**settings: object) -> DepthDistribution:
        cfg = load('depth_distribution/minicity_stage1_uda.py')
        cfg.model.student.decode_head.num_classes = 7
        return MODELS.build(dict(cfg.model, mixtures='7_small', **settings))

    return make


def source_batch() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {'grid_label': torch.randint(0, 7, (2, 9, 17)), 'grid_depth': 100 * torch.rand(2, 1, 9, 17)}


@pytest.mark.parametrize('off_class', [True, False])
def test_source_density_of_a_wrong_class(model: Callable, off_class: bool) -> None:
    method, source = model(off_class_density=off_class), source_batch()
    classes = torch.randint(0, 7, (2, 9, 17))
    found = method.source_density(classes, source)
    inside = (classes == source['grid_label'])[:, None]
    assert torch.equal(found[inside], method.density(classes, source['grid_depth'])[inside])
    nothing = method.density(classes, torch.zeros(2, 1, 9, 17)) if off_class else torch.zeros(2, 1, 9, 17)
    assert torch.equal(found[~inside], nothing[~inside])
    ignored = method.source_density(classes, source | {'grid_label': torch.full((2, 9, 17), 255)})
    assert torch.equal(ignored, nothing)


def test_no_density_behind_depth_zero(model: Callable) -> None:
    depth = torch.tensor([-5.0, 0.0, 1e-6, 80.0]).expand(1, 1, 9, 4)
    found = model().target_density(torch.zeros(1, 9, 4, dtype=torch.long), depth)
    assert (found[..., :2] == 0).all()
    assert found[..., 3].max() > 0


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(adv_input='both'), "adv_input='both': choose one of"),
        (dict(class_weight=[1.0] * 5), 'class_weight has 5 numbers, the network 7 classes'),
    ],
)
def test_wrong_settings(model: Callable, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**settings)


def test_mixtures_of_other_classes(load: Callable[..., Config]) -> None:
    cfg = load('depth_distribution/minicity_stage1_uda.py', **{'model.mixtures': '16'})
    with pytest.raises(ValueError, match=r"model\.mixtures='16' are of 16 classes, the network has 19"):
        MODELS.build(cfg.model)


def test_what_is_missing_is_named(model: Callable, load: Callable[..., Config]) -> None:
    method, classes = model(), torch.zeros(2, 9, 17, dtype=torch.long)
    with pytest.raises(ValueError, match=r'add mmuda\.LoadLabels, mmuda\.LoadDepth and mmuda\.GridSample'):
        method.source_density(classes, {'grid_label': classes})
    other = {'grid_label': classes[:, :, :16], 'grid_depth': torch.ones(2, 1, 9, 16)}
    with pytest.raises(ValueError, match=r'samples 16x9 cells, but .* have 17x9: give it size=\(17, 9\)'):
        method.source_density(classes, other)
    bare = MODELS.build(load('depth_distribution/minicity_stage1_uda.py').model)
    with pytest.raises(ValueError, match=r'run the recipe of its config, which fits them, or set model\.mixtures'):
        bare.target_density(classes, torch.ones(2, 1, 9, 17))


def test_constant_depth_and_no_density_are_defined(model: Callable) -> None:
    """Both sides equal, or a density of 0 everywhere: losses of 0 or more, and finite gradients."""
    density = torch.zeros(1, 1, 9, 17, requires_grad=True)
    wanted = model().target_density(torch.zeros(1, 9, 17, dtype=torch.long), torch.full((1, 1, 9, 17), -1.0))
    assert (wanted == 0).all()
    loss = berhu(density, wanted)
    loss.backward()
    assert loss == 0
    assert (density.grad == 0).all()
    depth = torch.full((1, 1, 9, 17), 3.0, requires_grad=True)
    loss = berhu(depth, torch.full_like(depth, 5.0))
    loss.backward()
    assert depth.grad.isfinite().all()


def test_the_segmentor_predicts_without_its_other_heads(load: Callable[..., Config]) -> None:
    student = MODELS.build(load('depth_distribution/minicity.py').model).student
    assert isinstance(student, DensityDepthSegmentor)
    for head in (student.density_head, student.depth_head):
        head.register_forward_hook(lambda *_: pytest.fail('not needed'))
    student.eval()(torch.rand(1, 3, 64, 128), mode='tensor')
