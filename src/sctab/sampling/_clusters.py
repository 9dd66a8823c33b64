"""Parts of types whose cells differ from those of the other parts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans


def clusters_of_types(
    components: NDArray[np.floating], codes: NDArray[np.integer], n_parts: int, *, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Cut each type into clusters (k-means), and give each part one cluster of each type, at random.

    Parameters
    ----------
    components
        Coordinates of cells, such as principal components, `(n_obs, n_components)`.
    codes
        Type of each cell, `(n_obs,)`.
    n_parts
        Number of parts. Types with fewer different cells are missing in some.
    rng
        Source of randomness.

    Returns
    -------
    Part of each cell, `(n_obs,)`, from 0.
    """
    parts = np.empty(len(codes), dtype=np.int64)
    for code in np.unique(codes):
        cells = np.flatnonzero(codes == code)
        n_clusters = min(n_parts, len(np.unique(components[cells], axis=0)))
        seed = int(rng.integers(2**31))
        found = KMeans(n_clusters, n_init=3, random_state=seed).fit_predict(components[cells].astype(np.float64))
        parts[cells] = rng.permutation(n_parts)[found]
    return parts
