"""Class counts against loops."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from mmuda.datasets import LoadLabels
from mmuda.offline import class_statistics
from mmuda.registry import DATASETS


@pytest.mark.parametrize(('domain', 'num_workers'), [('source', 0), ('source', 2), ('target', 0)])
def test_counts_and_lists(domain: str, num_workers: int, cfg: Config, tmp_path: Path) -> None:
    found = class_statistics(cfg, tmp_path, domain=domain, num_workers=num_workers)
    dataset = dict(cfg.train_dataloader.dataset[domain], with_labels=True, pipeline=[LoadLabels(same_size=False)])
    dataset = DATASETS.build(dataset)
    labels = {item['image']: item['gt_seg_map'] for item in dataset}
    for number, name in enumerate(found['classes']):
        counts = [[image, int((label == number).sum())] for image, label in labels.items()]
        assert found['images'][name] == [entry for entry in counts if entry[1]]
        assert found['pixels'][name] == sum(count for _, count in counts)
    assert found['ignored'] == sum(int((label == 255).sum()) for label in labels.values())
    assert sum(found['pixels'].values()) + found['ignored'] == sum(np.size(label) for label in labels.values())


def test_a_domain_that_is_not_there(cfg: Config, tmp_path: Path) -> None:
    cfg.train_dataloader.dataset.source = None
    with pytest.raises(ValueError, match=r'train_dataloader\.dataset has no source'):
        class_statistics(cfg, tmp_path)
