import numpy as np

from mmuda.datasets.transforms.photometric import draw_colour_change


def test_colour_changes_are_drawn_as_the_reference_draws_them():
    np.random.seed(0)
    changes = [draw_colour_change() for _ in range(6000)]
    tones = np.array([change.tone for change in changes if change.tone is not None])
    kernels = np.array([change.kernel for change in changes])
    assert abs(len(tones) / 6000 - 0.8) < 0.02
    assert abs(np.mean([change.grey for change in changes]) - 0.2) < 0.02
    assert abs(np.mean(kernels == 3) - 1 / 6) < 0.02
    assert abs(np.mean(kernels == 5) - 1 / 3) < 0.02
    limits = np.array([0.2, 0.2, 20, 30, 20])
    spread = np.abs(tones - [1, 0, 0, 0, 0]).max(0)
    assert (spread <= limits).all()
    assert (spread > 0.98 * limits).all()
