"""Write a MiniCity, generated street scenes in the layouts of the real data sets, or a sheet of pictures of one."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmuda import minicity
from mmuda.minicity.sheets import encode


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, help='folder for GTA5/, cityscapes/ ... (the data root of a config)')
    parser.add_argument('--seed', type=int, default=0, help='another number is another city')
    parser.add_argument(
        '--shift', choices=minicity.SHIFTS, default='medium', help='how far the target is from the source'
    )
    parser.add_argument(
        '--layouts',
        nargs='+',
        choices=minicity.LAYOUTS,
        default=['gta5', 'cityscapes'],
        help='data sets whose layout to write: the source scenes as gta5 or synthia (16-bit labels, depth), the target '
        'scenes as cityscapes; the first and the last by default',
    )
    parser.add_argument('--size', type=int, nargs=2, default=(128, 256), metavar=('H', 'W'))
    parser.add_argument('--source', type=int, default=300, help='number of source scenes')
    parser.add_argument('--train', type=int, default=300, help='number of target scenes to train on')
    parser.add_argument('--val', type=int, default=60, help='number of target scenes to validate on')
    parser.add_argument('--workers', type=int, help='processes (default: one per processor)')
    parser.add_argument('--sheet', type=Path, metavar='FILE', help='write a PNG sheet of pictures')
    args = parser.parse_args()
    if args.out is None and args.sheet is None:
        parser.error('nothing to do: give --out FOLDER, --sheet FILE or both')
    return args


def main() -> None:
    """Write what the command line asks for."""
    args = parse_args()
    if args.out is not None:
        manifest = minicity.generate(
            args.out,
            seed=args.seed,
            shift=args.shift,
            size=args.size,
            source=args.source,
            target_train=args.train,
            target_val=args.val,
            layouts=args.layouts,
            workers=args.workers,
        )
        for name, record in manifest['layouts'].items():
            print(f'{name}: {record["files"]} files in {args.out}, sha256 {record["sha256"]}')
    if args.sheet is not None:
        args.sheet.parent.mkdir(parents=True, exist_ok=True)
        args.sheet.write_bytes(encode(minicity.sheet(seed=args.seed, size=args.size)))
        print(f'sheet: {args.sheet}')


if __name__ == '__main__':
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
