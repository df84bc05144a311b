"""EHTDI's edge variant against the reference's own numbers (tests/golden/ehtdi), and its gates."""

import numpy as np
import plain_ehtdi
import pytest
import torch
from ehtdi_golden import GOLDEN, Recorded, crops, network, note_cross_entropies, ours

from mmuda.models.uda import EHTDI, EHTDIEdge
from mmuda.models.uda.base import UDASegmentor
from mmuda.models.uda.ehtdi import Areas, border


class RecordedEHTDIEdge(Recorded, EHTDIEdge):
    """The edge variant whose network passes are the golden's tensors."""


# ----------------------------------------------------------------------------------------------------------- border

MASKS = ('random', 'rect_topleft', 'rect_bottomright', 'single_pixel', 'full', 'empty', 'checker', 'hole')


@pytest.mark.parametrize('case', MASKS)
def test_border_equals_the_reference(case: str) -> None:
    golden = np.load(GOLDEN / 'border.npz')
    found = border(torch.from_numpy(golden[f'{case}/mask']).bool()[None])
    np.testing.assert_array_equal(found[0], golden[f'{case}/border'].astype(bool))
    plain = plain_ehtdi.border(golden[f'{case}/mask'].astype(np.uint8))
    np.testing.assert_array_equal(plain, golden[f'{case}/border'])
    assert bool(found.any()) == (case not in ('full', 'empty'))


def test_border_equals_opencv() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        masks = (rng.random((3, *rng.integers(1, 12, 2))) < rng.random()).astype(np.uint8)
        wanted = np.stack([plain_ehtdi.border(mask) for mask in masks])
        np.testing.assert_array_equal(border(torch.from_numpy(masks).bool()), wanted.astype(bool))


# --------------------------------------------------------------------------------------------------- one iteration


def test_one_iteration_equals_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    golden = np.load(GOLDEN / 'iter_edgeA.npz')
    model = RecordedEHTDIEdge.from_golden(golden, border_gate='pair')

    def calls_of(name: str) -> list[tuple]:
        """(arguments, whether autograd is on) of every call of the model from now on."""
        plain, calls = getattr(model, name), []

        def noted(*args: torch.Tensor) -> object:
            calls.append((args, torch.is_grad_enabled()))
            return plain(*args)

        monkeypatch.setattr(model, name, noted)
        return calls

    entropies, contrasts, passes = note_cross_entropies(monkeypatch), calls_of('contrast'), calls_of('heads')
    model.back_propagate(golden)
    assert [with_grad for _, with_grad in passes] == golden['calls_with_grad'].tolist()
    for name, image in (('aug', 'mixed/x_aug'), ('w', 'mixed/x_w'), ('w_ori', 'in/tgt_weak'), ('st', 'mixed/x_st')):
        assert torch.equal(model.seen[name], torch.from_numpy(golden[image]))

    pasted, confident = (torch.from_numpy(golden[key]).bool() for key in ('bord_mask', 'bord_mask_ts'))
    y_mixed, all_heads = ours(golden['mixed/y_aug_1']), ours(golden['label_2_w'])
    y_back, y_back_aux = ours(golden['mixed/s_t_y'])[:1], ours(golden['s_t_y_2'])[:1]
    labels = [
        ours(golden['src_label']),
        ours(golden['src_label']),
        y_mixed,
        all_heads,
        torch.where(pasted, y_mixed, 255),
        torch.where(pasted, all_heads, 255),
        y_back,
        torch.where(confident[:1], y_back, 255),
        y_back_aux,
    ]
    for number, ((found, _), label) in enumerate(zip(entropies, labels, strict=True)):
        assert torch.equal(found, label), number
    assert torch.equal(contrasts[0][0][2], ours(golden['label_fuse_st']))

    # theirs: both of the source, the three of back, then per head of mixed the border and the whole
    in_their_order = [float(entropies[i][1].detach()) for i in (0, 1, 6, 7, 8, 4, 2, 5, 3)]
    np.testing.assert_allclose(in_their_order, golden['ce_values_in_call_order'], rtol=1e-5)


@pytest.mark.parametrize(('method', 'passes'), [(EHTDI, 5), (EHTDIEdge, 6)])
@pytest.mark.parametrize('size', [1, 2])
def test_every_pass_updates_the_statistics(method: type[UDASegmentor], passes: int, size: int) -> None:
    model = method(student=network()).train()
    data = {
        domain: {key: value[:size] for key, value in batch.items()}
        for domain, batch in crops(np.load(GOLDEN / 'iter_edgeA.npz')).items()
    }
    for _, terms in model.parts(data):
        assert all(torch.isfinite(value) for value in terms.values())
    assert int(model.student.backbone.bn.num_batches_tracked) == passes


@pytest.mark.parametrize('method', [EHTDI, EHTDIEdge])
def test_auxiliary_terms_are_those_of_the_heads_there_are(method: type[UDASegmentor]) -> None:
    data = crops(np.load(GOLDEN / 'iter_edgeA.npz'))

    def terms(number: int) -> dict[str, torch.Tensor]:
        """Those of a network with so many equal auxiliary heads, and always the same other weights."""
        torch.manual_seed(0)
        plain = network()
        model = method(student={**plain, 'auxiliary_head': [plain['auxiliary_head']] * number or None}).train()
        for head in model.student.auxiliary_head if number else []:
            head.load_state_dict(model.student.auxiliary_head[0].state_dict())
        return {name: value for _, part in model.parts(data) for name, value in part.items()}

    none, one, two = map(terms, range(3))
    assert none == {name: value for name, value in one.items() if 'aux' not in name}
    assert len(one) - len(none) == (2 if method is EHTDI else 4)
    assert one.keys() == two.keys()
    torch.testing.assert_close(two['loss_aux'], 2 * one['loss_aux'])


# ------------------------------------------------------------------------------------------------------------ gates


class TestGates:
    """Random logits and labels; sample 0 has a pasted and a confident rectangle, sample 1 as the case says."""

    @pytest.fixture(autouse=True)
    def _draw(self) -> None:
        torch.manual_seed(0)
        self.truth, self.pseudo, self.all_heads, self.predicted = torch.randint(0, 9, (4, 2, 8, 10))
        self.pasted, self.confident = torch.zeros(2, 2, 8, 10, dtype=torch.bool)
        self.pasted[0, 2:5, 3:7] = True
        self.confident[0, 5:, 1:4] = True
        self.main, self.aux = torch.randn(2, 2, 9, 8, 10).requires_grad_()
        self.main.retain_grad()

    def areas(self, samples: slice = slice(None)) -> Areas:
        return Areas(*(getattr(self, name)[samples] for name in Areas._fields))

    def losses(self, gate: str, samples: slice = slice(None)) -> dict[str, torch.Tensor]:
        model = EHTDIEdge(student=network(), border_gate=gate)
        image = torch.zeros(2, 3, 8, 10)[samples]
        heads = [self.main[samples], self.aux[samples]]
        model.heads = lambda _: heads
        return {
            **model.mixed_losses(heads, self.areas(samples)),
            **model.back_losses(image, image, self.areas(samples)),
        }

    def along(self, logits: torch.Tensor, edge: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The mean cross entropy over the pixels of ``edge``."""
        return torch.nn.functional.cross_entropy(logits.permute(0, 2, 3, 1)[edge], label[edge])

    def test_pair_needs_a_border_in_both_samples(self) -> None:
        losses = self.losses('pair')
        total = sum(losses[name] for name in ('loss_mixed_border', 'loss_mixed_border_aux', 'loss_back_border'))
        assert total == 0
        total.backward()
        assert not self.main.grad.any()
        self.pasted[1, :4, :4] = True
        losses = self.losses('pair')
        assert losses['loss_mixed_border'] > 0
        assert losses['loss_mixed_border_aux'] > 0
        assert losses['loss_back_border'] == 0
        self.confident[1, 5:] = True
        assert self.losses('pair')['loss_back_border'] > 0

    def test_a_confident_border_below_the_pasted_classes_is_none(self) -> None:
        self.pasted[1, :4, :4] = self.confident[1, 1:3, 1:3] = True
        assert self.losses('pair')['loss_back_border'] == 0

    def test_sample_uses_the_border_there_is(self) -> None:
        losses = self.losses('sample')
        edge = border(self.pasted)
        assert edge[0].any()
        assert not edge[1].any()
        label = torch.where(self.pasted, self.truth, self.pseudo)
        torch.testing.assert_close(losses['loss_mixed_border'], 0.1 * self.along(self.main, edge, label))
        torch.testing.assert_close(losses['loss_mixed_border_aux'], 0.01 * self.along(self.aux, edge, self.all_heads))
        label = torch.where(self.confident & ~self.pasted, self.predicted, self.truth)
        edge = border(self.confident) & ~self.pasted
        torch.testing.assert_close(losses['loss_back_border'], 0.01 * self.along(self.main, edge, label))

    def test_back_keeps_the_pasted_classes_with_their_truth(self) -> None:
        self.pasted[1, :4, :4] = self.confident[1, 2:6, 2:6] = True
        target = self.confident & ~self.pasted
        everywhere = torch.ones_like(target)
        losses = self.losses('sample')
        label = torch.where(target, self.predicted, self.truth)
        torch.testing.assert_close(losses['loss_back'], 0.1 * self.along(self.main, everywhere, label))
        label = torch.where(target, self.all_heads, self.truth)
        torch.testing.assert_close(losses['loss_back_aux'], 0.001 * self.along(self.aux, everywhere, label))

    def test_a_batch_of_one(self) -> None:
        losses = self.losses('sample', slice(1))
        assert losses['loss_mixed_border'] > 0
        assert losses['loss_back_border'] > 0
        assert self.losses('sample', slice(1, 2))['loss_mixed_border'] == 0  # it has no border: 0, not NaN
        with pytest.raises(ValueError, match=r"border_gate='sample'"):
            self.losses('pair', slice(1))


def test_unknown_gate_names_the_setting() -> None:
    with pytest.raises(ValueError, match=r'model\.border_gate'):
        EHTDIEdge(student=network(), border_gate='pairs')
