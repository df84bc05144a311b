"""Bring a published checkpoint into our form: key names, classes, and nothing but tensors.

    python tools/convert_checkpoint.py ehtdi GTA5_source.pth gta5_source.pth
    python tools/convert_checkpoint.py ehtdi best.pth synthia_start.pth --classes 16 --weights student
    python tools/convert_checkpoint.py ldbe gta5_source_only.pth gta5_source.pth

``ehtdi`` reads the two-head DeepLab-v2 files of EHTDI, PixMatch and MaxSquareLoss, ``ldbe`` the one-head files of CCM
and LDBE; both read their start file DeepLab_resnet_pretrained_init. The result is a plain network (backbone.*,
decode_head.* and, of two heads, auxiliary_head.*) that serves as ``--init STAGE=FILE``, as ``load_from`` and for tests.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from mmuda.datasets.classes import CLASS_SETS, metainfo
from mmuda.models.backbones import CeilResNet
from mmuda.models.heads import SummedASPPHead
from mmuda.utils.checkpoint import NUMPY_SCALARS, load_safe
from mmuda.utils.weights import NetworkWeights, network_state, number_of_classes, rows_kept, slice_classes

# Layout -> heads of its network, and the channels of the features they see.
HEADS = {
    'ehtdi': {'decode_head': 2048, 'auxiliary_head': 1024},
    'ldbe': {'decode_head': 2048},
}


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('format', choices=sorted(HEADS), help='whose checkpoint it is')
    parser.add_argument('checkpoint', help='file to read')
    parser.add_argument('out', help='file to write')
    parser.add_argument('--classes', type=int, help='keep the classes of a smaller set, e.g. 16 of 19')
    parser.add_argument(
        '--weights', choices=['ema', 'student'], default='ema', help='averaged weights where there are some, or never'
    )
    return parser.parse_args()


def deeplab_keys(layout: str, classes: int) -> set[str]:
    """Every key of a layout's DeepLab-v2, whose tensors a converted file should hold."""
    with torch.device('meta'):
        parts = {name: SummedASPPHead(channels, classes) for name, channels in HEADS[layout].items()}
        parts['backbone'] = CeilResNet(101, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), style='caffe')
    return {f'{name}.{key}' for name, part in parts.items() for key in part.state_dict()}


def report(found: NetworkWeights, layout: str, classes: int | None) -> None:
    """Say what came over, what was left behind and what the network will lack."""
    missing = deeplab_keys(layout, classes or 19) - set(found.state)
    print(f'layout: {found.layout}; classes: {classes or "no head"}')
    print(f'matched: {len(found.state)} tensors')
    for title, keys in (('dropped', found.dropped), ('missing', missing)):
        modules = sorted({key.rpartition('.')[0] or key for key in keys})
        shown = ', '.join(modules[:8]) + (', ...' if len(modules) > 8 else '')
        print(f'{title}: {len(keys)} tensors' + (f' of {shown}' if keys else ''))


def main() -> None:
    """Read, rename, slice, report, write."""
    args = parse_args()
    found = network_state(load_safe(args.checkpoint, allow=NUMPY_SCALARS), prefer=args.weights)
    classes = number_of_classes(found.state)
    if args.classes and classes is None:
        raise ValueError(f'--classes {args.classes}: {args.checkpoint} has no head to take classes from')
    if args.classes:
        found = found._replace(state=slice_classes(found.state, rows_kept(classes, args.classes)))
        classes = args.classes
    report(found, args.format, classes)
    meta = dict(converted_from=Path(args.checkpoint).name, layout=found.layout)
    if classes in CLASS_SETS:
        meta['dataset_meta'] = metainfo(classes)
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    part = f'{args.out}.part'
    torch.save(dict(state_dict=found.state, meta=meta), part)
    os.replace(part, args.out)
    print(f'written: {args.out}')


if __name__ == '__main__':
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
