"""Predict images with a trained network, or put several networks side by side.

python tools/infer.py configs/ehtdi/minicity.py work_dirs/ehtdi/minicity images/ --out masks/
python tools/infer.py CONFIG CHECKPOINT photo.jpg list.txt --out masks/ --palette --overlay --confidence --depth
python tools/infer.py CONFIG CHECKPOINT --compare source-only=OTHER_CONFIG:OTHER_CHECKPOINT --errors --out sheets/
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from mmengine import fileio
from mmengine.config import Config
from mmengine.utils import track_iter_progress

from mmuda.datasets import layout
from mmuda.engine.recipe import find_checkpoint, prepare_data
from mmuda.utils.command_line import (
    add_cfg_options,
    add_data_root,
    add_network,
    named_network,
    quiet,
    read_config,
    running,
)
from mmuda.utils.depth import nearness
from mmuda.utils.files import write_whole
from mmuda.utils.inference import Predictor, check_same_classes, comparison, load_image, val_items
from mmuda.utils.pictures import encode, encode_palette, heat, overlay

IMAGES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_network(parser)
    parser.add_argument('inputs', nargs='*', help='images, folders of images, .txt lists of images')
    parser.add_argument('--out', type=Path, required=True, help='folder to write to; keeps the structure of a folder')
    parser.add_argument('--palette', action='store_true', help='write masks as palette PNG: the same ids, in colour')
    parser.add_argument('--overlay', action='store_true', help='also write NAME_overlay.png, the colours on the image')
    parser.add_argument(
        '--confidence',
        action='store_true',
        help='also write NAME_confidence.png, the probability of the predicted class, 0 to 255',
    )
    parser.add_argument(
        '--depth',
        action='store_true',
        help='also write NAME_depth.png, 16-bit centimetres, and NAME_depth_colour.png (networks that predict depth)',
    )
    parser.add_argument(
        '--density',
        action='store_true',
        help='also write NAME_density.png, 0 to 255: how much the place and depth are those of the predicted class '
        '(networks of Depth Distribution)',
    )
    parser.add_argument(
        '--compare',
        nargs='+',
        type=named_network,
        default=[],
        metavar='NAME=CONFIG:CHECKPOINT',
        help='write one sheet per image instead: image, truth if known, the prediction of each network; without inputs '
        'for images of the validation set',
    )
    parser.add_argument(
        '--errors', action='store_true', help='with --compare: mark what is wrong, where truth is known'
    )
    parser.add_argument('--count', type=int, default=5, help='with --compare, without inputs: number of images')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    add_data_root(parser)
    add_cfg_options(parser, 'change settings of every config named')
    args = parser.parse_intermixed_args()
    more = [name for name in ('palette', 'overlay', 'confidence', 'depth', 'density') if getattr(args, name)]
    if args.compare and more:
        parser.error(f'--compare writes sheets only: leave --{", --".join(more)} out')
    if not args.compare and args.errors:
        parser.error('--errors belongs to --compare')
    if not args.compare and not args.inputs:
        parser.error('name images, folders or .txt lists to predict')
    return args


# ------------------------------------------------------------------------------------------------ files


def find_images(inputs: Sequence[str], out: Path) -> list[tuple[str, str]]:
    """Every image among the inputs, and its path below ``out`` without suffix.

    Raises:
        ValueError: If a folder or a list holds no image, or a folder holds ``out``.
        FileNotFoundError: If an image is missing.
    """
    return [found for given in inputs for found in _images_of(given, out)]


def _images_of(given: str, out: Path) -> Iterator[tuple[str, str]]:
    if fileio.isdir(given):
        if out.resolve().is_relative_to(Path(given).resolve()):
            raise ValueError(f'--out {out} lies in the input folder {given}, whose images it would join: name another')
        root, files = given, [file for file in layout.list_files(given, '', '') if file.lower().endswith(IMAGES)]
    elif given.lower().endswith('.txt'):
        root, files = os.path.dirname(given), layout.read_list(given)
    else:
        root, files = os.path.split(given)[0], [os.path.split(given)[1]]
    if not files:
        raise ValueError(f'{given}: no image ({", ".join(IMAGES)}) in it')
    for file in files:
        path, inside = layout.join(root, file), PurePath(os.path.normpath(file))
        if not fileio.isfile(path):
            raise FileNotFoundError(f'{path}: no such image, asked for by {given}')
        if inside.is_absolute() or '..' in inside.parts:  # a line of a list that leaves the list's folder
            inside = PurePath(inside.name)
        yield path, str(inside.with_suffix(''))


def check_outputs(images: Sequence[tuple[str, str]], out: Path, endings: Sequence[str]) -> None:
    """Raise a ValueError if two images would be written to one file, or one over an input."""
    inputs, taken = {os.path.realpath(path) for path, _ in images}, {}
    for path, name in images:
        for file in (_output(out, name, ending) for ending in endings):
            if file in taken:
                raise ValueError(f'{taken[file]} and {path} would both be written to {file}: give them one by one')
            if os.path.realpath(file) in inputs:
                raise ValueError(f'{file} is an input and would be overwritten: name another --out')
            taken[file] = path


def _output(out: Path, name: str, ending: str = '') -> Path:
    return out / f'{name}{ending}.png'


# ------------------------------------------------------------------------------------------------ work


def predict(args: argparse.Namespace) -> None:
    """Write the mask of every image, and what else is asked for."""
    images = find_images(args.inputs, args.out)
    endings = ['', *['_overlay'] * args.overlay, *['_confidence'] * args.confidence]
    endings += ['_depth', '_depth_colour'] * args.depth + ['_density'] * args.density
    check_outputs(images, args.out, endings)
    predictor = load(args, args.config, args.checkpoint)
    palette = predictor.meta['palette']
    print(f'writing masks of {len(images)} image(s) to {args.out}')
    for path, name in track_iter_progress(images):
        label, confidence, depth, density = predictor(path)
        pictures = {'': encode_palette(label, palette) if args.palette else encode(label)}
        if args.overlay:
            pictures['_overlay'] = encode(overlay(load_image(path), label, palette))
        if args.confidence:
            pictures['_confidence'] = encode((255 * confidence).round().astype(np.uint8))
        if args.depth:
            pictures['_depth'] = encode((100 * depth).round().astype(np.uint16))
            pictures['_depth_colour'] = encode(heat(nearness(torch.from_numpy(depth)).numpy()))
        if args.density:
            pictures['_density'] = encode((255 * density).round().astype(np.uint8))
        for ending, content in pictures.items():
            write_whole(_output(args.out, name, ending), content)


def compare(args: argparse.Namespace) -> None:
    """Write a sheet for every image."""
    cfg = read_config(args.config, args.cfg_options)
    if args.inputs:
        images = find_images(args.inputs, args.out)
        items = with_truth([path for path, _ in images], cfg)
    else:
        prepare_data(cfg)
        items = val_items(cfg, args.count)
        images = [(item['img_path'], item['name']) for item in items]
    check_outputs(images, args.out, [''])
    runs = [('/'.join(Path(args.config).with_suffix('').parts[-2:]), args.config, args.checkpoint), *args.compare]
    names = [name for name, *_ in runs]
    if len(set(names)) < len(names):
        raise ValueError(f'two networks have the same name ({", ".join(names)}): give each its own in --compare')
    predictors = {name: load(args, config, checkpoint) for name, config, checkpoint in runs}
    check_same_classes(predictors)
    print(f'writing {len(images)} sheet(s) to {args.out}')
    for (_, name), item in track_iter_progress(list(zip(images, items, strict=True))):
        write_whole(_output(args.out, name), encode(comparison(predictors, [item], args.errors)))


def with_truth(paths: Sequence[str], cfg: Config) -> list[dict]:
    """The items of the validation set that show these images; only the path of an image that is not in it."""
    try:
        known = {os.path.realpath(item['img_path']): item for item in val_items(cfg)}
    except FileNotFoundError as error:
        print(f'the sheets have no truth: {error}')
        known = {}
    return [known.get(os.path.realpath(path), {'img_path': path}) for path in paths]


def load(args: argparse.Namespace, config: str, checkpoint: str) -> Predictor:
    """The network of a config and a checkpoint, or of a run."""
    cfg = read_config(config, args.cfg_options)
    return Predictor(cfg, find_checkpoint(checkpoint, cfg, args.which), args.device, args.depth, args.density)


def main() -> None:
    """Run it."""
    args = parse_args()
    quiet()
    with running(args):
        try:
            if args.compare:
                compare(args)
            else:
                predict(args)
        except Exception:
            print()  # what it says belongs below the progress bar
            raise


if __name__ == '__main__':
    main()
