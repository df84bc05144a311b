"""The ResNet of DeepLab-v2 code bases: ceil-mode stem pooling and partly frozen batch norms."""

from collections.abc import Sequence
from typing import Any, ClassVar

from mmseg.models.backbones import ResNet
from mmseg.models.backbones.resnet import BasicBlock
from torch.nn.modules.batchnorm import _BatchNorm

from mmuda.registry import MODELS

# Every convolution N(0, 0.01), every batch norm 1/0 (EHTDI spec 3.1): what start weights do not overwrite keeps this.
_INIT = (dict(type='Normal', layer='Conv2d', std=0.01), dict(type='Constant', layer='_BatchNorm', val=1))


@MODELS.register_module()
class CeilResNet(ResNet):
    """mmseg's ResNet whose stem pooling rounds up (EHTDI spec 3.1).

    At stride 8 an image side of 512, 720, 640 pixels gives 65, 91, 81 features; with the stock pooling 64, 90, 80. With
    ``depth=101, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), style='caffe', contract_dilation=False`` it equals the
    network of the DeepLab-v2 family number for number. The plain 7x7 stem is meant (not ``deep_stem``).

    Beside mmseg's depths there is ``depth=10``: four stages of one basic block, for small images.

    Args:
        trainable_affine: Parts of names of the batch norms whose weight and bias train: by default all but the stem's
            (``bn1``); ``('downsample',)`` trains those of the shortcuts alone, ``()`` none. The others' running
            statistics still follow the data.
        init_cfg: As in mmengine. Default: convolutions normal with std 0.01, batch norm weight 1 and bias 0.
        **kwargs: Of :class:`mmseg.models.backbones.ResNet`.
    """

    arch_settings: ClassVar[dict] = {10: (BasicBlock, (1, 1, 1, 1)), **ResNet.arch_settings}

    def __init__(
        self,
        *args: Any,
        trainable_affine: Sequence[str] = ('layer',),
        init_cfg: dict | list | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, init_cfg=init_cfg or [dict(rule) for rule in _INIT], **kwargs)
        self.maxpool.ceil_mode = True
        for name, module in self.named_modules():
            if isinstance(module, _BatchNorm) and not any(part in name for part in trainable_affine):
                module.requires_grad_(False)
