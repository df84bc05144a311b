from .iou import SubsetIoUMetric, confusion_matrix, scores

__all__ = ['SubsetIoUMetric', 'confusion_matrix', 'scores']
