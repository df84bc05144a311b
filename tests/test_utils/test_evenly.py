"""A few out of many: from end to end, and none twice."""

import numpy as np

from mmuda.utils.evenly import evenly


def test_ends_and_counts() -> None:
    assert evenly(10, 4).tolist() == [0, 3, 6, 9]
    assert evenly(10, 1).tolist() == [0]
    assert evenly(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert evenly(0, 3).tolist() == []
    for total in range(1, 60):
        for count in range(1, total + 1):
            assert len(np.unique(evenly(total, count))) == count
