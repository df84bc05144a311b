"""Score a checkpoint, and write masks or pictures.

python tools/test.py configs/ehtdi/minicity.py work_dirs/ehtdi/minicity
python tools/test.py configs/ehtdi/gta2city.py best.pth --score-at labels --tta --out masks/ --show-dir pictures/
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmengine.config import Config
from mmengine.runner import Runner

from mmuda.engine.recipe import find_checkpoint, prepare_data
from mmuda.utils.command_line import add_cfg_options, add_network, add_run_options, read_config, running


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_network(parser)
    parser.add_argument('--work-dir', help='folder of the log; beside the checkpoint by default')
    parser.add_argument(
        '--tta',
        action='store_true',
        help='average over flips and scales (tta_pipeline of the config); scored at label resolution',
    )
    parser.add_argument(
        '--score-at',
        choices=['config', 'labels', 'network'],
        default='config',
        help="at label resolution, or labels resized to the network's input; the config's choice by default",
    )
    parser.add_argument(
        '--depth', action='store_true', help='also score the predicted depth, on data with depth maps: MiniCity'
    )
    parser.add_argument('--out', help='folder for the predicted masks, PNG of train ids')
    parser.add_argument('--show-dir', help='folder for pictures of image and prediction')
    add_cfg_options(parser)
    add_run_options(parser)
    args = parser.parse_args()
    if args.tta and args.score_at == 'network':
        parser.error('--tta has no single network resolution to score at: leave --score-at out')
    if args.tta and args.depth:
        parser.error('--tta averages labels only: leave --depth out')
    return args


def score_at(cfg: Config, where: str) -> None:
    """Choose the resolution of the labels that are scored."""
    kinds = ('mmuda.PillowResize', 'mmuda.FitPad')
    transforms = [t for t in cfg.test_dataloader.dataset.pipeline if t['type'] in kinds]
    if not transforms:
        raise ValueError(f'--score-at needs one of {", ".join(kinds)} in test_dataloader.dataset.pipeline')
    for transform in transforms:
        transform['labels'] = where == 'network'


def score_depth(cfg: Config) -> None:
    """Have depth predicted, loaded and scored."""
    cfg.model.predict_depth = True
    dataset = cfg.test_dataloader.dataset
    dataset.with_depth = True
    dataset.pipeline.insert(1, dict(type='mmuda.LoadDepth'))  # after the image
    cfg.test_evaluator = [cfg.test_evaluator, dict(type='mmuda.InverseDepthMetric')]


def build_config(args: argparse.Namespace) -> Config:
    """The config with what the command line asks for."""
    cfg = read_config(args.config, args.cfg_options)
    checkpoint = find_checkpoint(args.checkpoint, cfg, args.which)
    cfg.load_from = str(checkpoint)
    cfg.launcher = args.launcher
    if args.amp:
        cfg.model.precision = args.amp
    cfg.work_dir = args.work_dir or str(checkpoint.parent / 'test')
    if args.score_at != 'config':
        score_at(cfg, args.score_at)
    if args.tta:
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
        cfg.tta_model.module = cfg.model
        cfg.model = cfg.tta_model
    if args.out:
        cfg.test_evaluator.output_dir = args.out
    if args.depth:
        score_depth(cfg)
    if args.show_dir:
        cfg.default_hooks.visualization = dict(type='SegVisualizationHook', draw=True, interval=1)
        cfg.visualizer.save_dir = args.show_dir
    return cfg


def main() -> None:
    """Run it."""
    args = parse_args()
    with running(args):
        cfg = build_config(args)
        prepare_data(cfg)
        Runner.from_cfg(cfg).test()


if __name__ == '__main__':
    main()
