"""The methods' parts beside their plain forms, which live in tests/ as the oracles of the fast ones."""

import argparse
import copy
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec

import cv2
import numpy as np
import plain_daf_ida
import plain_depth_distribution
import plain_ehtdi
import plain_hiast
import plain_ldbe
import torch
import torch.nn.functional as F
from ehtdi_golden import keys_for, ours
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from speed.loading import loading
from speed.measure import Row, alternate, peak_memory, report, table
from speed.step import CONFIGS, build
from torch import Tensor

from mmuda.datasets import Pack, WeakStrongCrop
from mmuda.datasets.classes import CITYSCAPES_IDS, id_table
from mmuda.models.density import ClassDensity, read_mixtures
from mmuda.models.losses import berhu, cross_entropy, nll, probability_contrast, self_information
from mmuda.models.uda import UDASegmentor, ehtdi, ldbe
from mmuda.models.uda.hiast import region_adaptive_loss
from mmuda.models.uda.teacher import MeanTeacher
from mmuda.registry import MODELS
from mmuda.utils.depth import inverse_depth

CLASSES, SCALE = 19, 20.0


def compare(
    name: str, plain: Callable, fast: Callable, rounds: int, tolerance: float = 0.0, at_least: float | None = None
) -> Row:
    """Time two forms that return the same tensors, to within ``tolerance``."""
    pairs = zip(_flat(fast()), _flat(plain()), strict=True)
    distance = max(float((found.double() - wanted.double()).abs().max()) for found, wanted in pairs)
    if not distance <= tolerance:
        raise RuntimeError(f'{name}: the fast form is {distance:g} off the plain one, more than {tolerance:g}')
    note = f'differ by {distance:.0e}' if distance else 'equal'
    return Row(name, *alternate(plain, fast, rounds=rounds), at_least=at_least, note=note)


def _flat(result: Tensor | np.ndarray | tuple | list) -> list[Tensor]:
    return [torch.as_tensor(one) for one in (result if isinstance(result, (tuple, list)) else [result])]


def blocks(height: int, width: int, low: int, high: int) -> np.ndarray:
    """A map (height, width) of random ids, low <= id < high, in 16 x 16 areas."""
    coarse = np.random.randint(low, high, (16, 16))
    return np.ascontiguousarray(coarse[np.arange(height) * 16 // height][:, np.arange(width) * 16 // width])


def label_ids(rounds: int, quick: bool) -> Iterator[Row]:
    """Raw ids to train ids."""
    height, width = (45, 80) if quick else (720, 1280)
    ids, look_up = blocks(height, width, 0, 35).astype(np.uint8), id_table(CITYSCAPES_IDS, CLASSES)
    name = f'label ids {height}x{width}: masks, table'
    yield compare(name, lambda: plain_ehtdi.train_ids(ids, look_up), lambda: cv2.LUT(ids, look_up), rounds)


def augmentation(rounds: int, quick: bool, cfg: Config) -> Iterator[Row]:
    """Weak and strong crops of an image of each domain: uint8 in the worker, or floats within the step."""
    side, domains = (64, ((90, 160), (80, 160))) if quick else (512, ((720, 1280), (640, 1280)))
    images = [np.random.randint(0, 256, (*size, 3), np.uint8) for size in domains]
    truth, pseudo = (torch.from_numpy(blocks(*size, 0, CLASSES)) for size in domains)
    prepare = MODELS.build(cfg.data_preprocessor)
    mean = prepare.mean.flatten()
    crop = Compose([WeakStrongCrop((side, side)), Pack()])
    floats = [torch.from_numpy(image).permute(2, 0, 1) - mean[:, None, None] for image in images]

    def plain() -> list[Tensor]:
        np.random.seed(0)
        source, target, _ = (
            plain_ehtdi.augment(image, label, (side, side), mean)
            for image, label in ((floats[0], truth), (floats[1], pseudo), (floats[1], pseudo))  # the last one is unused
        )
        return [*source, *target]

    def fast() -> list[Tensor]:
        np.random.seed(0)
        items = [dict(img=images[0], gt_seg_map=truth.numpy().astype(np.uint8)), dict(img=images[1])]
        batch = {}
        for name, item in zip(('source', 'target'), items, strict=True):
            views = crop(item | {'name': ''})
            batch[name] = {key: views[key][None] for key in views.keys() - {'image', 'label', 'name'}}
        source, target = prepare(batch, training=True).values()
        cropped = ehtdi.crop(pseudo[None], target['rows'], target['cols'])
        views = source['weak'], source['strong'], source['weak_label'], target['weak'], target['strong'], cropped
        return [view[0] for view in views]

    yield compare('two views of a source and a target image: in the step, in the worker', plain, fast, rounds)


def class_mix(rounds: int, quick: bool) -> Iterator[Row]:
    """Which classes are pasted, and where."""
    side = 32 if quick else 512
    label = np.stack([blocks(side, side, -1, CLASSES) for _ in range(2)])
    pools = [len(np.unique(one[one > 4])) for one in label]
    draws = [np.random.permutation(pool)[: pool // 2] for pool in pools]
    keys, fast_label, plain_label = keys_for(label, draws, CLASSES), ours(label), torch.from_numpy(label)
    yield compare(
        f'class mix 2x{side}x{side}: loops over classes, tables',
        lambda: [plain_ehtdi.draw_and_paste(*pair)[0] for pair in zip(plain_label, draws, strict=True)],
        lambda: ehtdi.draw_pasted(fast_label, keys, 4, 'below_pool').unbind(),
        rounds,
        at_least=10,
    )


def border(rounds: int, quick: bool) -> Iterator[Row]:
    """The border of two masks."""
    side = 32 if quick else 512
    masks = torch.from_numpy(np.stack([blocks(side, side, 0, 2) for _ in range(2)])).bool()
    yield compare(
        f'border of 2x{side}x{side}: OpenCV, shifts',
        lambda: [torch.from_numpy(plain_ehtdi.border(mask.numpy().astype(np.uint8))) for mask in masks],
        lambda: ehtdi.border(masks).unbind(),
        rounds,
    )


def contrast(rounds: int, quick: bool) -> Iterator[Row]:
    """Pixel contrast, forward and backward, and its memory."""
    pixels = 300 if quick else 65 * 65
    views = (2 * torch.randn(2, pixels, CLASSES)).softmax(2)

    def gradients(function: Callable, views: Tensor = views) -> tuple[Tensor, ...]:
        student, other = (view.clone().requires_grad_() for view in views)
        return torch.autograd.grad(function(student, other, SCALE), (student, other))

    forms = [partial(gradients, function) for function in (plain_ehtdi.contrast, probability_contrast)]
    for form in forms:
        form(views[:, :10])  # the code is loaded
    memory = [[peak_memory(form)] for form in forms]
    name = f'pixel contrast {2 * pixels}x{2 * pixels}'
    yield compare(f'{name}, forward and backward: dense, row blocks', *forms, rounds, tolerance=1e-6, at_least=2)
    yield Row(f'{name}: peak memory, MB', *memory, at_least=None if quick else 8)


def average(rounds: int, model: UDASegmentor) -> Iterator[Row]:
    """The teacher follows the student."""
    student, teacher = model.student, MeanTeacher(model.student)
    plain = copy.deepcopy(teacher.model)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.01)

    def loop() -> list[Tensor]:
        plain_ehtdi.follow(plain, student, teacher.momentum)
        return list(plain.parameters())

    def foreach() -> list[Tensor]:
        teacher.update(student)
        return list(teacher.model.parameters())

    name = f'average of {sum(one.numel() for one in plain.parameters()) / 1e6:.1f} M parameters: loop, foreach'
    yield compare(name, loop, foreach, rounds, tolerance=1e-6, at_least=2.5)


def repeated_sgd(rounds: int, model: UDASegmentor, cfg: Config) -> Iterator[Row]:
    """A step of the optimiser."""
    copies = [model.student, copy.deepcopy(model.student)]
    optimizers = [build_optim_wrapper(student, cfg.optim_wrapper).optimizer for student in copies]
    for mine, other in zip(*(student.parameters() for student in copies), strict=True):
        mine.grad = other.grad = 0.01 * torch.randn_like(mine) if mine.requires_grad else None
    buffers: dict[Tensor, Tensor] = {}

    def loop() -> list[Tensor]:
        plain_ehtdi.sgd_step(optimizers[0].param_groups, buffers)
        return list(copies[0].parameters())

    def fused() -> list[Tensor]:
        optimizers[1].step()
        return list(copies[1].parameters())

    with torch.no_grad():
        yield compare('repeated SGD on the same: loop, fused', loop, fused, rounds, tolerance=1e-6)


def depth_aware_losses(rounds: int, quick: bool) -> Iterator[Row]:
    """DAF's losses, each forward and backward."""
    classes = 16
    (source, target) = ((48, 80), (32, 64)) if quick else ((760, 1280), (512, 1024))
    label = torch.from_numpy(blocks(*source, 0, classes + 1))[None]
    label[label == classes] = 255
    depth, truth = (1 + 100 * torch.rand(1, 1, *size) for size in (target, source))
    logits = {size: torch.randn(1, classes, *size) for size in (source, target)}

    def gradient(function: Callable[[Tensor], Tensor], given: Tensor) -> Tensor:
        given = given.clone().requires_grad_()
        return torch.autograd.grad(function(given), given)[0]

    def scaled(function: Callable, *others: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda given: function(given, *others) * given.numel()  # as large as one pixel's

    for name, forms, given, goal in (
        (
            'cross entropy: boolean gather, ignored index',
            (plain_daf_ida.cross_entropy, cross_entropy),
            (logits[source], label),
            4,
        ),
        ('berHu', (plain_daf_ida.berhu, berhu), (torch.rand_like(truth), truth), None),
    ):
        plain, fast = (partial(gradient, scaled(form, *given[1:]), given[0]) for form in forms)
        size = 'x'.join(map(str, given[0].shape[1:]))
        yield compare(f'{name} {size}', plain, fast, rounds, tolerance=1e-3, at_least=None if quick else goal)
    plain, fast = (
        partial(gradient, lambda given, form=form: (form(given) * depth**2).mean() * given.numel(), logits[target])
        for form in (plain_daf_ida.self_information, self_information)
    )
    name = f'self-information x depth^2 {"x".join(map(str, logits[target].shape[1:]))}'
    yield compare(name, plain, fast, rounds, tolerance=1.0)  # of gradients up to 10^4


def class_density(rounds: int, quick: bool) -> Iterator[Row]:
    """The density of predicted classes on both domains."""
    name = '7_small' if quick else '16'
    mixtures, density = read_mixtures(name), ClassDensity(name)
    (h, w), classes = mixtures.grid, density.num_classes
    predicted = torch.from_numpy(blocks(h, w, 0, classes))
    depth = 60 * torch.rand(h, w) - 5
    yield compare(
        f'target density, {classes} classes {h}x{w}: cell by cell, gathered',
        lambda: plain_depth_distribution.target_density(mixtures, predicted, depth),
        lambda: density(predicted[None], depth[None, None]) * (depth > 0),
        rounds,
        tolerance=1e-3,
        at_least=None if quick else 100,
    )
    label, centimetres = (
        blocks(h, w, 0, classes).astype(np.uint8),
        np.random.randint(50, 60000, (h, w)).astype(np.uint16),
    )

    def read() -> Tensor:
        maps = plain_depth_distribution.source_maps(mixtures, label, centimetres)
        return torch.from_numpy(plain_depth_distribution.source_density(maps, predicted.numpy()))

    def computed() -> Tensor:
        true = inverse_depth(torch.from_numpy(centimetres)) * (torch.from_numpy(label) == predicted)
        return density(predicted[None], true[None, None])[0, 0]

    text = f'source density, {classes} classes {h}x{w}: a map for each class, the predicted class'
    yield compare(text, read, computed, rounds, tolerance=1e-3, at_least=None if quick else 20)


def weighted_losses(rounds: int, quick: bool) -> Iterator[Row]:
    """Depth Distribution's cross entropy with class weights, forward and backward."""
    height, width, classes = (48, 80, 16) if quick else (760, 1280, 16)
    label = torch.from_numpy(blocks(height, width, 0, classes + 1))[None]
    label[label == classes] = 255
    logits, weight = torch.randn(1, classes, height, width), 0.2 + torch.rand(classes)

    def gradient(function: Callable) -> Tensor:
        leaf = logits.clone().requires_grad_()
        return torch.autograd.grad(function(leaf, label, weight) * leaf.numel(), leaf)[0]

    yield compare(
        f'weighted cross entropy {classes}x{height}x{width}, mask and gather',
        partial(gradient, plain_depth_distribution.weighted_cross_entropy),
        partial(gradient, cross_entropy),
        rounds,
        tolerance=1e-3,
    )


def label_denoising(rounds: int, quick: bool) -> Iterator[Row]:
    """LDBE's three losses on one map of logits, forward and backward."""
    side = 40 if quick else 600
    coarse = 4 * torch.randn(3, CLASSES, side // 8 + 1, side // 8 + 1)  # large areas, as those of a trained network
    logits = F.interpolate(coarse, size=(side, side), mode='bilinear', align_corners=True)
    selected = torch.from_numpy(np.stack([blocks(side, side, 0, 5) for _ in range(3)])) == 0
    label = torch.where(selected, torch.from_numpy(np.stack([blocks(side, side, 0, CLASSES) for _ in range(3)])), 255)

    def shared(logits: Tensor, rank: int) -> list[Tensor]:
        log_prob = logits.log_softmax(1)
        prob = log_prob.exp()
        return [nll(log_prob, label), ldbe.double_softmax_entropy(prob).mean(), ldbe.negative_learning(prob, rank)]

    def gradients(function: Callable, rank: int) -> list[Tensor]:
        leaf = logits.clone().requires_grad_()
        terms = function(leaf, rank)
        return [*(term.detach() for term in terms), *torch.autograd.grad(sum(terms), leaf)]

    for rank in (6, 9, 12):
        yield compare(
            f'three losses 3x{CLASSES}x{side}x{side}, rank {rank}: each by itself, one log-softmax',
            partial(gradients, lambda leaf, rank: plain_ldbe.label_denoising(leaf, label, rank), rank),
            partial(gradients, shared, rank),
            rounds,
            tolerance=1e-5,
            at_least=1.5,
        )


def target_mix(rounds: int, quick: bool) -> Iterator[Row]:
    """LDBE's class mix of images, labels and confidences."""
    side = 40 if quick else 600
    image, conf = torch.randn(3, 3, side, side), torch.rand(3, side, side)
    label = torch.from_numpy(np.stack([blocks(side, side, 0, CLASSES) for _ in range(3)]))
    order = np.stack([np.argsort(np.random.rand(CLASSES)) for _ in label])
    keys = torch.cat([torch.ones(3, 1), torch.from_numpy(order.argsort(1))], 1)
    assert all(len(one.unique()) == CLASSES for one in label)  # so that positions in the permutation are classes
    yield compare(
        f'class mix of 3x{side}x{side}: loops over classes, tables',
        lambda: plain_ldbe.class_mix(image, label, conf, order)[-1],
        lambda: ldbe.class_mix(image, label, conf, keys),
        rounds,
    )


def region_adaptive(rounds: int, quick: bool) -> Iterator[Row]:
    """HIAST's four losses, forward and backward, and what they keep for the way back."""
    height, width = (32, 64) if quick else (512, 1024)
    coarse = 4 * torch.randn(2, 2, CLASSES, height // 8 + 1, width // 8 + 1)  # large areas, as a trained network's
    logits, teacher = (F.interpolate(one, size=(height, width), mode='bilinear', align_corners=True) for one in coarse)
    label = torch.from_numpy(np.stack([blocks(height, width, 0, CLASSES + 8) for _ in range(2)]))
    label[label >= CLASSES] = 255
    weights = (1.0, 0.1, 1.0, 0.5)

    def separate(leaf: Tensor) -> Tensor:
        terms = (
            plain_hiast.cross_entropy(leaf, label),
            plain_hiast.kld_to_uniform(leaf, label),
            plain_hiast.entropy(leaf, label),
            plain_hiast.consistency(leaf, teacher, label),
        )
        return sum(weight * term for weight, term in zip(weights, terms, strict=True))

    def shared(leaf: Tensor) -> Tensor:
        return region_adaptive_loss(leaf, label, weights, teacher)[0]

    def gradient(function: Callable[[Tensor], Tensor]) -> list[Tensor]:
        leaf = logits.clone().requires_grad_()
        loss = function(leaf)
        return [loss.detach(), torch.autograd.grad(loss, leaf)[0] * label.numel()]  # as large as one pixel's

    def kept(function: Callable[[Tensor], Tensor]) -> float:
        storages: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        leaf = logits.clone().requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            function(leaf)
        return sum(storages.values()) / 2**20

    size = f'2x{CLASSES}x{height}x{width}'
    forms = [partial(gradient, function) for function in (separate, shared)]
    name = f'four losses {size}: each by itself, one log-softmax'
    yield compare(name, *forms, rounds, tolerance=1e-3, at_least=None if quick else 3)
    memory = [[kept(shared)], [kept(separate)]]
    yield Row(f'four losses {size}: kept for the way back, MB, mmuda first', *memory, at_most=0.4)


def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    np.random.seed(0)
    rounds, quick = args.rounds, args.quick
    paper = Config.fromfile(CONFIGS / 'ehtdi/gta2city.py')
    rows = list(contrast(rounds, quick))  # first: its peaks of memory count from what is in use
    model = build(Config.fromfile(CONFIGS / 'ehtdi/minicity.py') if quick else paper)
    rows += [
        *class_mix(rounds, quick),
        *border(rounds, quick),
        *average(rounds, model),
        *repeated_sgd(rounds, model, paper),
        *augmentation(rounds, quick, paper),
        *label_ids(rounds, quick),
    ]
    del model
    tables = {
        "EHTDI's parts": rows,
        "LDBE's parts, losses forward and backward": [*label_denoising(rounds, quick), *target_mix(rounds, quick)],
        "HIAST's losses, forward and backward": [*region_adaptive(rounds, quick)],
        "DAF's losses, forward and backward": [*depth_aware_losses(rounds, quick)],
        "Depth Distribution's parts": [*class_density(rounds, quick), *weighted_losses(rounds, quick)],
    }
    if find_spec('lmdb'):
        tables['Samples of a loader'] = [*loading(rounds, quick)]
    text = '\n\n'.join(table(title, 'plain, ms', 'mmuda, ms', found) for title, found in tables.items())
    report('parts', args.work_dir, text)
