"""EHTDI against the reference's own numbers (tests/golden/ehtdi), and the choices of its class mix."""

import copy

import numpy as np
import pytest
import torch
from ehtdi_golden import GOLDEN, REFERENCE, Recorded, keys_for, network, note_cross_entropies, ours
from mmengine.optim import OptimWrapper
from plain_ehtdi import draw_and_paste, follow
from torch import nn

import mmuda.models.uda.ehtdi as ehtdi
from mmuda.engine.optimizers import RepeatedSGD
from mmuda.models import DomainDataPreprocessor  # noqa: F401  (registers)
from mmuda.models.uda import EHTDI
from mmuda.models.uda.mixing import present_classes
from mmuda.models.uda.teacher import MeanTeacher


class RecordedEHTDI(Recorded, EHTDI):
    """EHTDI whose network passes are the golden's tensors."""


@pytest.mark.parametrize('case', ['mainA', 'mainC'])
def test_one_iteration_equals_the_reference(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = np.load(GOLDEN / f'iter_{case}.npz')
    entropies = note_cross_entropies(monkeypatch)
    model = RecordedEHTDI.from_golden(golden)
    model.back_propagate(golden)
    for name, key in (('aug', 'x_aug'), ('w', 'x_w'), ('st', 'x_st')):
        assert torch.equal(model.seen[name], torch.from_numpy(golden[f'mixed/{key}']))
    (src_label, _, y_mixed, all_heads, y_back), values = zip(*entropies, strict=True)
    assert torch.equal(src_label, ours(golden['src_label']))
    assert torch.equal(y_mixed, ours(golden['mixed/y_aug_1']))
    assert torch.equal(all_heads, ours(golden['label_2_w']))
    assert torch.equal(y_back, ours(golden['mixed/s_t_y'])[:1])
    in_their_order = torch.stack([values[i] for i in (0, 1, 4, 2, 3)]).detach()  # back before the two of mixed
    np.testing.assert_allclose(in_their_order, golden['ce_values_in_call_order'], rtol=1e-5)


def test_three_training_steps_equal_the_reference() -> None:
    golden = np.load(GOLDEN / 'mini_train_main.npz')
    cfg = np.load(GOLDEN / 'iter_mainA.npz')['cfg']
    model = EHTDI(
        student=network(),
        aux_weight=cfg[0],
        target_weight=cfg[1],
        mix_weight=cfg[2],
        contrast_weight=cfg[3],
        confidence=cfg[4],
        teacher=dict(momentum=0.1, copy_buffers_every=3),
        evaluate='teacher',
        data_preprocessor=dict(type='mmuda.DomainDataPreprocessor'),
        **REFERENCE,
    )
    model.student.load_state_dict(renamed(golden, 'init/'))
    model.teacher.copy_from(model.student)
    student = model.student
    groups = [
        dict(params=student.backbone.parameters(), repeat=3),
        dict(params=[*student.decode_head.parameters(), *student.auxiliary_head.parameters()], lr=2e-2),
    ]
    optimizer = RepeatedSGD(groups, lr=2e-3, momentum=0.9, weight_decay=5e-4)
    wrapper = OptimWrapper(optimizer)
    model.train()
    for i in range(3):
        for group, factor in zip(optimizer.param_groups, (1, 10), strict=True):
            group['lr'] = float(golden['lr'][i]) * factor
        label = golden[f'src_label{i}']
        image, target = (torch.from_numpy(golden[f'{key}{i}']).float() for key in ('src', 'tgt'))
        draws = golden['multinomial_draws_in_order'][2 * i : 2 * i + 2]
        weak, target_weak = image[..., :16, :24], target[..., :16, :24]
        batch = dict(
            source=dict(
                image=image,
                label=ours(label),
                weak=weak,
                strong=0.9 * weak + 3,
                weak_label=ours(label[:, :16, :24]),
                keys=keys_for(label[:, :16, :24], draws, 9),
            ),
            target=dict(
                image=target,
                weak=target_weak,
                strong=0.9 * target_weak + 3,
                rows=torch.arange(16).expand(2, -1),
                cols=torch.arange(24).expand(2, -1),
            ),
        )
        log = model.train_step(batch, wrapper)
        totals = [
            sum(float(v) for k, v in log.items() if k.startswith(part) and 'loss' in k) for part in ('src.', 'tgt.')
        ]
        np.testing.assert_allclose(totals, golden['backward_values'][i], rtol=1e-4)
        assert_state(student.state_dict(), renamed(golden, f'after{i}/'))
    assert_state(model.teacher.model.state_dict(), renamed(golden, 'shadow_end_of_epoch/'))
    momentum = renamed(golden, 'momentum/')
    for name, parameter in student.named_parameters():
        np.testing.assert_allclose(optimizer.state[parameter]['momentum_buffer'], momentum[name], atol=1e-4)


def renamed(golden: np.lib.npyio.NpzFile, prefix: str) -> dict[str, torch.Tensor]:
    """The golden's tensors under our names."""
    heads = {'conv': 'backbone.conv', 'bn': 'backbone.bn', 'main': 'decode_head.conv', 'aux': 'auxiliary_head.conv'}
    state = {}
    for key in golden.files:
        if key.startswith(prefix):
            module, _, rest = key.removeprefix(prefix).partition('.')
            state[f'{heads[module]}.{rest}'] = torch.from_numpy(golden[key])
    return state


def assert_state(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key].numpy(), value.numpy(), atol=1e-4, rtol=1e-4, err_msg=key)


def test_teacher_follows_as_the_reference() -> None:
    golden = np.load(GOLDEN / 'ema.npz')

    def state(kind: str, step: int) -> dict[str, torch.Tensor]:
        keys = [key for key in golden.files if key.startswith(f'{kind}/')]
        return {key.removeprefix(f'{kind}/'): torch.from_numpy(np.asarray(golden[key][step])) for key in keys}

    student = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    student.load_state_dict(state('model', 0))
    teacher = MeanTeacher(
        student,
        momentum=1 - float(golden['decay'][0] if golden['decay'].ndim else golden['decay']),
        copy_buffers_every=4,
    )
    plain = copy.deepcopy(student)
    for step in range(7):
        if step:
            student.load_state_dict(state('model', step))
            teacher.update(student)
            follow(plain, student, teacher.momentum)
        for key, value in state('shadow', step).items():
            np.testing.assert_allclose(teacher.model.state_dict()[key], value, atol=1e-6, err_msg=f'{key} {step}')
            if key in dict(student.named_parameters()):
                np.testing.assert_allclose(plain.state_dict()[key], value, atol=1e-6, err_msg=f'plain {key} {step}')


def test_teacher_counter_survives_a_checkpoint() -> None:
    student = nn.BatchNorm1d(2)
    teacher = MeanTeacher(student, copy_buffers_every=2)
    teacher.update(student)
    again = MeanTeacher(student, copy_buffers_every=2)
    again.load_state_dict(teacher.state_dict())
    student.running_mean.fill_(3.0)
    again.update(student)  # the second step: buffers are copied
    assert again.model.running_mean.tolist() == [3.0, 3.0]


@pytest.mark.parametrize('case', ['mainA', 'mainC'])
def test_plain_class_mix_equals_the_reference(case: str) -> None:
    golden = np.load(GOLDEN / f'iter_{case}.npz')
    labels, draws = golden['in/src_label_crop'], golden['multinomial_draws']
    for sample, label in enumerate(labels):
        mask, _, pasted = draw_and_paste(torch.from_numpy(label).long(), draws[sample].tolist())
        np.testing.assert_array_equal(mask, golden['mask_source'][sample])
        np.testing.assert_array_equal(pasted[mask], golden['label_source'][sample][mask])


def test_fast_class_mix_equals_the_plain_one() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    pasted_ignore = 0
    for _ in range(300):
        ids = rng.choice(np.arange(-1, 19), rng.integers(1, 9), replace=False)
        label = rng.choice(ids, (1, 6, 7))
        mask, chosen, _ = draw_and_paste(torch.from_numpy(label[0]), None)
        keys = torch.ones(1, 20, dtype=torch.float64)
        keys[0, np.array(chosen, int) + 1] = 0
        found = ehtdi.draw_pasted(ours(label), keys, 4, 'below_pool')
        np.testing.assert_array_equal(found[0], mask)
        pasted_ignore += -1 in chosen
    assert pasted_ignore  # the reference's rarest case was among them


@pytest.mark.parametrize(
    ('ids', 'pool', 'below'),
    [
        ([255, 0, 2, 5, 7, 8], {5, 7, 8}, {2, 5, 7}),
        ([5, 7, 8], {5, 7, 8}, {5, 7, 8}),  # the index wraps around to the pool
        ([7], {7}, {7}),
        ([255, 6], {6}, {255}),  # the ignore label itself is drawn
        ([0, 3], set(), set()),
        ([255], set(), set()),
    ],
)
def test_pasting_pool(ids: list[int], pool: set[int], below: set[int]) -> None:
    present = present_classes(torch.tensor(ids).reshape(1, 1, -1), 19)
    for rule, wanted in (('pool', pool), ('below_pool', below)):
        found = ehtdi.pasting_pool(present, 4, rule)[0].nonzero()[:, 0] - 1
        assert {255 if i < 0 else int(i) for i in found} == wanted


def test_sound_choice_uses_every_sample() -> None:
    assert EHTDI.__init__.__kwdefaults__['back_samples'] == 'all'
    assert EHTDI.__init__.__kwdefaults__['proto_samples'] == 'all'
    assert EHTDI.__init__.__kwdefaults__['paste_rule'] == 'pool'


def test_unknown_choice_names_the_setting() -> None:
    with pytest.raises(ValueError, match=r'model\.paste_rule'):
        EHTDI(student=network(), paste_rule='pol')
