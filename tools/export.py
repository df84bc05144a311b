"""Write a trained network as ONNX, and check that onnxruntime predicts the same.

    python tools/export.py configs/ehtdi/minicity.py work_dirs/ehtdi/minicity ehtdi.onnx
    python tools/export.py configs/ehtdi/gta2city.py best.pth ehtdi.onnx --size 640 1280

Needs ``pip install "mmuda[onnx]"``. The network is the one that CONFIG evaluates, in fp32. Its input ``image`` is one
image, BGR as OpenCV reads it: uint8 (1, 3, H, W), at the size of the config's test_pipeline or at ``--size``;
normalising is part of the file. Its output ``logits`` is float32 (1, classes, H, W): the largest is the class.

The check compares the logits of a random image with those that the model predicts here. A file that fails is not left.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmuda.engine.recipe import find_checkpoint
from mmuda.models.uda import UDASegmentor
from mmuda.utils.command_line import add_cfg_options, add_network, plain_errors, read_config
from mmuda.utils.inference import load_model

TOLERANCE = 1e-3  # of the largest logit


class Exported(nn.Module):
    """From bytes to logits at the image's size, as ``UDASegmentor.predict`` makes them.

    Args:
        model: The model, in eval mode.
    """

    def __init__(self, model: UDASegmentor) -> None:
        super().__init__()
        self.preprocessor = model.data_preprocessor
        self.network = model.network

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, C, H, W) of images (N, 3, H, W) uint8."""
        image = self.preprocessor({'target': {'image': image}}, training=True)['target']['image']
        logits = self.network(image, mode='tensor')  # (N, C, h, w)
        return F.interpolate(logits, size=image.shape[-2:], mode='bilinear', align_corners=self.network.align_corners)


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_network(parser)
    parser.add_argument('out', type=Path, help='file to write')
    parser.add_argument('--size', nargs=2, type=int, metavar=('HEIGHT', 'WIDTH'), help="the test_pipeline's by default")
    add_cfg_options(parser)
    return parser.parse_args()


def image_size(cfg: Config) -> tuple[int, int]:
    """Height and width of the images that a config's network gets."""
    scales = [step.scale for step in cfg.get('test_pipeline', []) if 'scale' in step]
    if not scales:
        raise ValueError(f'{cfg.filename} has no test_pipeline with a scale: name the --size')
    width, height = scales[-1]
    return height, width


def blobs(height: int, width: int) -> Tensor:
    """A random image of coloured blobs, uint8 (1, 3, H, W), the same at each call."""
    coarse = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    return (255 * F.interpolate(coarse, size=(height, width), mode='bicubic').clamp(0, 1)).to(torch.uint8)


@torch.no_grad()
def predicted(model: UDASegmentor, image: Tensor) -> np.ndarray:
    """The logits (C, H, W) that the model predicts for an image (1, 3, H, W)."""
    model.keep_logits = True
    size = tuple(image.shape[-2:])
    sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size))
    [sample] = model.test_step(dict(inputs=[image[0]], data_samples=[sample]))
    return sample.seg_logits.data.numpy()


def check(file: Path, image: Tensor, wanted: np.ndarray) -> str:
    """Compare what onnxruntime makes of a file with logits (C, H, W); says how they differ.

    Raises:
        ValueError: They differ by more than rounding.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=['CPUExecutionProvider'])
    [found] = session.run(['logits'], {'image': image.numpy()})
    furthest, largest = np.abs(found[0] - wanted).max(), np.abs(wanted).max()
    differing = (found[0].argmax(0) != wanted.argmax(0)).mean()
    parity = f'logits up to {largest:.3g} differ by at most {furthest:.2g}, labels at {differing:.3%} of the pixels'
    if not furthest <= TOLERANCE * largest:
        raise ValueError(f'onnxruntime predicts something else, so no file is left: {parity}')
    return parity


def export(model: UDASegmentor, size: tuple[int, int], out: Path) -> str:
    """Write the file once it is checked; returns what :func:`check` says."""
    image, part = blobs(*size), out.with_name(f'{out.name}.part')
    wanted = predicted(model, image)
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.onnx.export(
            Exported(model).eval(), (image,), part, input_names=['image'], output_names=['logits'],
            dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip
        parity = check(part, image, wanted)
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)
    return parity


def main() -> None:
    """Load, export, check."""
    args = parse_args()
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        sys.exit(f'error: {error.name} is missing: pip install "mmuda[onnx]", or -e ".[onnx]" in a checkout')
    with plain_errors():
        cfg = read_config(args.config, {**args.cfg_options, 'model.precision': 'fp32'})
        if cfg.model.student.test_cfg.get('mode', 'whole') != 'whole':
            raise ValueError('model.student.test_cfg cuts the image into windows: export a config of mode="whole"')
        size = args.size or image_size(cfg)
        model = load_model(cfg, find_checkpoint(args.checkpoint, cfg, args.which))
        parity = export(model, size, args.out)
    print(f'written: {args.out}, for images of {size[0]}x{size[1]}; {parity}')


if __name__ == '__main__':
    main()
