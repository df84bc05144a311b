from mmuda.datasets.transforms.geometric import FitPad, PillowResize, ShortSideRandomScaleCrop, WeakStrongCrop
from mmuda.datasets.transforms.loading import LoadDepth, LoadImage, LoadLabels, Pack
from mmuda.datasets.transforms.mixing import DrawKeys
from mmuda.datasets.transforms.photometric import RandomGaussianBlur

__all__ = [
    'DrawKeys',
    'FitPad',
    'LoadDepth',
    'LoadImage',
    'LoadLabels',
    'Pack',
    'PillowResize',
    'RandomGaussianBlur',
    'ShortSideRandomScaleCrop',
    'WeakStrongCrop',
]
