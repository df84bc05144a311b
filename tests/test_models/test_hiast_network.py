"""HIAST's network, optimiser and scores against the reference's numbers (HIAST spec 1, 3 and 5.2)."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import ROOT
from mmengine.config import Config
from mmengine.optim import CosineAnnealingLR, build_optim_wrapper
from torch import Tensor, nn

from mmuda.datasets.classes import CLASS_SETS, score_subsets
from mmuda.evaluation.iou import confusion_matrix, scores
from mmuda.models.discriminators import FCDiscriminator
from mmuda.registry import MODELS
from mmuda.utils.weights import network_state

GOLDEN = Path(__file__).parents[1] / 'golden/hiast'


@pytest.fixture
def paper() -> Config:
    return Config.fromfile(ROOT / 'configs/hiast/gta2city.py')


def shapes(golden: dict, depth: int) -> dict[str, tuple]:
    """The reference's names and shapes."""
    pairs = (line.split(':') for line in golden[f'state_keys_r{depth}'].tolist())
    return {name: tuple(map(int, filter(None, shape.split(',')))) for name, shape in pairs}


def drawn(golden: dict) -> dict[str, Tensor]:
    """The weights of the golden forward pass, by their rule."""
    rs, state = np.random.RandomState(1234), {}
    for name, shape in shapes(golden, 50).items():
        if 'num_batches' in name:
            continue
        if len(shape) == 4:
            value = rs.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        else:
            ranges = {'running_var': (0.5, 1.5), 'running_mean': (-0.1, 0.1), 'bn3.weight': (0.1, 0.3)}
            ranges |= {'weight': (0.8, 1.2), 'bias': (-0.1, 0.1)}
            value = rs.uniform(*next(bounds for end, bounds in ranges.items() if name.endswith(end)), shape)
        state[name] = torch.from_numpy(np.asarray(value, np.float32))
    return state


def test_forward_golden(paper: Config) -> None:
    golden = np.load(GOLDEN / 'deeplabv2_forward.npz')
    paper.model.student.backbone.depth = 50
    network = MODELS.build(paper.model.student).eval()
    weights = network_state({f'seg_model.{name}': value for name, value in drawn(golden).items()})
    assert weights.layout == 'HIAST'
    assert all(name.startswith('seg_model.representation') for name in weights.dropped)
    missing = network.load_state_dict(weights.state, strict=False)
    assert not missing.unexpected_keys
    assert all('num_batches_tracked' in name for name in missing.missing_keys)
    for case in ('even', 'odd'):
        image = torch.from_numpy(golden[f'{case}/img'])
        with torch.no_grad():
            features = network.extract_feat(image)
            logits = network.decode_head(features)
            large = F.interpolate(logits, size=image.shape[-2:], mode='bilinear', align_corners=True)
        for number, feature in enumerate(features, 1):
            wanted = torch.from_numpy(golden[f'{case}/layer{number}_every64th'])
            torch.testing.assert_close(feature[:, ::64], wanted, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(logits, torch.from_numpy(golden[f'{case}/logits']), rtol=1e-4, atol=1e-4)
        wanted = torch.from_numpy(golden[f'{case}/logits_up_every4th'])
        torch.testing.assert_close(large[..., ::4, ::4], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_keys_and_parameter_groups_golden(paper: Config) -> None:
    golden = np.load(GOLDEN / 'deeplabv2_forward.npz')
    student = Config.fromfile(ROOT / 'configs/hiast/gta2city_stage0_source.py').model.student
    network = MODELS.build(student)
    theirs = {name: torch.empty(shape, device='meta') for name, shape in shapes(golden, 101).items()}
    for prefix in ('seg_model.', 'module.seg_model.'):
        found = network_state({prefix + name: value for name, value in theirs.items()}).state
        assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in network.state_dict().items()}
    wrapper = build_optim_wrapper(network, paper.optim_wrapper)
    groups = [[group['lr'] / 3e-6, len(group['params'])] for group in wrapper.optimizer.param_groups]
    wanted = golden['param_group_lr_mult_and_count'][:2].tolist()  # the third is an unused branch's
    np.testing.assert_allclose(sorted(groups), wanted)


def test_names_of_the_predecessor() -> None:
    names = {'module.backbone.conv1.weight': 'backbone.conv1.weight'}
    names |= {f'module.decoder.aspp.conv2d_list.{i}.bias': f'decode_head.convs.{i}.bias' for i in range(4)}
    found = network_state({name: torch.zeros(3) for name in names} | {'module.backbone.fc.weight': torch.zeros(2)})
    assert found.state.keys() == set(names.values())
    assert found.dropped == ['backbone.fc.weight']


def test_first_kernel_of_the_predecessors_discriminator() -> None:
    disc = FCDiscriminator(5, base_channels=4, first_kernel=3)
    assert [layer.kernel_size for layer in disc if isinstance(layer, nn.Conv2d)] == [(3, 3)] + [(4, 4)] * 4
    assert disc(torch.zeros(1, 5, 64, 96)).shape == (1, 1, 2, 3)
    golden = dict(np.load(GOLDEN / 'adversarial_warmup.npz').items())
    own = FCDiscriminator(5, base_channels=4)
    layers = {'conv1': 0, 'conv2': 2, 'conv3': 4, 'conv4': 6, 'classifier': 8}
    own.load_state_dict(
        {
            f'{layers[key.split("/")[-1].split(".")[-2]]}.{key.rpartition(".")[2]}': torch.from_numpy(value)
            for key, value in golden.items()
            if key.startswith('disc/state/')
        }
    )
    for case in ('a', 'b'):
        wanted = torch.from_numpy(golden[f'disc/{case}/out_softmax_input'])
        torch.testing.assert_close(own(torch.from_numpy(golden[f'disc/{case}/prob'])), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ('case', 'rates', 'horizon', 'floor'),
    [
        ('hiast_round1_cosine', (3e-6, 3e-5), 8000, 3e-9),
        ('hiast_round2_cosine', (2e-6, 2e-5), 8000, 2e-9),
        ('hiast_round3_cosine', (1e-6, 1e-5), 8000, 1e-9),
        ('warmup_cosine_with_disc', (2e-6, 2e-5, 2e-5), 1000, 2e-9),
        ('iast_2_of_3_epochs', (3e-6, 3e-5), 30, 3e-8),
    ],
)
def test_learning_rates_golden(case: str, rates: tuple, horizon: int, floor: float) -> None:
    golden = np.load(GOLDEN / 'lr_schedules.npz')
    wanted = golden[f'{case}/lr']
    iterations = golden[f'{case}/iter'] if f'{case}/iter' in golden else np.arange(len(wanted))
    groups = [dict(params=[nn.Parameter(torch.ones(1))], lr=lr) for lr in rates]
    optimizer = torch.optim.Adam(groups)
    schedule = CosineAnnealingLR(optimizer, T_max=horizon, eta_min=floor, by_epoch=False)
    optimizer.step()
    found = []
    for _ in range(iterations[-1] + 1):
        found.append([group['lr'] for group in optimizer.param_groups])
        schedule.step()
    np.testing.assert_allclose(np.array(found)[iterations], wanted, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize('case', ['k19', 'k9', 'k19_absent_in_gt', 'k19_absent_everywhere'])
def test_scores_golden(case: str) -> None:
    """The reference counts a class that is nowhere as 0; here it is left out of the means."""
    arrays = np.load(GOLDEN / 'metrics.npz').items()
    golden = {key.removeprefix(f'{case}/'): value for key, value in arrays if key.startswith(f'{case}/')}
    classes = len(golden['iou'])
    pred, label = torch.from_numpy(golden['pred']), torch.from_numpy(golden['gt'])
    matrix = confusion_matrix(pred, label, classes)
    found = scores(matrix)
    np.testing.assert_allclose(np.diag(matrix), golden['intersection'])
    np.testing.assert_allclose(np.nan_to_num(found['IoU']), golden['iou'], atol=1e-6)
    means = {'mIoU': golden['miou']} | {f'mIoU{n}': golden[f'exact_miou{n}'] for n in (16, 13) if classes == 19}
    subsets = score_subsets(CLASS_SETS[classes].names)
    assert subsets.keys() == means.keys()
    for name, wanted in means.items():
        ious = np.nan_to_num(found['IoU'][subsets[name]])
        assert ious.mean() == pytest.approx(float(wanted), abs=1e-6)
        if not np.isnan(found['IoU'][subsets[name]]).any():
            assert scores(matrix, subsets[name])['mIoU'] == pytest.approx(float(wanted), abs=1e-6)


def test_normalisation_golden(paper: Config) -> None:
    golden = np.load(GOLDEN / 'augmentations.npz')
    prepare = MODELS.build(paper.model.data_preprocessor)
    image = torch.from_numpy(np.ascontiguousarray(golden['normalize/in'][..., ::-1])).permute(2, 0, 1)[None]  # BGR
    found = prepare({'target': {'image': image}}, training=True)['target']['image'][0]
    torch.testing.assert_close(found, torch.from_numpy(golden['normalize/out']), rtol=0, atol=1e-6)
