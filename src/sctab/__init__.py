"""Cell type annotation of single-cell RNA-seq data that says how sure it is."""

from importlib.metadata import version

from sctab import benchmark, corpus, get, model, pl, pp, tl, tuning, zoo
from sctab._errors import (
    ClusterError,
    DataFileError,
    GeneOverlapError,
    InputTypeError,
    InputValueError,
    KeyNotFoundError,
    LabelError,
    MissingDependencyError,
    ModelFormatError,
    ModelNotFoundError,
    NotTrainedError,
    OutputError,
    OutputExistsError,
    SctabError,
    SctabWarning,
    SettingError,
)

__version__ = version("sctab")

__all__ = [
    "ClusterError",
    "DataFileError",
    "GeneOverlapError",
    "InputTypeError",
    "InputValueError",
    "KeyNotFoundError",
    "LabelError",
    "MissingDependencyError",
    "ModelFormatError",
    "ModelNotFoundError",
    "NotTrainedError",
    "OutputError",
    "OutputExistsError",
    "SctabError",
    "SctabWarning",
    "SettingError",
    "benchmark",
    "corpus",
    "get",
    "model",
    "pl",
    "pp",
    "tl",
    "tuning",
    "zoo",
]
