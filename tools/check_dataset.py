"""Is the data of a config complete and sane? Opens every file of every stage's data sets once.

python tools/check_dataset.py configs/ehtdi/gta2city.py --data-root DATA
python tools/check_dataset.py CONFIG --json report.json --class-stats stats    # beside it, what class-stats counts
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmuda.datasets.check import check, report_text
from mmuda.engine.recipe import Recipe, prepare_data
from mmuda.offline.class_stats import write_statistics
from mmuda.utils.command_line import add_cfg_options, add_data_root, running
from mmuda.utils.files import write_whole


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=Path, help='config file')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the report there, too')
    parser.add_argument(
        '--class-stats',
        type=Path,
        metavar='FOLDER',
        help='write what `tools/offline.py class-stats` does, from the labels that were read, to FOLDER/<domain>',
    )
    parser.add_argument('--num-workers', type=int, default=4, help='processes that read files')
    add_data_root(parser)
    add_cfg_options(parser)
    return parser.parse_args()


def main() -> None:
    """Check; the exit status is 1 if there is an error."""
    args = parse_args()
    with running(args):
        cfgs = [stage.cfg for stage in Recipe.load(args.config, 'work_dirs', options=args.cfg_options).stages]
        for cfg in cfgs:
            prepare_data(cfg)
        found = check(cfgs, args.num_workers)
        if args.json:
            write_whole(args.json, json.dumps([checked.as_json() for checked in found], indent=2))
        if args.class_stats:
            for checked in found:
                if checked.role in ('source', 'target') and checked.counts is not None:
                    folder = args.class_stats / checked.role
                    write_statistics(folder, checked.names, checked.counts, list(checked.classes), checked.role)
    print(report_text(found))
    sys.exit(any(checked.errors for checked in found))


if __name__ == '__main__':
    main()
