"""Pictures of what networks make of data.

python tools/plot.py tsne configs/depth_distribution/minicity_stage1_uda.py --out tsne.png \
    source-only=configs/baselines/minicity_source.py:RUN uda=configs/depth_distribution/minicity_stage1_uda.py:RUN

``tsne`` lays out, network by network, cells of source and target images by what an adversarial method aligns: the
self-information of each class, times the density where a network predicts it (the joint space of Depth Distribution).
Domains that a network does not tell apart lie upon each other.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from mmuda.datasets.base import DomainDataset
from mmuda.engine.recipe import RecipeError, find_checkpoint, prepare_data
from mmuda.models.losses import self_information
from mmuda.models.uda import UDASegmentor
from mmuda.offline.predictions import load_model, prepared, target_images
from mmuda.registry import DATASETS
from mmuda.utils.command_line import choose_data_root
from mmuda.utils.files import write_whole
from mmuda.utils.pictures import encode
from mmuda.utils.tsne import tsne

SIDE, MARGIN, LINE = 480, 20, 30  # pixels of a panel, around its points, of its title
DOMAINS = {'source': (180, 119, 31), 'target': (14, 127, 255)}  # BGR


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest='kind', required=True)
    plane = kinds.add_parser('tsne', help='cells of both domains on a plane, network by network')
    plane.add_argument('config', help='config of the data, with a source and a target')
    plane.add_argument('networks', nargs='+', metavar='NAME=CONFIG:CHECKPOINT', help='a checkpoint, or a run')
    plane.add_argument('--out', type=Path, required=True, help='PNG file to write')
    plane.add_argument('--images', type=int, default=20, help='of each domain, evenly spread')
    plane.add_argument('--cells', type=int, default=30, help='of each image, evenly spread')
    plane.add_argument('--which', choices=['last', 'best'], default='last', help='which checkpoint of a run folder')
    plane.add_argument('--data-root', help='folder that holds the data sets (or set MMUDA_DATA)')
    return parser.parse_args()


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
    for batch in prepared(model.eval(), dataset, chosen, num_workers=0):
        features = network.extract_feat(batch['inputs'])
        seen = self_information(network.decode_head(features).float())  # (1, C, h, w)
        if hasattr(network, 'density_head'):
            seen = seen * network.density_head(features).float()
        flat = seen[0].flatten(1).T  # (h * w, C)
        rows.append(flat[torch.linspace(0, len(flat) - 1, min(cells, len(flat)), device=flat.device).round().long()])
    return torch.cat(rows).cpu().numpy()


def panel(title: str, place: np.ndarray, domains: np.ndarray) -> np.ndarray:
    """A network's plane: BGR uint8 (LINE + SIDE, SIDE, 3)."""
    picture = np.full((LINE + SIDE, SIDE, 3), 255, np.uint8)
    low, high = place.min(0), place.max(0)
    pixels = MARGIN + (place - low) / np.maximum(high - low, 1e-12) * (SIDE - 2 * MARGIN)
    colours = list(DOMAINS.values())
    for (x, y), domain in zip(pixels.round().astype(int).tolist(), domains.tolist(), strict=True):
        cv2.circle(picture, (x, LINE + y), 3, colours[domain], -1, cv2.LINE_AA)
    cv2.putText(picture, title, (MARGIN, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
    for number, (name, colour) in enumerate(DOMAINS.items()):
        where = (SIDE - 160 + 80 * number, 20)
        cv2.putText(picture, name, where, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
    return picture


def plot_tsne(args: argparse.Namespace) -> None:
    """Write a panel for each network, side by side."""
    data = Config.fromfile(args.config)
    init_default_scope(data.default_scope)
    prepare_data(data)
    datasets, panels = (source_images(data), target_images(data)), []
    for text in args.networks:
        name, _, run = text.partition('=')
        config, _, checkpoint = run.partition(':')
        if not (name and config and checkpoint):
            raise ValueError(f'{text} is not of the form NAME=CONFIG:CHECKPOINT')
        cfg = Config.fromfile(config)
        model = load_model(cfg, find_checkpoint(checkpoint, cfg, args.which))
        found = [joint_features(model, dataset, args.images, args.cells) for dataset in datasets]
        domains = np.repeat([0, 1], [len(features) for features in found])
        panels.append(panel(name, tsne(np.concatenate(found)), domains))
    write_whole(args.out, encode(np.hstack(panels)))
    print(f'written: {args.out}')


def main() -> None:
    """Run it."""
    args = parse_args()
    choose_data_root(args.data_root)
    MMLogger.get_current_instance().setLevel('WARNING')  # MMEngine tells of every config that it reads
    try:
        plot_tsne(args)
    except (RecipeError, OSError, ValueError) as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
