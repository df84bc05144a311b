"""An offline step by itself.

python tools/offline.py pseudo-labels configs/ehtdi/minicity.py last.pth --out labels
python tools/offline.py pseudo-labels CONFIG last.pth --out labels --selector type=GlobalLocal prop=0.1 --bn-mode batch
python tools/offline.py compare configs/ehtdi/minicity.py last.pth --out comparison --study-labels
python tools/offline.py compare CONFIG last.pth --out comparison \\
    --selector type=FixedThreshold threshold=0.8 --selector type=GlobalLocal prop=0.1
python tools/offline.py rank configs/daf_ida/minicity_stage2_isl.py last.pth --out ranking --ratio 0.66
python tools/offline.py class-stats CONFIG --out stats --domain target --label-dir labels
python tools/offline.py fit-density configs/depth_distribution/minicity_stage1_uda.py --out mixtures
python tools/offline.py density configs/depth_distribution/synthia2city_16_stage1_uda.py --mixtures 16 --out maps
python tools/offline.py cache CONFIG --out FOLDER --format raw     # then train_dataloader.dataset.target.cache=FOLDER
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmengine.config import Config
from mmengine.dist import is_main_process

from mmuda.datasets.cache import FORMATS, build_cache
from mmuda.engine.recipe import Recipe, find_checkpoint, prepare_data
from mmuda.models.density import PUBLISHED
from mmuda.offline import (
    RULES,
    SELECTORS,
    class_statistics,
    compare_selectors,
    comparison_table,
    fit_density,
    rank_images,
    write_density_maps,
    write_pseudo_labels,
)
from mmuda.utils.command_line import (
    KeyValues,
    add_cfg_options,
    add_data_root,
    add_launcher,
    add_network,
    add_run_options,
    read_config,
    running,
)


class EachTime(KeyValues):
    """A list with a dictionary for each time that an option is given."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *values: Any) -> None:
        """See argparse."""
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, {})
        super().__call__(parser, namespace, *values)
        setattr(namespace, self.dest, [*before, getattr(namespace, self.dest)])


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest='step', required=True)

    labels = steps.add_parser(
        'pseudo-labels', help="label the target's training images with a checkpoint's predictions"
    )
    labels.set_defaults(run=run_pseudo_labels)
    add_network(labels)
    labels.add_argument(
        '--selector',
        nargs='+',
        action=KeyValues,
        default={'type': 'FixedThreshold'},
        metavar='K=V',
        help=f'type={"|".join(SELECTORS)} and its settings, see mmuda/offline/selectors.py',
    )
    labels.add_argument('--keep-scores', action='store_true', help='keep the cache of scores')

    compare = steps.add_parser(
        'compare',
        help='compare the pseudo-labels of several selectors',
        description=f"""Say how much each selector would select of a checkpoint's predictions on the target's training
        images and, if asked to study their labels, how much of it is right. Prints two tables; writes comparison.json,
        comparison.png (label maps of some images) and scores/, so that further selectors cost no forward pass (2 GB
        for Cityscapes; delete it when done). Without --selector: {'; '.join(map(str, RULES))}""",
    )
    compare.set_defaults(run=run_compare)
    add_network(compare)
    compare.add_argument(
        '--selector',
        nargs='+',
        action=EachTime,
        dest='selectors',
        default=[],
        metavar='K=V',
        help='as for pseudo-labels; once for each that is compared',
    )
    compare.add_argument(
        '--study-labels',
        action='store_true',
        help="read the labels of the target's training images, which no training may, to say what is right",
    )
    compare.add_argument('--images', type=int, default=4, help='number of images in the picture, evenly spread')

    rank = steps.add_parser('rank', help="rank and label the target's training images with a network that sees depth")
    rank.set_defaults(run=run_rank)
    add_network(rank)
    rank.add_argument('--ratio', type=float, default=0.66, help='share of the images that is easy')
    rank.add_argument('--easy-list', metavar='FILE', help='list of the easy images, in place of their share')
    rank.add_argument(
        '--rare-classes',
        nargs='+',
        type=int,
        metavar='ID',
        help='weight the scores: an image that shows many of these classes is easier',
    )

    stats = steps.add_parser('class-stats', help='count the classes of a training set, image by image')
    stats.set_defaults(run=run_class_stats)
    stats.add_argument('config', help='config file')
    stats.add_argument('--domain', choices=['source', 'target'], default='source')
    stats.add_argument('--label-dir', help="folder of pseudo-labels to count instead of the data set's own labels")

    fit = steps.add_parser('fit-density', help="fit the classes' mixtures over place and depth to the source")
    fit.set_defaults(run=run_fit_density)
    fit.add_argument('config', help='config file, whose source pipeline has LoadDepth and GridSample')
    fit.add_argument('--components', type=int, default=5, help='of a mixture')
    fit.add_argument('--images', type=int, default=1000, help='number of images, evenly spread')
    fit.add_argument('--pixels', type=int, default=200_000, help='of a class, at most so many cells')

    maps = steps.add_parser('density', help="write the maps of the source's density; training needs none")
    maps.set_defaults(run=run_density)
    maps.add_argument('config', help='config file, whose source pipeline has LoadDepth and GridSample')
    maps.add_argument(
        '--mixtures', required=True, help=f'{", ".join(PUBLISHED)}, or the mixtures.json that fit-density wrote'
    )

    cache = steps.add_parser(
        'cache', help='decode and resize the training images of all stages once (needs the package lmdb)'
    )
    cache.set_defaults(run=run_cache)
    cache.add_argument('config', help='config file')
    cache.add_argument('--format', choices=FORMATS, default='lossless', help='fastest to read, or smaller')

    for step in (labels, compare):
        step.add_argument(
            '--bn-mode',
            choices=['running', 'batch'],
            default='running',
            help="normalise by the running statistics or by each image's own (LDBE)",
        )
    for step in (labels, compare, rank, stats, fit, maps, cache):
        step.add_argument('--out', required=True, help='folder of the result')
        step.add_argument('--num-workers', type=int, default=2, help='processes that load files')
        add_cfg_options(step)
    for step in (labels, compare, rank):
        add_run_options(step)
    for step in (fit, maps):  # one process works, the others wait
        add_data_root(step)
        add_launcher(step)
    for step in (stats, cache):  # of one process
        add_data_root(step)
    return parser.parse_args()


def read(args: argparse.Namespace) -> Config:
    """The config; the MiniCity that it may ask for is there."""
    cfg = read_config(args.config, args.cfg_options)
    prepare_data(cfg)
    return cfg


def read_network(args: argparse.Namespace) -> tuple[Config, Path]:
    """The same, and a checkpoint of its network."""
    cfg = read_config(args.config, args.cfg_options)
    if args.amp:
        cfg.model.precision = args.amp
    checkpoint = find_checkpoint(args.checkpoint, cfg, args.which)
    prepare_data(cfg)
    return cfg, checkpoint


def settings(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Some of the options by their names, and the number of workers."""
    return {name: getattr(args, name) for name in (*names, 'num_workers')}


def run_pseudo_labels(args: argparse.Namespace) -> None:
    """Label the target."""
    write_pseudo_labels(*read_network(args), args.out, args.selector, **settings(args, 'bn_mode', 'keep_scores'))


def run_compare(args: argparse.Namespace) -> None:
    """Set selectors beside each other."""
    options = settings(args, 'study_labels', 'bn_mode', 'images')
    found = compare_selectors(*read_network(args), args.out, args.selectors or RULES, **options)
    if is_main_process():
        print(comparison_table(found))


def run_rank(args: argparse.Namespace) -> None:
    """Rank and label the target."""
    rank_images(*read_network(args), args.out, **settings(args, 'ratio', 'easy_list', 'rare_classes'))


def run_class_stats(args: argparse.Namespace) -> None:
    """Count classes."""
    class_statistics(read(args), args.out, **settings(args, 'domain', 'label_dir'))


def run_fit_density(args: argparse.Namespace) -> None:
    """Fit mixtures."""
    fit_density(read(args), args.out, **settings(args, 'components', 'images', 'pixels'))


def run_density(args: argparse.Namespace) -> None:
    """Write maps."""
    write_density_maps(read(args), args.out, args.mixtures, **settings(args))


def run_cache(args: argparse.Namespace) -> None:
    """Fill the cache."""
    cfgs = [stage.cfg for stage in Recipe.load(args.config, 'work_dirs', options=args.cfg_options).stages]
    prepare_data(cfgs[0])
    added = sum(build_cache(cfg, args.out, fmt=args.format, num_workers=args.num_workers) for cfg in cfgs)
    print(f'{args.out}: {added} images added')


def main() -> None:
    """Run the step."""
    args = parse_args()
    with running(args):
        args.run(args)


if __name__ == '__main__':
    main()
