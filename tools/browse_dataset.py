"""Draw what the network will see: both domains after their transforms, and what the method makes of them.

python tools/browse_dataset.py configs/ehtdi/minicity.py --out sheet.png
python tools/browse_dataset.py configs/ehtdi/minicity.py work_dirs/ehtdi/minicity/00_source --out sheet.png
python tools/browse_dataset.py configs/ldbe/minicity.py --label-dir work_dirs/ldbe/minicity/03_be_labels --out sheet.png
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmengine.config import Config

from mmuda.engine.recipe import find_checkpoint, prepare_data
from mmuda.registry import DATASETS
from mmuda.utils.browse import browse
from mmuda.utils.command_line import add_cfg_options, add_data_root, add_which, quiet, read_config, running
from mmuda.utils.files import write_whole
from mmuda.utils.inference import load_model
from mmuda.utils.pictures import encode, sheet


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='weights, or the folder of a run: draw mixes, pseudo-labels and predictions of a training step, too',
    )
    parser.add_argument('--out', type=Path, required=True, metavar='FILE', help='the sheet, a PNG')
    parser.add_argument('--count', type=int, default=4, help='number of rows')
    add_which(parser)
    parser.add_argument('--label-dir', help='folder of pseudo-labels for the target')
    add_data_root(parser)
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.count < 1:
        parser.error('--count has to be 1 or more')
    return args


def read_labels(cfg: Config, label_dir: str) -> None:
    """Give the target pseudo-labels."""
    target = cfg.train_dataloader.dataset.get('target')
    if target is None or not any(step['type'] == 'mmuda.LoadLabels' for step in target.pipeline):
        raise ValueError(f'--label-dir: {cfg.filename} loads no labels of the target; choose a config that learns them')
    target.label_dir = label_dir


def main() -> None:
    """Draw the sheet."""
    args = parse_args()
    quiet()
    with running(args):
        cfg = read_config(args.config, args.cfg_options)
        if args.label_dir:
            read_labels(cfg, args.label_dir)
        prepare_data(cfg)
        model = None
        if args.checkpoint:
            model = load_model(cfg, find_checkpoint(args.checkpoint, cfg, args.which))
        rows = list(browse(cfg, args.count, model))
        meta = DATASETS.build(cfg.train_dataloader.dataset).metainfo
        write_whole(args.out, encode(sheet(rows, meta, height=128)))
    print(f'{len(rows)} sample(s) in {args.out}')


if __name__ == '__main__':
    main()
