from . import (
    _published as _published,
    _published_files as _published_files,
    _published_runs as _published_runs,
    _untrusted as _untrusted,
)
from ._card import (
    CardFacts as CardFacts,
    Confusion as Confusion,
    DataSource as DataSource,
    HeldOutScores as HeldOutScores,
    LabelScore as LabelScore,
    ModelCard as ModelCard,
    PromiseScore as PromiseScore,
    add_scores as add_scores,
    card_of as card_of,
    write_card as write_card,
)
from ._doctor import Finding as Finding, check_machine as check_machine
from ._index import ModelEntry as ModelEntry, ModelSource as ModelSource
from ._keeping import (
    Verification as Verification,
    prune as prune,
    remove as remove,
    verify as verify,
)
from ._listing import (
    ModelListing as ModelListing,
    cache_size as cache_size,
    cached_sources as cached_sources,
    info as info,
    list_models as list_models,
)
from ._load import load as load
from ._packaged import packaged_path as packaged_path
from ._predictor import load_predictor as load_predictor
from ._publish import publish as publish
from ._published import import_checkpoint as import_checkpoint
from ._resolve import fetch as fetch, model_path as model_path
from ._scdeepcluster import (
    PublishedAutoencoder as PublishedAutoencoder,
    export_scdeepcluster as export_scdeepcluster,
    import_scdeepcluster as import_scdeepcluster,
)

__all__ = [
    "add_scores",
    "card_of",
    "export_scdeepcluster",
    "fetch",
    "import_checkpoint",
    "import_scdeepcluster",
    "info",
    "list_models",
    "load",
    "packaged_path",
    "prune",
    "publish",
    "remove",
    "verify",
    "write_card",
]
