from ._annotation import Annotation as Annotation, annotate_call as annotate_call, read_annotation as read_annotation
from ._augmentation import augmentation as augmentation
from ._cells import annotation as annotation
from ._colours import stored_colours as stored_colours
from ._comparison import comparison as comparison
from ._composition import composition as composition
from ._consensus import consensus as consensus
from ._embedding import Embedding as Embedding, embedding as embedding
from ._evaluation import evaluation as evaluation
from ._evidence import evidence as evidence, evidence_tables as evidence_tables
from ._explanation import explanation as explanation
from ._expression import layer_of as layer_of
from ._genes import genes as genes
from ._groups import NO_LABEL as NO_LABEL
from ._probabilities import probabilities as probabilities
from ._proteins import proteins as proteins
from ._review import review as review
from ._training import training as training
from ._tree import ontology as ontology
from ._types import types as types
from ._vote import vote as vote

__all__ = [
    "annotation",
    "augmentation",
    "comparison",
    "composition",
    "consensus",
    "evaluation",
    "evidence",
    "explanation",
    "genes",
    "ontology",
    "probabilities",
    "proteins",
    "review",
    "training",
    "types",
    "vote",
]
