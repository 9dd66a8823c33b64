from ._adata import (
    is_mudata as is_mudata,
    require_anndata as require_anndata,
    require_cells as require_cells,
    require_writable as require_writable,
    target_of as target_of,
)
from ._components import PrincipalComponents as PrincipalComponents, principal_components as principal_components
from ._content import Content as Content, MatrixContent as MatrixContent
from ._covariates import (
    Covariate as Covariate,
    find_covariates as find_covariates,
    one_hot as one_hot,
    with_covariates as with_covariates,
)
from ._inspection import (
    MatrixInspection as MatrixInspection,
    fraction_of_multiples as fraction_of_multiples,
    inspect_matrix as inspect_matrix,
)
from ._joint import (
    Proteins as Proteins,
    check_modalities as check_modalities,
    join as join,
    joined as joined,
    proteins_of as proteins_of,
)
from ._kernels import TILE_BITS as TILE_BITS
from ._modality import choose_modality as choose_modality, note_on_choice as note_on_choice
from ._normalise import (
    Normalization as Normalization,
    normalise as normalise,
    normalise_tensor as normalise_tensor,
    normalise_values as normalise_values,
)
from ._query import (
    InputRecipe as InputRecipe,
    Query as Query,
    fingerprint as fingerprint,
    learned_matrix as learned_matrix,
    open_query as open_query,
)
from ._query_proteins import (
    Hidden as Hidden,
    Measured as Measured,
    QueryProteins as QueryProteins,
    open_proteins as open_proteins,
)
from ._roles import (
    NO_PROTEINS as NO_PROTEINS,
    PROTEIN as PROTEIN,
    RNA as RNA,
    antibodies_beside as antibodies_beside,
    choose_expression as choose_expression,
    choose_known as choose_known,
    choose_proteins as choose_proteins,
    find_modalities as find_modalities,
)
from ._source import (
    CellData as CellData,
    LearnedMatrix as LearnedMatrix,
    Source as Source,
    choose_source as choose_source,
    matrices as matrices,
    reference_source as reference_source,
    require_cells_in_rows as require_cells_in_rows,
    resolve as resolve,
    stated_species as stated_species,
    var_of as var_of,
    vars_of as vars_of,
)
from .genes._features import find_antibodies as find_antibodies, gene_expression as gene_expression
from .genes._match import GeneMatch as GeneMatch, shown_fraction as shown_fraction
from .genes._reference import GeneReference as GeneReference, Portal as Portal, gene_reference as gene_reference
from .genes._space import FeatureSpace as FeatureSpace
from .genes._species import Species as Species, guess_species as guess_species
from .genes._stated import CORRECT as CORRECT, StatedSpecies as StatedSpecies
from .genes._table import gene_table as gene_table
from .proteins._dropout import kept_antibodies as kept_antibodies, kept_genes as kept_genes
from .proteins._learn import learn_panel as learn_panel
from .proteins._panel import ProteinMatch as ProteinMatch, ProteinPanel as ProteinPanel
from .proteins._recipe import ProteinRecipe as ProteinRecipe, protein_recipe as protein_recipe
from .proteins._scale import hide as hide
from .proteins._values import ProteinValues as ProteinValues, inspect_proteins as inspect_proteins

__all__ = ["FeatureSpace", "Normalization", "inspect_matrix", "normalise"]
