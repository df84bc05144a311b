from mmuda.datasets.transforms.geometric import PillowResize, ShortSideRandomScaleCrop, WeakStrongCrop
from mmuda.datasets.transforms.loading import LoadImage, LoadLabels, Pack
from mmuda.datasets.transforms.mixing import DrawKeys
from mmuda.datasets.transforms.photometric import RandomGaussianBlur

__all__ = [
    'DrawKeys',
    'LoadImage',
    'LoadLabels',
    'Pack',
    'PillowResize',
    'RandomGaussianBlur',
    'ShortSideRandomScaleCrop',
    'WeakStrongCrop',
]
