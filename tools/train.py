"""Train a config: every stage of its recipe, in order.

python tools/train.py configs/ehtdi/minicity.py
python tools/train.py configs/ehtdi/gta2city.py --data-root data --init source=GTA5_source.pth
python tools/train.py configs/ehtdi/gta2city.py --resume
bash tools/dist_train.sh configs/ehtdi/gta2city.py 4     # on 4 GPUs, or as 4 processes on a CPU
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmengine.config import DictAction

from mmuda.engine.recipe import Recipe
from mmuda.utils.command_line import add_run_options, running


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder of the run; work_dirs/<paper>/<config> by default')
    parser.add_argument('--resume', action='store_true', help='go on where the run stopped')
    parser.add_argument('--dry-run', action='store_true', help='print the stages and what would be done, then stop')
    parser.add_argument(
        '--init', nargs='+', default=[], metavar='STAGE=FILE', help='use a checkpoint in place of a stage'
    )
    parser.add_argument('--seed', type=int, help='seed of the run')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='K=V',
        help='override settings: k=v for every stage that has k, STAGE:k=v for one',
    )
    add_run_options(parser)
    args = parser.parse_args()
    for item in args.init:
        if '=' not in item:
            parser.error(f'--init {item}: write STAGE=FILE')
    return args


def main() -> None:
    """Run it."""
    args = parse_args()
    options = args.cfg_options | ({'model.precision': args.amp} if args.amp else {})
    init = dict(item.split('=', 1) for item in args.init)
    with running(args):
        recipe = Recipe.load(args.config, args.work_dir, options=options, init=init, seed=args.seed, resume=args.resume)
        if args.dry_run:
            print(recipe.table())
        else:
            recipe.run()


if __name__ == '__main__':
    main()
