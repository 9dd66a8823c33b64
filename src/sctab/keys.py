"""Every key and file name that `sctab` writes, in one place."""

from typing import Final

from sctab import _lazy
from sctab.errors import Parameter, SettingError

__dir__ = _lazy.defined_in(__file__)

LONGEST_NAME = 200
"""Bytes of the name of an array, which is that of a directory in Zarr."""

DEFAULT_KEY_ADDED: Final = "sctab"
DEFAULT_CLUSTERS_KEY: Final = "scdeepcluster"

# Suffixes of the `obs` columns; the full name is `{key_added}_{suffix}`.
OBS_LABEL: Final = "label"
OBS_LABEL_ID: Final = "label_id"
OBS_CONFIDENCE: Final = "confidence"
OBS_TERM: Final = "term"
OBS_TERM_ID: Final = "term_id"
OBS_N_LABELS_BELOW: Final = "n_labels_below"
OBS_UNCERTAINTY: Final = "uncertainty"
OBS_UNSEEN: Final = "unseen"
OBS_IS_UNSEEN: Final = "is_unseen"
OBS_EXCLUDED: Final = "excluded"
OBS_EXPECTED_ENTROPY: Final = "expected_entropy"
OBS_MUTUAL_INFORMATION: Final = "mutual_information"

UNS_EXPECTED: Final = "expected"
"""Entry of the record of a run: labels that can occur."""

# `obsm`: latent `X_{key_added}`, probabilities `{key_added}_probabilities`.
OBSM_LATENT_PREFIX: Final = "X_"
OBSM_PROBABILITIES: Final = "probabilities"
JOINT_PROTEINS: Final = "_sctab_proteins"
"""Antibodies beside gene expression, in `obsm`, and their names, in `uns`, of an AnnData that was made of a MuData."""

# Columns of `var` that may say which features are genes, and the value that does.
FEATURE_TYPE_COLUMNS: Final = ("feature_types", "feature_type")
GENE_EXPRESSION: Final = "gene expression"

# Columns of `obs`, and entries of `uns`, in which portals write the species of the cells.
SPECIES_KEYS: Final = ("organism", "organism_ontology_term_id", "species", "Organism", "Species")

# Keys in the scvi-tools registry.
REGISTRY_X: Final = "X"
REGISTRY_LABELS: Final = "labels"
REGISTRY_DONOR: Final = "donor"
REGISTRY_BATCH: Final = "batch"

SCVI_KEYS: Final = ("_scvi_uuid", "_scvi_manager_uuid")
"""Key in `uns` by which scvi-tools identifies an AnnData, copies included."""

# Files of a model directory.
WEIGHTS_FILE: Final = "model.safetensors"
SPEC_FILE: Final = "model.json"
REFERENCE_FILE: Final = "reference.safetensors"
CARD_FILE: Final = "MODEL_CARD.md"
CARD_FACTS_FILE: Final = "card.json"
FORMAT_NAME: Final = "sctab-model"
FORMAT_VERSION: Final = 3
FIRST_FORMAT_VERSION: Final = 1  # before descriptions had a hash
FORMAT_WITH_PROTEINS: Final = 4  # of models of several modalities, which earlier versions cannot use
FORMAT_VERSIONS: Final = (FIRST_FORMAT_VERSION, 2, FORMAT_VERSION, FORMAT_WITH_PROTEINS)  # 2: before models were calibrated
ENSEMBLE_FILE: Final = "ensemble.json"
ENSEMBLE_FORMAT: Final = "sctab-ensemble"
EXPORT_FORMAT: Final = "sctab-export"

DEFAULT_MODEL: Final = "pbmc"

# Columns of `obs` that say which cells to use for what, and keys of `uns` that say how they were chosen: `{key_added}_{suffix}`.
OBS_SPLIT: Final = "split"
OBS_SOURCE: Final = "source"
VARM_MEASURED: Final = "measured"
OBS_SKETCH: Final = "sketch"
OBS_DISTILLED: Final = "distilled"

# Explanations: `obsm` and `uns`, `{key_added}_{suffix}`.
OBSM_TOP_GENES: Final = "top_genes"
OBSM_TOP_WEIGHTS: Final = "top_weights"
UNS_EXPLANATION: Final = "explanation"
UNS_EVALUATION: Final = "evaluation"

# Votes: `obs` columns and the table in `uns`, `{key_added}_{suffix}`.
OBS_VOTE: Final = "vote"
OBS_VOTE_ID: Final = "vote_id"
OBS_VOTE_SHARE: Final = "vote_share"
OBS_VOTE_TERM: Final = "vote_term"
OBS_VOTE_TERM_ID: Final = "vote_term_id"
OBS_CLUSTERS: Final = "clusters"
UNS_VOTE: Final = "vote"

# Consensus of several tools, and review of given labels: `obs` columns and tables in `uns`, `{key_added}_{suffix}`.
OBS_CONSENSUS: Final = "consensus"
OBS_CONSENSUS_ID: Final = "consensus_id"
OBS_CONSENSUS_N_LABELS_BELOW: Final = "consensus_n_labels_below"
OBS_AGREEMENT: Final = "agreement"
UNS_CONSENSUS: Final = "consensus"
OBS_IS_SUSPECT: Final = "is_suspect"
OBS_REVIEW_LABEL: Final = "review_label"
OBS_REVIEW_MARGIN: Final = "review_margin"
UNS_REVIEW: Final = "review"


def check_key_added(key_added: str, **columns: str | None) -> None:
    """Refuse a prefix that cannot be the name of an array in a file, before any work is done.

    Parameters
    ----------
    key_added
        The prefix.
    **columns
        Columns of `obs` that are read, by the parameter that names them: results never replace them.

    Raises
    ------
    SettingError
        If it is not a string, is empty, `.` or `..`, is too long, or has a `/` or a control character in it; or if it is one of `columns`.
    """
    if not isinstance(key_added, str) or not key_added.strip() or key_added in {".", ".."} or not _is_name(key_added):
        raise SettingError(
            Parameter("key_added", key_added),
            f" cannot be the name of something in a file. Provide one without `/` and control characters, such as "
            f"`{DEFAULT_KEY_ADDED}`.",
        )
    for parameter, column in columns.items():
        if column == key_added:
            raise SettingError(
                Parameter("key_added", key_added),
                " is the column of ",
                Parameter(parameter),
                ", which is not replaced. Use another name.",
            )


def is_encodable(text: str) -> bool:
    """Return whether a string is Unicode: what came from undecodable bytes is not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_name(text: str) -> bool:
    return "/" not in text and text.isprintable() and is_encodable(text) and len(text.encode()) <= LONGEST_NAME
