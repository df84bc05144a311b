"""Pictures of runs, and of what networks make of data.

python tools/plot.py curves work_dirs/ehtdi/minicity advent=work_dirs/advent/minicity --out curves.png
python tools/plot.py bars source=RUN/00_source uda=RUN tested=work_dirs/test/DATE/DATE.json --out bars.png
python tools/plot.py confusion configs/ehtdi/minicity.py work_dirs/ehtdi/minicity --out confusion.png
python tools/plot.py tsne configs/depth_distribution/minicity_stage1_uda.py --out tsne.png \\
    source-only=configs/baselines/minicity_source.py:RUN uda=configs/depth_distribution/minicity_stage1_uda.py:RUN

A run is its folder, whose stage that trained last is shown, or the folder of one of its stages.

``curves`` draws the validation's mIoU and every loss that was logged, a panel each, run by run.
``bars`` draws the IoU of each class by the last validation of each run, or by the JSON file that tools/test.py leaves
in its work_dir; all of the same classes.
``confusion`` shows for what a checkpoint takes the pixels of each true class of the validation set.
``tsne`` lays out, network by network, cells of source and target images by what an adversarial method aligns: the
self-information of each class, times the density where a network predicts it (the joint space of Depth Distribution).
Domains that a network does not tell apart lie upon each other.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmuda.datasets.base import DomainDataset
from mmuda.engine.recipe import find_checkpoint, prepare_data
from mmuda.evaluation import SubsetIoUMetric
from mmuda.models.losses import self_information
from mmuda.models.uda import UDASegmentor
from mmuda.offline.predictions import prepared, target_images
from mmuda.registry import DATASETS
from mmuda.utils import charts, logs
from mmuda.utils.command_line import add_data_root, add_network, add_which, named_network, quiet, read_config, running
from mmuda.utils.files import write_whole
from mmuda.utils.inference import load_model
from mmuda.utils.tsne import tsne


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest='kind', required=True)

    lines = kinds.add_parser('curves', help='losses and validation scores over the iterations, run by run')
    lines.add_argument('runs', nargs='+', metavar='[NAME=]RUN', help='folder of a run or of one of its stages')
    lines.add_argument('--metric', default='mIoU', help="of the validation, e.g. mIoU16; single classes' are IoU.car")

    bars = kinds.add_parser('bars', help='IoU of each class, run by run')
    bars.add_argument('runs', nargs='+', metavar='[NAME=]RUN', help='the same, or the JSON file of a test')

    confusion = kinds.add_parser('confusion', help="the true classes' pixels by what they are taken for")
    add_network(confusion)

    plane = kinds.add_parser('tsne', help='cells of both domains on a plane, network by network')
    plane.add_argument('config', help='config of the data, with a source and a target')
    plane.add_argument(
        'networks', nargs='+', type=named_network, metavar='NAME=CONFIG:CHECKPOINT', help='a checkpoint, or a run'
    )
    plane.add_argument('--images', type=int, default=20, help='of each domain, evenly spread')
    plane.add_argument('--cells', type=int, default=30, help='of each image, evenly spread')
    add_which(plane)

    for kind in (confusion, plane):
        add_data_root(kind)
    for kind in (lines, bars, confusion, plane):
        kind.add_argument('--out', type=Path, required=True, help='PNG file to write')
    return parser.parse_args()


def plot_curves(args: argparse.Namespace) -> Figure:
    """Panels of losses and scores."""
    return charts.curves({name: logs.curves(run, args.metric) for name, run in named_runs(args)})


def plot_bars(args: argparse.Namespace) -> Figure:
    """Bars for each class."""
    runs = {name: logs.class_scores(run) for name, run in named_runs(args)}
    classes = next(iter(runs.values())).keys()
    if other := [name for name, values in runs.items() if values.keys() != classes]:
        raise ValueError(f'{other[0]} has other classes than {next(iter(runs))}: draw them apart')
    return charts.bars(runs, 'IoU in percent')


def named_runs(args: argparse.Namespace) -> list[tuple[str, Path]]:
    """The runs of the command line."""
    runs = [logs.named_run(text) for text in args.runs]
    names = [name for name, _ in runs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f'two runs are named {twice[0]}: give them names of their own by NAME=RUN')
    return runs


def plot_confusion(args: argparse.Namespace) -> Figure:
    """The confusion matrix of the validation."""
    cfg = read_config(args.config)
    init_default_scope(cfg.default_scope)
    checkpoint = find_checkpoint(args.checkpoint, cfg, args.which)
    prepare_data(cfg)
    matrix, classes = count_validation(load_model(cfg, checkpoint).to(get_device()), cfg)
    return charts.confusion(matrix, classes)


@torch.no_grad()
def count_validation(model: UDASegmentor, cfg: Config) -> tuple[np.ndarray, tuple[str, ...]]:
    """The pixels of the validation set by true and predicted class, (C, C), and the classes' names."""
    loader, metric = Runner.build_dataloader(cfg.val_dataloader), SubsetIoUMetric()
    metric.dataset_meta = loader.dataset.metainfo
    for batch in loader:
        metric.process(batch, [sample.to_dict() for sample in model.test_step(batch)])
    return sum(counted for counted, _ in metric.results).numpy(), metric.dataset_meta['classes']


def source_images(cfg: Config) -> DomainDataset:
    """The images of a config's source training set as its ``test_pipeline`` prepares them."""
    source = cfg.train_dataloader.dataset.get('source')
    if source is None:
        raise ValueError(f'{cfg.filename}: train_dataloader.dataset has no source; take a config that has one')
    changes = dict(with_labels=False, with_depth=False, pipeline=cfg.test_pipeline, test_mode=True)
    return DATASETS.build(dict(source) | changes)


@torch.no_grad()
def joint_features(model: UDASegmentor, dataset: DomainDataset, images: int, cells: int) -> np.ndarray:
    """What an adversarial method aligns, at some cells of some images: (n, C)."""
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(images, len(dataset))).round().astype(int)).tolist()
    network, rows = model.network, []
    for batch in prepared(model, dataset, chosen, num_workers=0):
        features = network.extract_feat(batch['inputs'])
        seen = self_information(network.decode_head(features).float())  # (1, C, h, w)
        if hasattr(network, 'density_head'):
            seen = seen * network.density_head(features).float()
        flat = seen[0].flatten(1).T  # (h * w, C)
        rows.append(flat[torch.linspace(0, len(flat) - 1, min(cells, len(flat)), device=flat.device).round().long()])
    return torch.cat(rows).cpu().numpy()


def plot_tsne(args: argparse.Namespace) -> Figure:
    """A panel for each network, side by side."""
    data = read_config(args.config)
    init_default_scope(data.default_scope)
    prepare_data(data)
    datasets, panels = {'source': source_images(data), 'target': target_images(data)}, {}
    for name, config, checkpoint in args.networks:
        cfg = read_config(config)
        model = load_model(cfg, find_checkpoint(checkpoint, cfg, args.which)).to(get_device())
        found = [joint_features(model, dataset, args.images, args.cells) for dataset in datasets.values()]
        places = np.split(tsne(np.concatenate(found)), [len(found[0])])
        panels[name] = dict(zip(datasets, places, strict=True))
    return charts.clusters(panels)


PLOTS = {'curves': plot_curves, 'bars': plot_bars, 'confusion': plot_confusion, 'tsne': plot_tsne}


def main() -> None:
    """Run it."""
    args = parse_args()
    quiet()
    with running(args):
        write_whole(args.out, charts.png(PLOTS[args.kind](args)))
    print(f'written: {args.out}')


if __name__ == '__main__':
    main()
