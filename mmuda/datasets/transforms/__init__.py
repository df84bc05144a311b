from mmuda.datasets.transforms.geometric import (
    FitPad,
    GridSample,
    PillowResize,
    ShortSideRandomScaleCrop,
    WeakStrongCrop,
)
from mmuda.datasets.transforms.loading import LoadDepth, LoadImage, LoadLabels, Pack
from mmuda.datasets.transforms.mixing import DrawKeys
from mmuda.datasets.transforms.photometric import RandomGaussianBlur

__all__ = [
    'DrawKeys',
    'FitPad',
    'GridSample',
    'LoadDepth',
    'LoadImage',
    'LoadLabels',
    'Pack',
    'PillowResize',
    'RandomGaussianBlur',
    'ShortSideRandomScaleCrop',
    'WeakStrongCrop',
]
