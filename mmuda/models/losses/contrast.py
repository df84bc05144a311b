"""Contrast between two views of an image, in probability space (EHTDI spec 4.4).

For N pairs of rows (s_i, w_i) put U = [s; w], 2N rows, and G = scale * U U^T with its diagonal at -inf. The contrast is
the mean over all 2N rows of the cross entropy of row i of G, whose target is the row's partner: i + N or i - N. Both
views receive gradients.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def probability_contrast(student: Tensor, other: Tensor, scale: float, block_size: int = 512) -> Tensor:
    """Contrast of N pairs of rows, in blocks of rows: the 2N x 2N matrix never exists as a whole.

    Args:
        student: (N, C), one probability row per pixel.
        other: (N, C), the same pixels in the other view.
        scale: Factor on the dot products (an inverse temperature).
        block_size: Rows handled at a time. Memory grows with ``block_size * 2N``; the result does not depend on it.

    Returns:
        A scalar in fp32, also under autocast. One pair gives 0 with zero gradients: its only candidate is its partner.
    """
    with torch.autocast(student.device.type, enabled=False):
        return _BlockwiseContrast.apply(torch.cat([student, other]).float(), scale, block_size)


class _BlockwiseContrast(torch.autograd.Function):
    """The mean cross entropy of the rows of G and, with P = softmax(G), its gradient in the same sweep over blocks.

    d loss / d U = scale / 2N * (P U + P^T U - 2 U_partner): row i appears in G as a row and as a column.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, scale: float, block_size: int) -> Tensor:
        count = len(rows)
        partner = torch.arange(count, device=rows.device).roll(count // 2)
        loss = rows.new_zeros(())
        grad = rows[partner].mul_(-2)
        for start in range(0, count, block_size):
            block = rows[start : start + block_size]
            logits = torch.mm(block, rows.T).mul_(scale)  # (block, 2N)
            logits.diagonal(start).fill_(-torch.inf)
            log_prob = logits.log_softmax(dim=1)
            loss -= log_prob.gather(1, partner[start : start + block_size, None]).sum()
            prob = torch.exp(log_prob, out=logits)
            grad[start : start + block_size].addmm_(prob, rows)
            grad.addmm_(prob.T, block)
        ctx.save_for_backward(grad.mul_(scale / count))
        return loss / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        return ctx.saved_tensors[0] * grad_output, None, None


def class_prototypes(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Mean logits of the pixels of each class.

    Args:
        logits: (C, h, w).
        label: (h, w), integer; ids outside 0..C-1 (255 = ignore) belong to no class.

    Returns:
        The means, (C, C) with one row per class in fp32, zeros for an absent class; and which classes are present, (C,)
        bool. The shapes do not depend on the label, so a device is never waited for.
    """
    with torch.autocast(logits.device.type, enabled=False):
        classes = torch.arange(len(logits), device=label.device)
        members = (label.flatten() == classes[:, None]).to(torch.float32)  # (C, h*w)
        count = members.sum(1)
        return members @ logits.float().flatten(1).T / count.clamp(min=1)[:, None], count > 0


def prototype_contrast(student: Tensor, other: Tensor, label: Tensor, scale: float) -> Tensor:
    """Contrast between the class prototypes of two views: one row, the softmax of the mean logits, per class present.

    Args:
        student: Logits (C, h, w) of one view.
        other: Logits (C, h, w) of the other.
        label: (h, w), integer, 255 = ignore: the class that each pixel counts for, in both views.
        scale: Factor on the dot products.

    Returns:
        A scalar in fp32. One class gives 0 with zero gradients, no class at all 0 with a graph.
    """
    (mean_student, keep), (mean_other, _) = class_prototypes(student, label), class_prototypes(other, label)
    with torch.autocast(student.device.type, enabled=False):
        rows = torch.cat([mean_student, mean_other]).softmax(dim=1)  # (2C, C)
        keep = keep.repeat(2)
        index = torch.arange(len(rows), device=rows.device)
        partner = index.roll(len(rows) // 2)[:, None]  # (2C, 1)
        # An absent class is no candidate, but to its partner: so its own row is finite, and is left out of the mean.
        candidate = (keep & (index != index[:, None])) | (index == partner)
        log_prob = (scale * rows @ rows.T).masked_fill(~candidate, -torch.inf).log_softmax(dim=1)
        return -(log_prob.gather(1, partner)[:, 0] * keep).sum() / keep.sum().clamp(min=1)
