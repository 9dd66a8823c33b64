from . import _streaming as _streaming
from ._cluster_cells import (
    NO_LABELS as NO_LABELS,
    ClusterCells as ClusterCells,
    UnlabeledAnnData as UnlabeledAnnData,
    UnlabeledCorpus as UnlabeledCorpus,
    UnlabeledReference as UnlabeledReference,
    describe_clustering as describe_clustering,
)
from ._cluster_loop import fit_clusters as fit_clusters
from ._cluster_settings import ClusteringResult as ClusteringResult, ClusteringSettings as ClusteringSettings
from ._continuation import alike_in as alike_in, ids_of as ids_of, spec_for_query as spec_for_query
from ._corpus import LEARNED as LEARNED, VALIDATED as VALIDATED, CorpusReference as CorpusReference
from ._genes import fewer_genes_than_cells as fewer_genes_than_cells, most_variable_genes as most_variable_genes
from ._importance import importance_of_genes as importance_of_genes, measure_importance as measure_importance
from ._labels import (
    check_labels as check_labels,
    corrected_macro_f1 as corrected_macro_f1,
    label_ids_in as label_ids_in,
    require_known_labels as require_known_labels,
    subtypes as subtypes,
    warn_about_ids as warn_about_ids,
    warn_about_types as warn_about_types,
)
from ._logging import (
    Checkpoints as Checkpoints,
    LoggerChoice as LoggerChoice,
    check_checkpoints as check_checkpoints,
    check_logger as check_logger,
    check_logging as check_logging,
    log_epoch as log_epoch,
    read_augmentation as read_augmentation,
    read_metrics as read_metrics,
    run_directory as run_directory,
    start_logging as start_logging,
)
from ._loop import fit_network as fit_network, seeded as seeded, stop_unless as stop_unless
from ._memory import MemoryReference as MemoryReference
from ._memory_data import own_copy as own_copy
from ._processes import is_first_process as is_first_process
from ._reference import HeldOut as HeldOut, Reference as Reference, TrainingData as TrainingData, summarise as summarise
from ._reference_checks import note_on_validation as note_on_validation
from ._settings import (
    LARGE_REFERENCE as LARGE_REFERENCE,
    PUBLISHED_TRAINING as PUBLISHED_TRAINING,
    REFIT_BELOW as REFIT_BELOW,
    CommonSettings as CommonSettings,
    TrainingResult as TrainingResult,
    TrainingSettings as TrainingSettings,
    as_history as as_history,
    network_training as network_training,
    stored_history as stored_history,
    trainer_options as trainer_options,
)
from ._threads import useful_threads as useful_threads
