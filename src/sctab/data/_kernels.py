"""Compiled loops over the arrays of sparse matrices: what neither NumPy, SciPy nor PyTorch does in one pass over the data.

They release the GIL, so threads run them in parallel, and start no threads of their own. The first call on a machine compiles them, which
takes seconds; the result is kept on disk where that can be written.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sctab.io import compiled

TILE_BITS = 9
"""Bits of a tile: genes are ordered by tiles, rows of a table that are processed together."""


@compiled
def align_and_scale(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.float32],
    positions: NDArray[np.int32],
    target_sum: float,
    known_indptr: NDArray[np.int64],
    known_indices: NDArray[np.int32],
    n_genes: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.float64]]:
    """Bring rows of a dataset into the inputs of a model and scale them, in one pass.

    Parameters
    ----------
    indptr, indices, data
        Rows of the dataset, `(n_obs, n_query_vars)`, proportional to counts. `indptr` may be a part of that of a larger matrix.
    positions
        Model gene of each feature, -1 for none, `(n_query_vars,)`. Features of one gene are summed.
    target_sum
        What the genes of a cell sum to afterwards.
    known_indptr, known_indices
        Inputs after the genes, `(n_obs, n_beside)`; their values are returned as zero.
    n_genes
        Genes of the model.

    Returns
    -------
    CSR arrays of the input without zeros, rows ordered as :func:`order_by_tile` does; and the sum of each row before.
    """
    n_obs = indptr.size - 1
    most = indptr[n_obs] - indptr[0] + known_indptr[n_obs] - known_indptr[0]
    new_indptr = np.zeros(n_obs + 1, dtype=np.int64)
    columns = np.empty(most, dtype=np.int32)
    values = np.empty(most, dtype=np.float32)
    totals = np.zeros(n_obs, dtype=np.float64)
    place = np.full(n_genes, -1, dtype=np.int64)  # where a gene stands in the row, if that is not before the row begins
    row_columns = np.empty(n_genes, dtype=np.int32)
    row_values = np.empty(n_genes, dtype=np.float32)
    start = np.empty((n_genes >> TILE_BITS) + 2, dtype=np.int64)
    first = end = 0  # values read before this row and in it, and values to return
    for i in range(n_obs):
        begin = first
        total = 0.0
        start[:] = 0
        for k in range(indptr[i], indptr[i + 1]):
            gene = positions[indices[k]]
            value = data[k]
            if gene < 0 or value == 0:
                continue
            total += value
            at = place[gene]
            if at >= begin:
                row_values[at - begin] += value
            else:
                place[gene] = first
                row_columns[first - begin] = gene
                row_values[first - begin] = value
                start[(gene >> TILE_BITS) + 1] += 1
                first += 1
        start[0] = end
        for tile in range(1, start.size):
            start[tile] += start[tile - 1]
        factor = np.float32(target_sum / total) if total > 0 else np.float32(0)
        for k in range(first - begin):
            tile = row_columns[k] >> TILE_BITS
            at = start[tile]
            columns[at] = row_columns[k]
            values[at] = row_values[k] * factor
            start[tile] = at + 1
        end += first - begin
        totals[i] = total
        for k in range(known_indptr[i], known_indptr[i + 1]):
            columns[end] = n_genes + known_indices[k]
            values[end] = 0
            end += 1
        new_indptr[i + 1] = end
    return new_indptr, columns[:end], values[:end], totals
