"""From a network's output to the scores of one image: ours beside mmseg's own."""

import argparse

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmseg.evaluation import IoUMetric
from mmseg.structures import SegDataSample
from speed.measure import Row, alternate, report, table
from speed.step import CONFIGS, build
from torch import Tensor, nn

from mmuda.evaluation import confusion_matrix
from mmuda.models.uda import UDASegmentor

CLASSES, IGNORE = 19, 255


class Image:
    """One validation image whose logits are there already, so that only what follows the network is measured.

    Args:
        model: Its network will answer with these logits.
        network: Height and width of the network's input.
        labels: Height and width of the label map.
    """

    def __init__(self, model: UDASegmentor, network: tuple[int, int], labels: tuple[int, int]) -> None:
        torch.manual_seed(0)
        coarse = 3 * torch.randn(1, CLASSES, 9, 17)  # large areas, as those of a trained network
        self.logits = F.interpolate(coarse, size=[side // 8 + 1 for side in network], mode='bicubic')
        self.label = torch.randint(0, CLASSES, (8, 16)).repeat_interleave(labels[0] // 8, 0)
        self.label = self.label.repeat_interleave(labels[1] // 16, 1)
        self.label[: labels[0] // 10] = IGNORE
        self.inputs, self.metainfo = torch.zeros(1, 3, *network), dict(ori_shape=labels, img_shape=network)
        self.model = model
        model.network.extract_feat = lambda _: None
        model.network.decode_head.forward = lambda _: self.logits

    def predict(self, model: nn.Module) -> Tensor:
        """Labels (H, W) int64."""
        with torch.no_grad():
            return model.predict(self.inputs, [SegDataSample(metainfo=self.metainfo)])[0].pred_sem_seg.data[0]

    def theirs(self) -> tuple[Tensor, ...]:
        """mmseg's areas of intersection, union, prediction and label, (C,) each."""
        return IoUMetric.intersect_and_union(self.predict(self.model.network), self.label, CLASSES, IGNORE)

    def ours(self) -> Tensor:
        """The confusion matrix (C, C)."""
        return confusion_matrix(self.predict(self.model), self.label, CLASSES)

    def compare(self) -> str:
        """What both ways have in common; less than everything is an error."""
        different = int((self.predict(self.model) != self.predict(self.model.network)).sum())
        intersection, _, predicted, true = self.theirs()
        matrix = self.ours().float()
        areas = (matrix.diag(), intersection), (matrix.sum(0), predicted), (matrix.sum(1), true)
        if different or not all(torch.equal(found, wanted) for found, wanted in areas):
            raise RuntimeError(f'{self.metainfo}: {different} labels differ from those of mmseg, or their counts do')
        return 'every label and every count equal'


def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    model = build(Config.fromfile(CONFIGS / 'ehtdi/minicity.py')).eval()
    rows = []
    for network, labels in (((640, 1280), (640, 1280)), ((512, 1024), (1024, 2048))):
        if args.quick:
            network, labels = ([side // 16 for side in size] for size in (network, labels))
        image = Image(model, tuple(network), tuple(labels))
        note = image.compare()
        name = 'network input {}x{}, labels {}x{}: output to counts'.format(*network, *labels)
        rows.append(Row(name, *alternate(image.theirs, image.ours, rounds=args.rounds), at_least=3, note=note))
    pred, label = image.predict(model), image.label
    counts = alternate(
        lambda: IoUMetric.intersect_and_union(pred, label, CLASSES, IGNORE),
        lambda: confusion_matrix(pred, label, CLASSES),
        rounds=args.rounds,
    )
    rows.append(Row('labels {}x{}: counts alone'.format(*labels), *counts, at_least=8))
    report('eval', args.work_dir, table('evaluation of one image, 19 classes', 'mmseg, ms', 'mmuda, ms', rows))
