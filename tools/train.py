"""Train a config: every stage of its recipe, in order.

python tools/train.py configs/ehtdi/minicity.py
python tools/train.py configs/ehtdi/gta2city.py --data-root data --init source=GTA5_source.pth
python tools/train.py configs/ehtdi/gta2city.py --resume
python tools/train.py configs/ehtdi/minicity.py --seeds 0 1 2
python tools/train.py configs/ehtdi/gta2city.py --estimate     # hours, memory and disk, from a few steps of each stage
bash tools/dist_train.sh configs/ehtdi/gta2city.py 4     # on 4 GPUs, or as 4 processes on a CPU
"""

import argparse
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmengine.dist import is_main_process

from mmuda.engine.estimate import cost_table, estimate
from mmuda.engine.recipe import Recipe, seed_table
from mmuda.utils.command_line import add_cfg_options, add_run_options, running


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=Path, help='config file')
    parser.add_argument('--work-dir', type=Path, help='folder of the run; work_dirs/<paper>/<config> by default')
    parser.add_argument('--resume', action='store_true', help='go on where the run stopped')
    parser.add_argument('--dry-run', action='store_true', help='print the stages and what would be done, then stop')
    parser.add_argument(
        '--estimate',
        action='store_true',
        help='time a few steps of every stage that is to do, print what they would cost in all, then stop',
    )
    parser.add_argument('--from-stage', metavar='STAGE', help='first stage; those before it have to be done')
    parser.add_argument('--until-stage', metavar='STAGE', help='last stage')
    parser.add_argument(
        '--init',
        nargs='+',
        default=[],
        metavar='STAGE=FILE|FOLDER',
        help="use a checkpoint, or an offline stage's folder, in place of a stage",
    )
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument('--seed', type=int, help='seed of the run')
    seeds.add_argument('--seeds', type=int, nargs='+', help='run once per seed, in <work dir>/seed<k>')
    add_cfg_options(parser, 'override settings: k=v for every stage that has k, STAGE:k=v for one')
    add_run_options(parser)
    args = parser.parse_args()
    if args.estimate and args.seeds:
        parser.error('--estimate is about one run: leave out --seeds')
    for item in args.init:
        if '=' not in item:
            parser.error(f'--init {item}: write STAGE=FILE')
    return args


def main() -> None:
    """Run it."""
    args = parse_args()
    init = dict(item.split('=', 1) for item in args.init)
    how = {'precision': args.amp, 'resume': args.resume, 'from_stage': args.from_stage, 'until_stage': args.until_stage}
    work_dir = args.work_dir or Path('work_dirs', args.config.resolve().parent.name, args.config.stem)
    folders = {seed: work_dir / f'seed{seed}' for seed in args.seeds} if args.seeds else {args.seed: work_dir}
    with running(args):
        recipes = [
            Recipe.load(args.config, folder, options=args.cfg_options, init=init, seed=seed, **how)
            for seed, folder in folders.items()
        ]
        if args.estimate:
            before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # the folder is to go
            try:
                costs = estimate(recipes[0])
            finally:
                signal.signal(signal.SIGTERM, before)
            if is_main_process():
                print(cost_table(recipes[0], costs))
            return
        for recipe in recipes:
            if not args.dry_run:
                recipe.run()
            elif is_main_process():
                print(recipe.table())
        if args.seeds and not args.dry_run and is_main_process():
            print(seed_table(recipes))


if __name__ == '__main__':
    main()
