"""The model wrapper of several processes."""

from typing import Any

import torch
from mmengine.model import revert_sync_batchnorm
from torch import nn

from mmuda.registry import MODEL_WRAPPERS


@MODEL_WRAPPERS.register_module()
class StepParallel(nn.Module):
    """Forwards the steps of a :class:`UDASegmentor` in each process.

    There is nothing more to it: the runner broadcasts the start weights, and the step itself averages its gradients in
    one all-reduce. MMEngine's ``MMDistributedDataParallel`` would ignore a model's own ``train_step``.

    On CPUs synchronised batch norms, which torch has for GPUs only, become plain ones, as MMEngine has it in a single
    process.

    Args:
        module: The model.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module if torch.cuda.is_available() else revert_sync_batchnorm(module)

    def train_step(self, *args: Any, **kwargs: Any) -> dict:
        """See :meth:`UDASegmentor.train_step`."""
        return self.module.train_step(*args, **kwargs)

    def val_step(self, *args: Any, **kwargs: Any) -> list:
        """See mmengine's ``BaseModel.val_step``."""
        return self.module.val_step(*args, **kwargs)

    def test_step(self, *args: Any, **kwargs: Any) -> list:
        """See mmengine's ``BaseModel.test_step``."""
        return self.module.test_step(*args, **kwargs)
