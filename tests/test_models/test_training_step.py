"""The skeleton of a step: parts, several optimisers, several processes, both domains' batches."""

from collections.abc import Iterator

import pytest
import torch
import torch.multiprocessing as mp
from mmengine.optim import OptimWrapperDict
from torch import nn

from mmuda.engine.optimizers import NetworkOptimConstructor
from mmuda.models.data_preprocessor import DomainDataPreprocessor
from mmuda.models.uda import UDASegmentor
from mmuda.utils.distributed import average_gradients


class TwoNetworks(UDASegmentor):
    """A student and a second network, each with a part of its own, and a shared third part."""

    def __init__(self) -> None:
        super().__init__(
            student=dict(
                type='EncoderDecoder',
                backbone=dict(type='mmuda.CeilResNet', depth=10, base_channels=4, stem_channels=4),
                decode_head=dict(type='mmuda.SummedASPPHead', in_channels=32, in_index=3, num_classes=3),
            ),
            data_preprocessor=dict(type='mmuda.DomainDataPreprocessor'),
        )
        self.discriminator = nn.Conv2d(3, 1, 1)
        self.order: list[str] = []

    def parts(self, data: dict) -> Iterator[tuple[str, dict]]:
        image = data['source']['image']
        self.order.append('first')
        yield 'src', {'loss_a': self.main_head(image).square().mean(), 'ratio': image.mean()}
        assert self.student.decode_head.convs[0].weight.grad is not None  # the first part is done with
        self.order.append('second')
        yield 'disc', {'loss_b': self.discriminator(self.main_head(image).detach()).square().mean()}


def test_parts_are_back_propagated_in_order_and_every_optimizer_steps() -> None:
    torch.manual_seed(0)
    model = TwoNetworks().train()
    settings = {
        name: dict(optimizer=dict(type='SGD', lr=lr)) for name, lr in (('student', 0.1), ('discriminator', 0.2))
    }
    wrapper = NetworkOptimConstructor(settings)(model)
    assert isinstance(wrapper, OptimWrapperDict)
    before = {name: value.clone() for name, value in model.named_parameters()}
    batch = {'source': {'image': torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)}}
    log = model.train_step(batch, wrapper)
    assert model.order == ['first', 'second']
    assert set(log) == {'loss', 'src.loss_a', 'src.ratio', 'disc.loss_b'}
    torch.testing.assert_close(log['loss'], log['src.loss_a'] + log['disc.loss_b'])
    for name, parameter in model.named_parameters():
        lr = 0.2 if name.startswith('discriminator') else 0.1
        if parameter.grad is None:
            assert torch.equal(parameter, before[name])
        else:
            torch.testing.assert_close(parameter, before[name] - lr * parameter.grad)


def test_gradients_add_up_over_parts_and_not_over_steps() -> None:
    torch.manual_seed(0)
    model = TwoNetworks().train()
    wrapper = NetworkOptimConstructor(dict(optimizer=dict(type='SGD', lr=0.0)))(model)
    batch = {'source': {'image': torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)}}
    model.train_step(batch, wrapper)
    first = model.discriminator.weight.grad.clone()
    model.train_step(batch, wrapper)
    torch.testing.assert_close(model.discriminator.weight.grad, first)


def test_a_method_has_no_single_loss() -> None:
    with pytest.raises(RuntimeError, match='train_step'):
        TwoNetworks()(torch.zeros(1, 3, 32, 32), [], mode='loss')


def test_evaluating_a_teacher_needs_one() -> None:
    with pytest.raises(ValueError, match=r"model\.evaluate='teacher'.*model\.teacher"):
        UDASegmentor.__init__(TwoNetworks.__new__(TwoNetworks), student={}, evaluate='teacher')


def _worker(rank: int, results: str) -> None:
    torch.distributed.init_process_group('gloo', init_method=f'file://{results}/store', rank=rank, world_size=2)
    one, only_first, nowhere = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    one.grad = torch.tensor([1.0, 2.0]) * (rank + 1)
    if rank == 0:
        only_first.grad = torch.tensor([4.0, 8.0])
    loss = average_gradients([one, only_first, nowhere], torch.tensor(3.0 * rank))
    torch.save([one.grad, only_first.grad, nowhere.grad, loss], f'{results}/{rank}.pt')
    torch.distributed.destroy_process_group()


def test_gradients_of_two_processes(tmp_path) -> None:
    mp.spawn(_worker, args=(str(tmp_path),), nprocs=2)
    for rank in range(2):
        one, only_first, nowhere, loss = torch.load(tmp_path / f'{rank}.pt')
        assert loss == 1.5
        assert one.tolist() == [1.5, 3.0]
        assert only_first.tolist() == [2.0, 4.0]  # zero on the process that has none
        assert nowhere is None  # weight decay must not move it


def test_both_domains_are_normalised_on_the_device() -> None:
    prepare = DomainDataPreprocessor(mean=[1.0, 2.0, 3.0], std=[2.0, 2.0, 4.0], bgr_to_rgb=True)
    image = torch.randint(0, 255, (2, 3, 4, 5), dtype=torch.uint8)
    label = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    keys = torch.rand(2, 20, dtype=torch.float64)
    found = prepare(
        {'source': dict(image=image, label=label, name=['a', 'b'], keys=keys), 'target': dict(strong=image)}, True
    )
    wanted = (image.flip(1).float() - torch.tensor([1.0, 2.0, 3.0])[:, None, None]) / torch.tensor([2.0, 2.0, 4.0])[
        :, None, None
    ]
    torch.testing.assert_close(found['source']['image'], wanted)
    torch.testing.assert_close(found['target']['strong'], wanted)
    assert found['source']['label'].tolist() == [[[0, 255]]]
    assert found['source']['label'].dtype == torch.int64
    assert torch.equal(found['source']['keys'], keys)
    assert found['source']['name'] == ['a', 'b']
