"""Bring a published checkpoint into our form, hand one of ours over, or leave with it to stock mmseg.

    python tools/convert_checkpoint.py ehtdi GTA5_source.pth gta5_source.pth
    python tools/convert_checkpoint.py ehtdi best.pth synthia_start.pth --classes 16 --weights student
    python tools/convert_checkpoint.py ldbe gta5_source_only.pth gta5_source.pth
    python tools/convert_checkpoint.py daf_ida dg_s2c_model.pth daf_ida_synthia2city_16.pth
    python tools/convert_checkpoint.py depth_distribution model_9000.pth start.pth --discriminator model_D_9000.pth
    python tools/convert_checkpoint.py hiast HIAST_final.pth hiast_gta2city.pth
    python tools/convert_checkpoint.py --hand-over configs/ldbe/gta2city_stage0_source.py iter_5000.pth source.pth
    python tools/convert_checkpoint.py --to-mmseg configs/ehtdi/gta2city.py best.pth left/ehtdi_gta2city.pth

Every file that the papers name, with its command: docs/weights.md. Only tensors and plain types are read, here also the
numbers of NumPy; a file that needs pickled code is refused. What is written holds tensors and plain types alone.

``ehtdi`` reads the two-head DeepLab-v2 files of EHTDI, PixMatch and MaxSquareLoss, ``ldbe`` the one-head files of CCM
and LDBE; both read their start file DeepLab_resnet_pretrained_init. ``daf_ida`` reads the files of DAF's trainings,
``depth_distribution`` those of Depth Distribution's, and both their start, AdvEnt's DeepLab_resnet_pretrained_imagenet.
``hiast`` reads those of HIAST and IAST. The result is a plain network (backbone.*, decode_head.*, of two heads also
auxiliary_head.*, of DAF neck.*, of Depth Distribution density_head.* and depth_head.*) that serves as ``--init
STAGE=FILE``, as ``load_from`` and for tests.

``--hand-over`` is for whoever adapts without the source: a file of weights, class list and preprocessing, without the
config, paths and log of the run that they come from. Without --weights it takes the network that CONFIG
evaluates. A stage that starts from the file checks that it prepares images alike.

``--to-mmseg`` writes the network that CONFIG evaluates: a checkpoint, beside it a config of stock mmseg, and a module
NAME_network.py of what mmseg lacks, if it lacks something. Stock tools then predict the same, in fp32, without mmuda.

Both take a checkpoint or the folder of a run.
"""

import argparse
import io
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from mmengine.config import Config

from mmuda.datasets.classes import class_set, metainfo
from mmuda.engine.recipe import find_checkpoint
from mmuda.models.backbones import CeilResNet
from mmuda.models.discriminators import FCDiscriminator
from mmuda.models.heads import SummedASPPHead
from mmuda.models.necks import DepthGuide
from mmuda.models.uda.depth_distribution import RegressionHead
from mmuda.utils.checkpoint import NUMPY_SCALARS, load_safe
from mmuda.utils.command_line import plain_errors, read_config
from mmuda.utils.files import write_whole
from mmuda.utils.inference import class_meta, load_model
from mmuda.utils.stock import module_source, stock_config
from mmuda.utils.weights import NetworkWeights, network_state, number_of_classes, rows_kept, slice_classes

# Layout -> sizes of the class sets of its published files, which do not name their classes.
CLASSES = {'ehtdi': (19, 16), 'ldbe': (19,), 'daf_ida': (16, 7), 'depth_distribution': (16, 7), 'hiast': (19, 9)}

MMSEG_CONFIG = """# The network of {name} for stock mmseg; its weights: {weights}. Written by mmuda.
{imports}{settings}"""
IMPORTS = """import sys
sys.path.append('{{{{ fileDirname }}}}')  # the module lies beside this file
custom_imports = dict(imports=['{module}'], allow_failed_imports=False)
"""


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('format', nargs='?', choices=sorted(CLASSES), help='whose checkpoint it is')
    parser.add_argument('checkpoint', help='file to read; of ours also the folder of a run')
    parser.add_argument('out', help='file to write')
    parser.add_argument('--classes', type=int, help='keep the classes of a smaller set, e.g. 16 of 19')
    parser.add_argument(
        '--names', nargs='+', help='names of the classes in the file, where they are not those of the published files'
    )
    parser.add_argument(
        '--weights',
        choices=['ema', 'student'],
        help='averaged weights where there are some (the default), or never; with --hand-over the default is '
        'what CONFIG evaluates',
    )
    parser.add_argument(
        '--discriminator', metavar='FILE', help="the discriminator's own file, model_D_<i>.pth of Depth Distribution"
    )
    parser.add_argument('--hand-over', metavar='CONFIG', help='hand over a checkpoint of ours, trained by this config')
    parser.add_argument(
        '--to-mmseg', metavar='CONFIG', help='leave with the network that this config evaluates: stock mmseg, no mmuda'
    )
    args = parser.parse_args()
    if [args.format, args.hand_over, args.to_mmseg].count(None) != 2:
        parser.error(f'name a format ({", ".join(sorted(CLASSES))}), or use --hand-over CONFIG or --to-mmseg CONFIG')
    if not args.format and (args.classes or args.names or args.discriminator):
        parser.error('CONFIG says what the network is: leave out --classes, --names and --discriminator')
    if args.to_mmseg and args.weights:
        parser.error('--to-mmseg takes the network that CONFIG evaluates: leave out --weights')
    return args


def deeplab_keys(layout: str, classes: int) -> set[str]:
    """Every key of a layout's DeepLab-v2, whose tensors a converted file should hold."""
    with torch.device('meta'):
        parts = {
            'backbone': CeilResNet(101, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), style='caffe'),
            'decode_head': SummedASPPHead(2048, classes),
        }
        if layout == 'ehtdi':
            parts['auxiliary_head'] = SummedASPPHead(1024, classes)
        if layout == 'daf_ida':
            parts['neck'] = DepthGuide((256, 512, 1024, 2048))
        if layout == 'depth_distribution':
            parts |= {'density_head': RegressionHead(), 'depth_head': RegressionHead()}
    return {f'{name}.{key}' for name, part in parts.items() for key in part.state_dict()}


def placed(found: NetworkWeights, layout: str) -> NetworkWeights:
    """Drop what has no place in the network of a layout.

    Raises:
        ValueError: Nothing has.
    """
    wanted = deeplab_keys(layout, 19)
    state = {key: value for key, value in found.state.items() if key in wanted}
    if not state:
        raise ValueError(f'the file holds no tensor of the network of {layout}, but {", ".join(list(found.state)[:3])}')
    return found._replace(state=state, dropped=[*found.dropped, *(key for key in found.state if key not in wanted)])


def report(found: NetworkWeights, layout: str, names: list[str]) -> None:
    """Say what came over, what was left behind and what the network will lack."""
    count = number_of_classes(found.state)
    missing = deeplab_keys(layout, count or 19) - set(found.state)
    called = f' ({names[0]}, ..., {names[-1]})' if names else ' without names (--names)' if count else ''
    print(f'layout: {found.layout}; classes: {count or "no head"}{called}')
    print(f'matched: {len(found.state)} tensors')
    for title, keys in (('dropped', found.dropped), ('missing', missing)):
        modules = sorted({key.rpartition('.')[0] or key for key in keys})
        shown = ', '.join(modules[:8]) + (', ...' if len(modules) > 8 else '')
        print(f'{title}: {len(keys)} tensors' + (f' of {shown}' if keys else ''))


def discriminator(path: str) -> dict[str, torch.Tensor]:
    """The tensors of a discriminator's own file by the name that a method has it under.

    Raises:
        ValueError: The file holds something else.
    """
    state = load_safe(path, allow=NUMPY_SCALARS)
    state = {key.removeprefix('module.'): value for key, value in dict(state).items()}
    with torch.device('meta'):
        wanted = set(FCDiscriminator(1).state_dict())
    if state.keys() != wanted:
        raise ValueError(f'{path} is no discriminator: it has {min(state, default="nothing")}, not 0.weight to 8.bias')
    return {f'discriminator.{key}': value for key, value in state.items()}


def class_names(args: argparse.Namespace, checkpoint: dict, count: int | None) -> list[str]:
    """What the classes of a foreign network are called; empty without a head, or if nobody says.

    Raises:
        ValueError: There are more or less names than classes.
    """
    published = class_set(count).names if count in CLASSES[args.format] else ()
    own = checkpoint.get('meta', {}).get('dataset_meta', {}).get('classes')
    names = args.names or own or published
    if count and names and count != len(names):
        raise ValueError(f'the checkpoint has {count} classes, the list of its names {len(names)}: name each')
    return list(names) if count else []


def write_checkpoint(path: Path, state: dict, meta: dict) -> None:
    """Write a checkpoint, whole."""
    buffer = io.BytesIO()
    torch.save(dict(state_dict=state, meta=meta), buffer)
    write_whole(path, buffer.getvalue())
    print(f'written: {path}')


def leave(config: str, checkpoint: str, out: Path) -> None:
    """Write checkpoint, config and, where it takes one, module for stock mmseg."""
    cfg = read_config(config)
    plain, module = out.with_suffix('.py'), out.with_name(re.sub(r'\W', '_', out.stem) + '_network.py')
    if out == plain or plain.resolve() == Path(config).resolve():
        raise ValueError(f'{plain} is to hold the new config: give the checkpoint another name')
    settings, lacking = stock_config(cfg)
    network = load_model(cfg, find_checkpoint(checkpoint, cfg)).network
    imports = ''
    if lacking:
        write_whole(module, module_source(lacking))
        print(f'written: {module}, with {", ".join(one.__name__ for one in lacking)}, which mmseg lacks')
        imports = IMPORTS.format(module=module.stem)
    write_checkpoint(out, network.state_dict(), dict(dataset_meta=class_meta(cfg)))
    heading = dict(name=Path(config).name, weights=out.name)
    write_whole(plain, MMSEG_CONFIG.format(**heading, imports=imports, settings=Config(settings).pretty_text))
    print(f'written: {plain}')


def bring(args: argparse.Namespace) -> None:
    """Rename a foreign network's tensors, keep some classes, report, write."""
    checkpoint = load_safe(args.checkpoint, allow=NUMPY_SCALARS)
    found = placed(network_state(checkpoint, prefer=args.weights or 'ema'), args.format)
    count = number_of_classes(found.state)
    names = class_names(args, checkpoint, count)
    if args.classes and not names:
        raise ValueError(
            f'--classes {args.classes}: {args.checkpoint} has '
            + (f'{count} classes that nobody names: name them by --names' if count else 'no head to take classes from')
        )
    if args.classes:
        wanted = class_set(args.classes).names
        found = found._replace(state=slice_classes(found.state, rows_kept(names, wanted)))
        names = list(wanted)
    report(found, args.format, names)
    meta = dict(converted_from=Path(args.checkpoint).name, layout=found.layout)
    if names:
        meta['dataset_meta'] = metainfo(names)
    state = found.state
    if args.discriminator:
        state = state | discriminator(args.discriminator)
        print(f'discriminator: {len(state) - len(found.state)} tensors')
    write_checkpoint(Path(args.out), state, meta)


def hand_over(config: str, checkpoint: str, out: Path, weights: str | None) -> None:
    """Write weights, class list and preprocessing of a network of ours; by default of the one that CONFIG evaluates."""
    cfg = read_config(config)
    evaluated = 'ema' if cfg.model.get('evaluate') == 'teacher' else 'student'
    found = network_state(load_safe(find_checkpoint(checkpoint, cfg)), prefer=weights or evaluated)
    count, classes = number_of_classes(found.state), class_meta(cfg)
    if count != len(classes['classes']):
        raise ValueError(
            f'the checkpoint has {count or "no"} classes, the network of {config} {len(classes["classes"])}: '
            'name its config'
        )
    preprocessing = cfg.model.data_preprocessor.to_dict()
    preprocessing.pop('type')
    print(f'handed over: {len(found.state)} tensors, {found.layout}; the names of {count} classes, {preprocessing}')
    write_checkpoint(out, found.state, dict(preprocessing=preprocessing, dataset_meta=classes))


def main() -> None:
    """Run what the command line asks for."""
    args = parse_args()
    with plain_errors():
        if args.to_mmseg:
            leave(args.to_mmseg, args.checkpoint, Path(args.out))
        elif args.hand_over:
            hand_over(args.hand_over, args.checkpoint, Path(args.out), args.weights)
        else:
            bring(args)


if __name__ == '__main__':
    main()
