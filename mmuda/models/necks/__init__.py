from .depth_guide import DepthGuide

__all__ = ['DepthGuide']
