from mmuda.utils.checkpoint import install_safe_loader

from . import hooks, optimizers

install_safe_loader()

__all__ = ['hooks', 'optimizers']
