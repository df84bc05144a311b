from .depth import InverseDepthMetric, depth_scores
from .iou import SubsetIoUMetric, confusion_matrix, scores

__all__ = ['InverseDepthMetric', 'SubsetIoUMetric', 'confusion_matrix', 'depth_scores', 'scores']
