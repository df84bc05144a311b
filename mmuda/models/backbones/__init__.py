from .resnet import CeilResNet

__all__ = ['CeilResNet']
