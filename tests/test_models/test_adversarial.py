"""The discriminator and the adversarial training step (DAF+IDA spec 3.4, 5 and 10; HIAST spec 5.4)."""

from pathlib import Path

import numpy as np
import pytest
import torch
import toy_networks
from helpers import fresh_model, fresh_optimizer
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.runner import Runner
from torch import Tensor

from mmuda.engine.optimizers import NetworkOptimConstructor
from mmuda.models.discriminators import FCDiscriminator
from mmuda.models.uda import Adversarial
from mmuda.registry import DATASETS, MODELS

GOLDEN = Path(__file__).parents[1] / 'golden'
WARM_UP = GOLDEN / 'hiast/adversarial_warmup.npz'
DISCRIMINATOR = {'conv1': '0', 'conv2': '2', 'conv3': '4', 'conv4': '6', 'classifier': '8'}


def close(actual: Tensor, expected: Tensor, rtol: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=rtol * float(expected.abs().max()))


# ----------------------------------------------------------------------------------------------- the discriminator


def test_discriminator_golden() -> None:
    golden = np.load(GOLDEN / 'daf_ida/discriminator.npz')
    ours = FCDiscriminator(5, base_channels=8)
    ours.load_state_dict({k[3:]: torch.from_numpy(v) for k, v in golden.items() if k.startswith('sd.')})
    maps = torch.from_numpy(golden['input']).requires_grad_()
    scores = ours(maps)
    scores.backward(torch.from_numpy(golden['cotangent']))
    close(scores, torch.from_numpy(golden['output']))
    close(maps.grad, torch.from_numpy(golden['grad_input']))
    real = FCDiscriminator(16)
    shapes = dict(zip(golden['ndf64_names'].tolist(), golden['ndf64_shapes'].tolist(), strict=True))
    assert {k: ','.join(map(str, v.shape)) for k, v in real.state_dict().items()} == shapes


# --------------------------------------------------------------------------------------------------- training steps

SETTINGS = {
    'step_iast': dict(disc_input='softmax', gan_loss='least_squares'),
    'step_advent_minent': dict(disc_input='self_information', gan_loss='bce', entropy_weight=3.0),
}


def ours(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """A state of HIAST's golden by our names."""
    found = {}
    for key, value in state.items():
        network, _, name = key.removeprefix(prefix).partition('.')
        if not key.startswith(prefix) or name.startswith('representation'):  # a branch whose output nobody uses
            continue
        if network == 'D':
            layer, _, kind = name.partition('.')
            found[f'discriminator.{DISCRIMINATOR[layer]}.{kind}'] = value
        else:
            found[f'student.{name.replace("aspp.", "decode_head.conv.")}'] = value
    return found


@pytest.mark.parametrize('case', SETTINGS)
def test_three_warm_up_iterations_golden(case: str) -> None:
    golden = {
        k: torch.from_numpy(v) for k, v in np.load(GOLDEN / 'hiast/adversarial_warmup.npz').items() if 'step' in k
    }
    model = Adversarial(
        student=toy_networks.student((3, 6, 6), num_classes=5, kernel=3),
        data_preprocessor=dict(type='mmuda.DomainDataPreprocessor'),
        discriminator=dict(type='mmuda.FCDiscriminator', base_channels=4),
        adv_weight=0.05,
        disc_weight=0.5,
        **SETTINGS[case],
    ).train()
    missing = model.load_state_dict(ours(golden, f'{case}/init/'), strict=False)
    assert missing == ([], [])
    head = dict(rules=[dict(match='decode_head', lr_mult=10)])
    settings = dict(
        student=dict(optimizer=dict(type='Adam', lr=2e-3, weight_decay=5e-4), paramwise_cfg=head),
        discriminator=dict(optimizer=dict(type='Adam', lr=1e-3)),
    )
    optimizers = NetworkOptimConstructor(settings)(model)
    for number in range(3):
        backbone_lr, head_lr, _, disc_lr = golden[f'{case}/{number}/lr'].tolist()
        for group, lr in zip(optimizers['student'].optimizer.param_groups, (backbone_lr, head_lr), strict=True):
            group['lr'] = lr
        optimizers['discriminator'].param_groups[0]['lr'] = disc_lr
        given = {name: golden[f'step_in/{number}/{name}'] for name in ('source_img', 'target_img', 'source_lbl')}
        batch = {
            'source': {'image': given['source_img'].float(), 'label': given['source_lbl']},
            'target': {'image': given['target_img'].float()},
        }
        log = model.train_step(batch, optimizers)
        log['disc.loss'] = log['disc.loss_src'] + log['disc.loss_tgt']
        terms = {'source_seg_loss': 'src.loss_seg', 'adv_loss': 'tgt.loss_adv', 'D_loss': 'disc.loss'}
        if f'{case}/{number}/target_ent_loss' in golden:
            terms['target_ent_loss'] = 'tgt.loss_ent'
        for theirs, name in terms.items():
            assert log[name].item() == pytest.approx(golden[f'{case}/{number}/{theirs}'].item(), rel=1e-5), name
    final = ours(golden, f'{case}/final/')
    assert final.keys() == model.state_dict().keys() - {'_extra_state'}
    for name, value in final.items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------------------------------------------ facts of a step


@pytest.fixture
def cfg(load) -> Config:
    return load('baselines/minicity_advent.py')


def batch(cfg: Config) -> dict:
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    return default_collate([dataset[0], dataset[1]])


def test_neither_network_gets_the_other_ones_gradient(cfg: Config) -> None:
    model = fresh_model(cfg)
    parts = model.parts(model.data_preprocessor(batch(cfg), training=True))
    judges, student = list(model.discriminator.parameters()), list(model.student.decode_head.parameters())
    for wanted in ('src', 'tgt'):
        name, terms = next(parts)
        assert name == wanted
        sum(terms.values()).backward()
        assert all(p.grad is None for p in judges)
        assert all(p.grad is not None for p in student if p.requires_grad)
    before = [p.grad.clone() for p in student]
    for term in ('loss_src', 'loss_tgt'):
        name, terms = next(parts)
        assert (name, list(terms)) == ('disc', [term])
        terms[term].backward()
        assert all(p.grad is not None and p.requires_grad for p in judges)
    assert next(parts, None) is None
    assert all(torch.equal(p.grad, grad) for p, grad in zip(student, before, strict=True))


def test_the_discriminator_trains_again_after_a_step_that_failed(cfg: Config) -> None:
    model = fresh_model(cfg)
    parts = model.parts(model.data_preprocessor(batch(cfg), training=True))
    next(parts)
    assert not any(p.requires_grad for p in model.discriminator.parameters())
    parts.close()
    assert all(p.requires_grad for p in model.discriminator.parameters())


def test_each_optimizer_has_its_own_learning_rate(cfg: Config, tmp_path: Path) -> None:
    cfg.work_dir, cfg.train_cfg.max_iters = str(tmp_path), 3
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = cfg.default_hooks.checkpoint.save_best = None
    runner = Runner.from_cfg(cfg)
    runner.train()
    wanted = {'student': 2e-3, 'discriminator': 1e-3}
    for name, wrapper in runner.optim_wrapper.items():
        (group,) = wrapper.optimizer.param_groups
        assert group['lr'] == pytest.approx(wanted[name] * (1 - 3 / 1200) ** 0.9)


def test_half_precision_stays_out_of_the_discriminator(cfg: Config) -> None:
    cfg.model.precision = 'bf16'
    model = fresh_model(cfg)
    seen = []
    model.discriminator.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0].dtype, output.dtype)))
    log = model.train_step(batch(cfg), fresh_optimizer(cfg, model))
    assert seen == [(torch.float32, torch.float32)] * 3
    assert all(torch.isfinite(value) for value in log.values())


def test_an_unknown_choice_is_named(cfg: Config) -> None:
    for name in ('disc_input', 'gan_loss'):
        with pytest.raises(ValueError, match=rf"model\.{name}='nonsense': choose one of"):
            MODELS.build(dict(cfg.model, **{name: 'nonsense'}))
