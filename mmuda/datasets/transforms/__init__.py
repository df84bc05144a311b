from mmuda.datasets.transforms.geometric import (
    FitPad,
    GridSample,
    PillowResize,
    RandomSizedCrop,
    ShortSideRandomScaleCrop,
    WeakStrongCrop,
)
from mmuda.datasets.transforms.loading import LoadDepth, LoadImage, LoadLabels, Pack
from mmuda.datasets.transforms.mixing import DrawKeys, HardClassCopyPaste
from mmuda.datasets.transforms.photometric import RandomBrightnessContrast, RandomGaussianBlur, StrongView

__all__ = [
    'DrawKeys',
    'FitPad',
    'GridSample',
    'HardClassCopyPaste',
    'LoadDepth',
    'LoadImage',
    'LoadLabels',
    'Pack',
    'PillowResize',
    'RandomBrightnessContrast',
    'RandomGaussianBlur',
    'RandomSizedCrop',
    'ShortSideRandomScaleCrop',
    'StrongView',
    'WeakStrongCrop',
]
