from .summed_aspp_head import SummedASPPHead

__all__ = ['SummedASPPHead']
