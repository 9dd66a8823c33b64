from ._annotation import Annotation as Annotation, annotate_call as annotate_call, read_annotation as read_annotation
from ._augmentation import augmentation as augmentation
from ._consensus import consensus as consensus
from ._evaluation import evaluation as evaluation
from ._explanation import explanation as explanation
from ._genes import genes as genes
from ._probabilities import probabilities as probabilities
from ._training import training as training
from ._vote import vote as vote

__all__ = ["augmentation", "consensus", "evaluation", "explanation", "genes", "probabilities", "training", "vote"]
