"""Cell type annotation of single-cell RNA-seq data that says how sure it is."""

from importlib.metadata import version

from sctab import _caches, benchmark, corpus, get, model, pl, pp, tl, tuning, zoo  # noqa: F401 - the first acts when it is imported
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
