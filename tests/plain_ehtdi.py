"""The plain form of EHTDI's class mix: its steps with loops, as the reference takes them; the fast form's oracle."""

import numpy as np


def draw_and_paste(label: np.ndarray, draws: list[int] | None, rng: np.random.Generator | None = None) -> tuple:
    """Choose classes of one label map and return the pasted area.

    Args:
        label: (h, w), -1 = ignore.
        draws: Indices into the n candidates as the reference drew them; None draws them.
        rng: Generator for that.

    Returns:
        The mask (h, w), the ids chosen, and the labels of the pasted pixels (h, w), -1 elsewhere.
    """
    ids = np.unique(label)  # ascending, ignore first
    n = len([i for i in ids if i > 4])
    k = n if n < 2 else n // 2
    if draws is None:
        draws = list(rng.choice(n, k, replace=False)) if k else []
    chosen = [int(ids[len(ids) - n - 1 + r]) for r in draws[:k]]  # one too low: the reference's slip (T1)
    mask = np.zeros(label.shape, bool)
    pasted = np.full(label.shape, -1)
    for i in chosen:
        mask |= label == i
        pasted[label == i] = i
    return mask, chosen, pasted
