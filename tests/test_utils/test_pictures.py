"""Sheets of pictures."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmuda.registry import MODELS
from mmuda.utils.pictures import colour_labels, prediction_sheet, sheet


def test_labels_get_their_colour_and_ignore_is_black() -> None:
    found = colour_labels(np.array([[0, 1, 255]], np.uint8), [(128, 64, 128), (244, 35, 232)])
    assert found.tolist() == [[[128, 64, 128], [232, 35, 244], [0, 0, 0]]]  # BGR


def test_a_sheet_keeps_every_picture_whole() -> None:
    pictures = [[np.full((20, 30, 3), 10 * row + column, np.uint8) for column in range(3)] for row in range(2)]
    found = sheet(pictures, ['a', 'b', 'c'])
    for row in range(2):
        for column in range(3):
            assert (found == 10 * row + column).all(-1).sum() >= 600


def test_predictions_of_several_runs(load, city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = load('baselines/minicity_source.py')
    config = tmp_path / 'config.py'
    cfg.dump(config)
    model = MODELS.build(cfg.model)
    model.init_weights()
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'x.pth')
    runs = {name: (config, tmp_path / 'x.pth') for name in ('one', 'two')}
    file = prediction_sheet(runs, tmp_path / 'sheet.png', count=2)
    picture = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (18 + 2 * 68, 4 * 132 - 4, 3)
    one, two = (picture[18:, column * 132 : column * 132 + 128] for column in (2, 3))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, picture[18:, 132:260])  # a fresh network is not the truth
