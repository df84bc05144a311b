"""Draw what the network will see: both domains after their transforms, and what the method makes of them.

python tools/browse_dataset.py configs/ehtdi/minicity.py --out sheet.png
python tools/browse_dataset.py configs/ehtdi/minicity.py work_dirs/ehtdi/minicity/00_source --out sheet.png
python tools/browse_dataset.py configs/ldbe/minicity.py --label-dir work_dirs/ldbe/minicity/03_be_labels --out sheet.png
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger

from mmuda.engine.recipe import RecipeError, find_checkpoint, prepare_data
from mmuda.registry import DATASETS
from mmuda.utils.browse import browse
from mmuda.utils.command_line import choose_data_root
from mmuda.utils.files import write_whole
from mmuda.utils.inference import Predictor
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
    parser.add_argument('--which', choices=['last', 'best'], default='last', help='which checkpoint of a run folder')
    parser.add_argument('--label-dir', help='folder of pseudo-labels for the target')
    parser.add_argument('--data-root', help='folder that holds the data sets (or set MMUDA_DATA)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='K=V')
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
    choose_data_root(args.data_root)
    MMLogger.get_current_instance().setLevel('WARNING')  # MMEngine tells of every config that it reads
    try:
        cfg = Config.fromfile(args.config)
        cfg.merge_from_dict(args.cfg_options)
        if args.label_dir:
            read_labels(cfg, args.label_dir)
        prepare_data(cfg)
        model = None
        if args.checkpoint:
            model = Predictor(cfg, find_checkpoint(args.checkpoint, cfg, args.which)).model
        rows = list(browse(cfg, args.count, model))
        meta = DATASETS.build(cfg.train_dataloader.dataset).metainfo
        write_whole(args.out, encode(sheet(rows, meta, height=128)))
    except (RecipeError, OSError, ValueError) as error:
        sys.exit(f'error: {error}')
    print(f'{len(rows)} sample(s) in {args.out}')


if __name__ == '__main__':
    main()
