"""Offline steps on one image, HIAST's on two, from logits at the network's input size: ours beside the plain form."""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import plain_daf_ida
import plain_depth_distribution
import plain_hiast
import plain_ldbe as plain
import torch
from PIL import Image
from speed.measure import Row, alternate, report, table
from torch import Tensor

from mmuda.offline import selectors
from mmuda.offline.density import expectation_maximisation, start_means
from mmuda.offline.predictions import Enlarger, Scores
from mmuda.offline.pseudo_labels import write_and_count
from mmuda.offline.ranking import score_and_label
from mmuda.offline.regions import drop_small_regions
from mmuda.offline.selectors import GlobalLocal, InstanceAdaptive, confidence

CLASSES, PROP = 19, 0.1


def thresholds(scores: Scores, **settings: bool) -> GlobalLocal:
    """A selector that has looked at the image as often as it wants to."""
    selector = GlobalLocal(prop=PROP, **settings)
    selector.start(CLASSES, 'cpu')
    for _ in range(selector.looks):
        selector.observe(scores)
        selector.merge()
    return selector


def plain_thresholds(logits: Tensor) -> list[float]:
    """Their plain form."""
    return plain.thresholds(plain.confident_values(logits), PROP)


def ranking(size: tuple[int, int], rounds: int) -> Row:
    """Score and label of the ranking."""
    logits = plain.upsample(3 * torch.randn(1, 16, 9, 17), size)
    depth = plain.upsample(100 * torch.rand(1, 1, 9, 17), size)
    (score, label), (wanted, plain_label) = (
        score_and_label(logits[0], depth[0, 0]),
        plain_daf_ida.score_and_label(logits, depth),
    )
    if not torch.equal(label.long(), plain_label) or abs(float(score) / wanted - 1) > 1e-5:
        raise RuntimeError('score or label differs from that of the plain form')
    return Row(
        'ranking: score and label',
        *alternate(
            lambda: plain_daf_ida.score_and_label(logits, depth),
            lambda: score_and_label(logits[0], depth[0, 0]),
            rounds=rounds,
        ),
        at_least=1.2,
        note='every label equal',
    )


def region_filter(size: tuple[int, int], rounds: int) -> Row:
    """Small regions of a label map."""
    coarse = 3 * torch.randn(1, 16, size[0] // 8, size[1] // 8)
    label = plain.upsample(coarse, size)[0].argmax(0).to(torch.uint8).numpy()
    areas = np.linspace(20, 400, 16).astype(int).tolist()
    forms = [
        lambda: plain_depth_distribution.drop_small_regions(label, areas),
        lambda: drop_small_regions(label, areas),
    ]
    if not np.array_equal(forms[0](), forms[1]()):
        raise RuntimeError('the regions kept differ from those of the plain form')
    return Row('region filter: flood, OpenCV', *alternate(*forms, rounds=rounds), note='every label equal')


def mixture_fit(points: int, rounds: int) -> Row:
    """Eleven steps of EM from one start."""
    rng, steps = np.random.default_rng(0), 11
    places, spreads = rng.uniform(0, 150, (5, 3)), rng.uniform(3, 30, (5, 3))
    x = np.concatenate([rng.normal(m, s, (points // 5, 3)) for m, s in zip(places, spreads, strict=True)])
    mean = start_means(x, 5)
    tensors = torch.from_numpy(x), torch.from_numpy(mean), torch.ones(5, 3, dtype=torch.float64)

    def plain_fit() -> Tensor:
        weight, current, var = torch.full((5,), 0.2, dtype=torch.float64), *tensors[1:]
        for _ in range(steps):
            _, weight, current, var = plain_depth_distribution.em_step(tensors[0], weight, current, var)
        return current

    def fit() -> np.ndarray:
        return expectation_maximisation(x, mean, steps=steps, gain=-np.inf)[1]

    difference = np.abs(fit() / plain_fit().numpy() - 1).max()
    if difference > 1e-6:
        raise RuntimeError(f'the means of the mixture are {difference:g} off those of the plain form')
    name = f'mixture of 5 to {points} points, {steps} steps: (n, k, d) tensors, moments in chunks'
    goal = 5 if points >= 100_000 else None
    return Row(name, *alternate(plain_fit, fit, rounds=rounds), at_least=goal, note=f'means differ by {difference:.0e}')


def instance_adaptive(size: tuple[int, int], rounds: int) -> Row:
    """Thresholds, selection, statistics and PNGs of a pair of images; their confidences are there."""
    pair = [3 * torch.randn(1, CLASSES, 9, 17) for _ in range(2)]
    scores = [Scores(i, logits, size, size, Enlarger(align_corners=True)) for i, logits in enumerate(pair)]
    known = [confidence(one.at_input()) for one in scores]
    conf, label = (torch.stack(maps).numpy() for maps in zip(*known, strict=True))
    selector = InstanceAdaptive(seed=None)

    def fast(folder: Path) -> list[np.ndarray]:
        selector.start(CLASSES, 'cpu')
        for one in scores:
            selector.observe(one)
        selector.merge()
        chosen = [selector.select(one) for one in scores]
        for number, (own, its) in enumerate(chosen):
            (folder / f'{number}.png').unlink(missing_ok=True)
            write_and_count(folder / f'{number}.png', own, its, selector)
        return [own.numpy() for own, _ in chosen]

    def plain(folder: Path) -> list[np.ndarray]:
        start, values = np.full(CLASSES, 0.9), np.zeros(CLASSES)
        found = plain_hiast.instance_threshold(conf, label, start, selector.alpha, selector.gamma)
        threshold = plain_hiast.next_threshold(start, found, selector.beta)
        chosen = [plain_hiast.select(p, y, threshold) for p, y in zip(conf, label, strict=True)]
        plain_hiast.class_values(values, conf, np.stack(chosen))
        for number, own in enumerate(chosen):
            plain_hiast.pixel_counts(own, CLASSES)
            Image.fromarray(own).save(folder / f'{number}.png')
        return chosen

    known_by_number = lambda index: (known[index][0], known[index][1].clone())  # noqa: E731  (selection writes into it)
    with (
        TemporaryDirectory() as place,
        patch.object(Scores, 'at_input', lambda one: one.index),
        patch.object(selectors, 'confidence', known_by_number),
    ):
        folder = Path(place)
        if not all(map(np.array_equal, fast(folder), plain(folder))):
            raise RuntimeError('labels differ from those of the plain form')
        times = alternate(lambda: plain(folder), lambda: fast(folder), rounds=rounds)
    name = 'thresholds, selection, statistics and PNG'
    return Row(name, *times, at_least=5, note='every label equal; without the softmax')


def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    input_size, label_size, pair_size = (512, 1024), (1024, 2048), (768, 1536)
    if args.quick:
        input_size, label_size, pair_size = (32, 64), (64, 128), (48, 96)
    torch.manual_seed(0)
    coarse = 3 * torch.randn(1, CLASSES, 9, 17)  # large areas, as those of a trained network
    logits = plain.upsample(coarse, input_size)
    scores = Scores(0, logits, input_size, label_size, Enlarger(align_corners=True))
    selector, delta = thresholds(scores), plain_thresholds(logits)
    found, wanted = selector.select(scores)[0], plain.select(plain.upsample(logits, label_size), delta, PROP)
    if not torch.equal(selector.thresholds, torch.tensor(delta)) or not torch.equal(found, wanted):
        raise RuntimeError('thresholds or labels differ from those of the plain form')
    sides = {
        'thresholds and selection': (
            lambda: plain.offline_round([logits], label_size, PROP),
            lambda: thresholds(scores).select(scores),
        ),
        'the same, histogram only': (
            lambda: plain.offline_round([logits], label_size, PROP),
            lambda: thresholds(scores, histogram_only=True).select(scores),
        ),
        'thresholds': (lambda: plain_thresholds(logits), lambda: thresholds(scores)),
        'selection': (
            lambda: plain.select(plain.upsample(logits, label_size), delta, PROP),
            lambda: selector.select(scores),
        ),
    }
    rows = []
    for number, (name, functions) in enumerate(sides.items()):
        goal, note = (8, 'every threshold and every label equal') if number == 0 else (None, '')
        rows.append(Row(name, *alternate(*functions, rounds=args.rounds), at_least=goal, note=note))
    sizes = '{}x{} -> {}x{}'.format(*input_size, *label_size)
    tables = {
        f'LDBE, one image, {CLASSES} classes, {sizes}': rows,
        'HIAST, two images, {} classes, {}x{}'.format(CLASSES, *pair_size): [instance_adaptive(pair_size, args.rounds)],
        'DAF+IDA, one image, 16 classes, {}x{}'.format(*input_size): [ranking(input_size, args.rounds)],
        'Depth Distribution, one label map of {}x{}, and one class'.format(*(side // 4 for side in input_size)): [
            region_filter((input_size[0] // 4, input_size[1] // 4), args.rounds),
            mixture_fit(2000 if args.quick else 200_000, args.rounds),
        ],
    }
    text = '\n\n'.join(table(title, 'plain, ms', 'mmuda, ms', found) for title, found in tables.items())
    report('offline', args.work_dir, text)
