"""Depth in its units."""

import pytest
import torch

from mmuda.utils.depth import inverse_depth, metres, nearness


def test_inverse_depth() -> None:
    assert inverse_depth(torch.tensor([0, 99, 65535], dtype=torch.uint16)).tolist() == [65536, pytest.approx(655.36), 1]


def test_inverse_depth_and_back() -> None:
    centimetres = torch.tensor([0, 1, 250, 8000, 65535], dtype=torch.uint16)
    assert metres(inverse_depth(centimetres)).tolist() == pytest.approx([0, 0.01, 2.5, 80, 655.35], rel=1e-4)
    assert metres(torch.tensor([-3.0, 0.0, 1.0])).tolist() == pytest.approx([655.35] * 3)


def test_pictures_show_near_things_bright() -> None:
    found = nearness(torch.tensor([0.0, 1.0, 655.35**0.5, 655.35, 1000.0]))
    assert found.tolist() == pytest.approx([1, 1, 0.5, 0, 0], abs=1e-6)
