"""One training step beside the network passes that its algorithm cannot do without."""

import argparse
import math
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, default_collate
from mmengine.optim import build_optim_wrapper
from speed.measure import Row, alternate, has_bf16, markdown, report, table
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from mmuda.models.losses import cross_entropy
from mmuda.models.uda import UDASegmentor
from mmuda.models.uda.adversarial import frozen
from mmuda.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'

# What a transform is told in pixels.
SIZES = {
    'mmuda.PillowResize': ('scale',),
    'mmuda.WeakStrongCrop': ('size',),
    'mmuda.ShortSideRandomScaleCrop': ('short_side', 'crop'),
    'mmuda.RandomSizedCrop': ('heights', 'size'),
}

# Papers whose networks are not those of EHTDI: the stage of their MiniCity config that has a small one.
QUICK = {'daf_ida': 'daf', 'depth_distribution': 'uda'}

# How much faster a step should be with bf16, where it is not 2.2 times.
BF16 = {'ldbe_ld': 1.8, 'ldbe': 1.8}


def build(cfg: Config) -> UDASegmentor:
    """A config's model with random weights."""
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def random_batch(cfg: Config, scale: float) -> dict[str, dict[str, Any]]:
    """A batch of noise that went through the config's pipelines, all sizes times ``scale``."""
    np.random.seed(0)
    loader, classes = cfg.train_dataloader, cfg.model.student.decode_head.num_classes
    domains = {name: loader.dataset[name] for name in ('source', 'target') if loader.dataset.get(name)}
    return default_collate(
        [
            {name: _random_item(domain, scale, classes) for name, domain in domains.items()}
            for _ in range(loader.batch_size)
        ]
    )


def _random_item(domain: dict, scale: float, classes: int) -> dict[str, Any]:
    files = ('mmuda.Load', 'mmuda.HardClassCopyPaste')  # what reads them
    transforms = [dict(transform) for transform in domain['pipeline'] if not transform['type'].startswith(files)]
    width, height = 2048, 1024
    for transform in transforms:
        for key in SIZES.get(transform['type'], ()):
            transform[key] = (np.array(transform[key]) * scale).round().astype(int).tolist()
        if transform['type'] == 'mmuda.PillowResize':
            width, height = transform['scale']
    for transform in transforms:
        if transform['type'] == 'mmuda.GridSample':
            transform['size'] = [_cells(width), _cells(height)]
    item = dict(img=np.random.randint(0, 256, (height, width, 3), np.uint8), name='noise', seg_fields=[])
    item['img_shape'] = item['ori_shape'] = (height, width)
    loaded = {transform['type'] for transform in domain['pipeline']}
    for step, key, values in (('LoadLabels', 'gt_seg_map', classes), ('LoadDepth', 'gt_depth_map', 65536)):
        if f'mmuda.{step}' in loaded:
            coarse = np.random.randint(0, values, (10, 16), np.uint16 if values > 256 else np.uint8)
            item[key] = coarse[np.arange(height) * 10 // height][:, np.arange(width) * 16 // width]
            item['seg_fields'].append(key)
    return Compose(transforms)(item)


def _cells(side: int) -> int:
    """Cells of the features of stride 8 along a side, as DeepLab-v2's network rounds."""
    pooled = math.ceil((math.ceil(side / 2) - 1) / 2) + 1
    return math.ceil(pooled / 2)


@dataclass
class Pass:
    """One call of a network within a step.

    Attributes:
        network: What was called.
        image: With what (N, C, H, W): an image, or what a discriminator is shown.
        label: Random classes (N, H, W) for the cross entropy that stands for the step's losses.
        frozen: Whether the discriminator let gradients through without keeping any.
        used: Which of its outputs received a gradient.
    """

    network: Callable[[Tensor], Tensor | list[Tensor]]
    image: Tensor
    label: Tensor
    frozen: bool
    used: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        what = f'forward and backward of {len(self.used)} head(s)' if self.used else 'forward'
        return f'{"x".join(map(str, self.image.shape))} {what}'


class Step:
    """A method's training step at a share of the paper's sizes, and its network passes by themselves.

    Args:
        config: Config file below ``configs/``.
        scale: Factor on every side.
        device: ``'cpu'`` or ``'cuda'``.
        precision: ``model.precision``.
        quick: Put MiniCity's small network in the place of the paper's.
    """

    def __init__(self, config: str, scale: float, device: str, precision: str, quick: bool = False) -> None:
        cfg = Config.fromfile(CONFIGS / config)
        cfg.model.precision = precision
        if quick:
            classes, paper = cfg.model.student.decode_head.num_classes, Path(config).parts[0]
            small = {name: f'{name}/minicity_stage1_{end}.py' for name, end in QUICK.items()}
            cfg.model.student = Config.fromfile(CONFIGS / small.get(paper, 'ehtdi/minicity.py')).model.student
            for head in ('decode_head', 'auxiliary_head'):
                cfg.model.student[head].num_classes = classes
        self.batch = random_batch(cfg, scale)
        self.model = build(cfg).to(device).train()
        self.optimizer = build_optim_wrapper(self.model, cfg.optim_wrapper)
        self.passes = self._record()

    def whole(self) -> None:
        """The training step: losses, optimiser and average included."""
        self.model.train_step(self.batch, self.optimizer)

    def bare(self) -> None:
        """Its passes: forward, and backward from a plain cross entropy where the step has a gradient."""
        self.model.zero_grad()
        for one in self.passes:
            with frozen(self.model.discriminator) if one.frozen else nullcontext():
                with torch.set_grad_enabled(bool(one.used)):
                    outputs = _as_tuple(one.network(one.image))
                if one.used:
                    sum(self._loss(outputs[number], one) for number in one.used).backward()

    def _loss(self, output: Tensor, one: Pass) -> Tensor:
        """A plain loss of an output: logits, depth, or a loss already."""
        if output.dim() == 0:
            return output
        output = self.model.upsample(output, one.image)
        return cross_entropy(output, one.label) if output.shape[1] > 1 else output.mean()

    def _record(self) -> list[Pass]:
        """Run one step and note every call of the network, and which outputs a gradient comes back to."""
        passes: list[Pass] = []

        def noting(network: Callable) -> Callable:
            def noted(image: Tensor, *others: Any) -> Tensor | list[Tensor]:
                classes = self.model.student.out_channels
                label = torch.randint(0, classes, (len(image), *image.shape[-2:]), device=image.device)
                given = image.detach().requires_grad_(image.requires_grad)
                judge = getattr(self.model, 'discriminator', None)
                held = judge is not None and not next(judge.parameters()).requires_grad
                one = Pass(lambda image: network(image, *others), given, label, held)
                passes.append(one)
                output = one.network(image)
                for number, logits in enumerate(_as_tuple(output)):
                    if logits.requires_grad:
                        logits.register_hook(lambda _, number=number: one.used.append(number))
                return output

            return noted

        known = ('heads', 'main_head', 'logits_and_depth', 'three_heads', 'judge')
        names = [name for name in known if hasattr(self.model, name)]
        for name in names:
            setattr(self.model, name, noting(getattr(self.model, name)))
        self.whole()
        for name in names:
            delattr(self.model, name)
        return passes


def _as_tuple(output: Tensor | list[Tensor]) -> tuple[Tensor, ...]:
    return (output,) if isinstance(output, Tensor) else tuple(output)


def on_cpu(args: argparse.Namespace) -> str:
    """The table of ratios."""
    full, half = (Step(args.config, args.scale, 'cpu', precision, args.quick) for precision in ('fp32', 'bf16'))
    step, bare, half_step, half_bare = alternate(full.whole, full.bare, half.whole, half.bare, rounds=args.rounds)
    goal = BF16.get(args.method, 2.2)
    rows = [
        Row('fp32: whole step, bare passes', step, bare, at_most=1.05),
        Row('bf16: whole step, bare passes', half_step, half_bare),
        Row('whole step: fp32, bf16', step, half_step, at_least=goal if has_bf16() else None),
    ]
    return '\n\n'.join([table(_heading(args, full), 'first, ms', 'second, ms', rows), _passes(full)])


def on_gpu(args: argparse.Namespace) -> str:
    """The table of times, memory, synchronisations and launches."""
    lines = [['', 'median, ms', '90 %, ms', 'memory, GB', 'synchronisations', 'launches of the average']]
    for precision in ('fp32', 'bf16'):
        step = Step(args.config, args.scale, 'cuda', precision, args.quick)
        step.batch = {name: _pinned(batch) for name, batch in step.batch.items()}
        teacher = step.model.teacher
        launches = '' if teacher is None else _launches(partial(teacher.update, step.model.student))
        for name, function, more in (('whole step', step.whole, f'{launches}'), ('bare passes', step.bare, '')):
            lines.append([f'{precision}: {name}', *_time(function), f'{_synchronisations(function)}', more])
    return '\n\n'.join([markdown(_heading(args, step), *lines), _passes(step)])


def _heading(args: argparse.Namespace, step: Step) -> str:
    return f"{args.method}, {args.scale:g} of the paper's image sides, batch {len(step.passes[0].image)}"


def _passes(step: Step) -> str:
    return '\n'.join(['passes:', *(f'  {one}' for one in step.passes)])


def _pinned(batch: dict[str, Any]) -> dict[str, Any]:
    return {key: value.pin_memory() if isinstance(value, Tensor) else value for key, value in batch.items()}


def _time(function: Callable[[], None], warm_up: int = 20, steps: int = 100) -> list[str]:
    """Median and ninth decile of the milliseconds by CUDA events, and the peak of allocated memory in GB."""
    for _ in range(warm_up):
        function()
    torch.cuda.reset_peak_memory_stats()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
    events[0].record()
    for event in events[1:]:
        function()
        event.record()
    torch.cuda.synchronize()
    taken = [start.elapsed_time(end) for start, end in pairwise(events)]
    return [
        f'{median(taken):.1f}',
        f'{quantiles(taken, n=10)[-1]:.1f}',
        f'{torch.cuda.max_memory_allocated() / 1e9:.2f}',
    ]


def _synchronisations(function: Callable[[], None]) -> int:
    """How often the host waits for the device."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        torch.cuda.set_sync_debug_mode('warn')
        try:
            function()
        finally:
            torch.cuda.set_sync_debug_mode('default')
    return sum('called a synchronizing' in str(warning.message) for warning in caught)


def _launches(function: Callable[[], None]) -> int:
    """How many kernels are launched."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        function()
        torch.cuda.synchronize()
    return sum(event.count for event in profiler.key_averages() if 'LaunchKernel' in event.key)


def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    gpu = torch.cuda.is_available()
    args.scale = args.scale or (1 / 16 if args.quick else 1.0 if gpu else 0.25)
    report(f'step_{args.method}', args.work_dir, (on_gpu if gpu else on_cpu)(args))
