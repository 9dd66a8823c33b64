from . import _dask as _dask
from ._adapt import (
    Adapt as Adapt,
    Adaptation as Adaptation,
    adapted as adapted,
    check_adapt as check_adapt,
    coverage_to_require as coverage_to_require,
)
from ._advice import FEW_GENES as FEW_GENES, Choice as Choice, best_choice as best_choice, few_genes_note as few_genes_note
from ._backends import Backend as Backend, portable_networks as portable_networks
from ._backoff import BackOff as BackOff, promise as promise
from ._block_predictor import (
    BlockPredictor as BlockPredictor,
    Evaluation as Evaluation,
    require_batch_size as require_batch_size,
)
from ._calibration import Calibration as Calibration, Members as Members, Unit as Unit, fit_calibration as fit_calibration
from ._contrast import can_contrast as can_contrast, contrast_query as contrast_query
from ._decide import Decision as Decision, decide as decide
from ._depth import Depth as Depth, DepthSums as DepthSums
from ._device import device_of as device_of
from ._engine import Engine as Engine
from ._ensemble_files import (
    EnsembleFile as EnsembleFile,
    begin_or_resume as begin_or_resume,
    check_alike as check_alike,
    check_stored as check_stored,
    free_path as free_path,
    hash_of_members as hash_of_members,
    member_path as member_path,
    member_paths as member_paths,
    read_ensemble as read_ensemble,
    write_ensemble as write_ensemble,
)
from ._evidence import EXPLANATION as EXPLANATION, explained_shares as explained_shares, gene_evidence as gene_evidence
from ._expected import Expected as Expected, restrict as restrict
from ._explain import (
    ExplainedCells as ExplainedCells,
    explain_block as explain_block,
    explain_query as explain_query,
    require_explainable as require_explainable,
)
from ._files import FileAnnotation as FileAnnotation, annotate_cells as annotate_cells, open_queries as open_queries
from ._fingerprints import Fingerprints as Fingerprints, beyond_chance as beyond_chance
from ._held_out import HeldOutCells as HeldOutCells
from ._jax_model import JaxModel as JaxModel, JaxOutput as JaxOutput
from ._journal import Journal as Journal, Part as Part
from ._learn_types import TypeSums as TypeSums, folds_of_units as folds_of_units, learn_types as learn_types
from ._local import engine_for as engine_for, evaluate_cells as evaluate_cells, predict_cells as predict_cells
from ._neighbourhoods import MOST_CELLS as MOST_CELLS, Neighbourhoods as Neighbourhoods
from ._networks import EARLIER_WEIGHTS as EARLIER_WEIGHTS, build_network as build_network, take_weights as take_weights
from ._panel import Panel as Panel
from ._predictor import HasPredictor as HasPredictor, Predictor as Predictor, load_predictor as load_predictor
from ._query_check import (
    CellCounts as CellCounts,
    PromiseCheck as PromiseCheck,
    SampledCells as SampledCells,
    count_cells as count_cells,
    holds_counts as holds_counts,
    sample_cells as sample_cells,
)
from ._query_test import (
    MOST_UNSEEN as MOST_UNSEEN,
    fraction_unseen as fraction_unseen,
    sample_ranges as sample_ranges,
    unseen_test as unseen_test,
)
from ._reference_arrays import NO_ARRAYS as NO_ARRAYS, Arrays as Arrays
from ._sizes import BATCH_SIZE as BATCH_SIZE, DENSE_BATCH_SIZE as DENSE_BATCH_SIZE
from ._sketch import ReferenceSketch as ReferenceSketch, choose_sketch as choose_sketch, is_sketched as is_sketched
from ._spec import CLUSTERING as CLUSTERING, NO_SETUP as NO_SETUP, ModelSpec as ModelSpec, library_versions as library_versions
from ._storage import (
    StoredModel as StoredModel,
    is_ensemble as is_ensemble,
    problem_of_weights as problem_of_weights,
    read_model as read_model,
    read_spec as read_spec,
    require_replaceable as require_replaceable,
    require_sound as require_sound,
    write_model as write_model,
)
from ._terms import Hierarchy as Hierarchy, Terms as Terms
from ._unseen import (
    LogitTest as LogitTest,
    NeighbourhoodTest as NeighbourhoodTest,
    SeenTypes as SeenTypes,
    UnseenTest as UnseenTest,
    largest_p_value as largest_p_value,
    types_of_arrays as types_of_arrays,
    types_to_arrays as types_to_arrays,
)
from ._vote import Votes as Votes, VoteSums as VoteSums, elect as elect

__all__ = ["ModelSpec", "Predictor", "decide", "load_predictor"]
