import contextlib
import io

with contextlib.redirect_stdout(io.StringIO()):  # it prints 'Could not import OneDL' twice
    import mmseg.datasets  # noqa: F401

from mmuda.datasets.cityscapes import CityscapesDataset
from mmuda.datasets.folder import FolderDataset
from mmuda.datasets.gta5 import GTA5Dataset
from mmuda.datasets.mapillary import MapillaryDataset
from mmuda.datasets.robotcar import RobotCarDataset
from mmuda.datasets.samplers import Draw, DrawSampler
from mmuda.datasets.source_target import SourceTargetDataset
from mmuda.datasets.synthia import SYNTHIADataset
from mmuda.datasets.transforms import (
    DrawKeys,
    FitPad,
    GridSample,
    HardClassCopyPaste,
    LoadDepth,
    LoadImage,
    LoadLabels,
    Pack,
    PillowResize,
    RandomBrightnessContrast,
    RandomGaussianBlur,
    RandomSizedCrop,
    ShortSideRandomScaleCrop,
    StrongView,
    WeakStrongCrop,
)

__all__ = [
    'CityscapesDataset',
    'Draw',
    'DrawKeys',
    'DrawSampler',
    'FitPad',
    'FolderDataset',
    'GTA5Dataset',
    'GridSample',
    'HardClassCopyPaste',
    'LoadDepth',
    'LoadImage',
    'LoadLabels',
    'MapillaryDataset',
    'Pack',
    'PillowResize',
    'RandomBrightnessContrast',
    'RandomGaussianBlur',
    'RandomSizedCrop',
    'RobotCarDataset',
    'SYNTHIADataset',
    'ShortSideRandomScaleCrop',
    'SourceTargetDataset',
    'StrongView',
    'WeakStrongCrop',
]
