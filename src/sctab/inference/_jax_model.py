"""A trained model as pure functions for JAX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sctab.errors import InputTypeError, InputValueError, Parameter, SettingError
from sctab.inference._calibration import Calibration
from sctab.inference._portable import model_input, or_unmeasured, probabilities_of, without_proteins
from sctab.inference._spec import ModelSpec
from sctab.nn import Array, PortableNetwork


class JaxOutput(NamedTuple):
    """Output of the networks of a model."""

    logits: Any
    """`(n_obs, n_members, n_labels)`; one member unless the model is an ensemble."""
    latent: Any
    """`(n_obs, n_latent)`, side by side for the members of an ensemble; `None` where the model has no latent space."""


class JaxModel:
    """A trained model as pure functions for JAX, and a pytree of its parameters; :meth:`sctab.inference.Predictor.to_jax` makes it.

    Called with counts it gives probabilities: it normalises, evaluates and calibrates in one compiled function, in batches of few sizes
    that are spread over devices. The functions that it consists of, :meth:`normalise`, :meth:`apply`, :meth:`calibrate` and
    :meth:`probabilities`, can be compiled, differentiated and mapped as any other function of JAX.

    Genes are not matched by name here: columns are the genes of the model in its order, ``spec.features``. :func:`sctab.tl.annotate` with
    ``backend="jax"`` takes any dataset. A model that also looks at surface proteins is taken here as for cells without them.

    Parameters
    ----------
    spec
        Genes, labels, normalisation and calibration.
    networks
        Those of the members.
    devices
        Devices of JAX to compute on; by default all of its default platform.

    Raises
    ------
    MissingDependencyError
        If JAX is not installed.

    Examples
    --------
    >>> import jax, numpy as np, sctab
    >>> predict = sctab.zoo.load_predictor("pbmc").to_jax()
    >>> counts = np.random.default_rng(0).poisson(0.3, size=(3, len(predict.spec.features)))
    >>> predict(counts).shape == (3, len(predict.spec.labels))
    True
    >>> values = predict.normalise(counts)
    >>> gradient = jax.grad(lambda x: predict.apply(predict.params, x).logits[:, 0, 0].sum())(values)
    >>> gradient.shape == counts.shape
    True
    """

    def __init__(self, spec: ModelSpec, networks: Sequence[PortableNetwork], devices: Sequence[Any] | None = None) -> None:
        from sctab.nn import JAX_OPERATORS, BatchedFunction, JaxMembers  # which import JAX

        self.spec = without_proteins(spec)
        self._ops = JAX_OPERATORS
        self._networks = tuple(networks)
        self._members = JaxMembers(networks)
        self._compiled = BatchedFunction(self.probabilities, self._members.parameters, devices)

    def __reduce__(self) -> tuple[Any, ...]:
        """For other processes, which have devices of their own."""
        return JaxModel, (self.spec, self._networks)

    @property
    def params(self) -> Any:
        """Parameters on the devices: for each architecture that the members have a pytree, of several members with a first axis for them.

        A single model, and an ensemble of members of one architecture, have one.
        """
        return self._compiled.parameters

    @property
    def host_params(self) -> Any:
        """The same as NumPy arrays."""
        return self._members.parameters

    def apply(self, params: Any, values: Array) -> JaxOutput:
        """Logits and latent of normalised expression, a pure function.

        Parameters
        ----------
        params
            :attr:`params`, or others of the same shapes.
        values
            Normalised expression, followed by the one-hot categories of covariates, `(n_obs, n_inputs)`; see :meth:`normalise`.
        """
        return JaxOutput(*self._members(params, values))

    def normalise(self, counts: Array, covariates: Array | None = None) -> Array:
        """Input of the networks from counts, a pure function, `(n_obs, n_inputs)`.

        Parameters
        ----------
        counts
            Counts over the genes of the model in its order, `(n_obs, n_vars)`.
        covariates
            One column for each of ``spec.category_names``, 1 for the category of a cell, `(n_obs, n_categories)`. Zeros are unknown
            categories, and the default.
        """
        return model_input(self._ops, self.spec, self._ops.asarray(counts), covariates)

    def calibrate(self, logits: Array) -> Array:
        """Calibrated probabilities from the logits of :meth:`apply`, a pure function, `(n_obs, n_labels)`.

        Parameters
        ----------
        logits
            `(n_obs, n_members, n_labels)`.
        """
        members = [logits[:, i] for i in range(logits.shape[1])]
        return probabilities_of(self._ops, self.spec.calibration or Calibration(), members)

    def probabilities(self, params: Any, counts: Array, covariates: Array | None = None) -> Array:
        """Calibrated probabilities from counts, a pure function, `(n_obs, n_labels)`; NaN for cells without a count.

        Parameters
        ----------
        params
            As in :meth:`apply`.
        counts, covariates
            As in :meth:`normalise`.
        """
        counts = self._ops.asarray(counts)
        found = self.calibrate(self.apply(params, self.normalise(counts, covariates)).logits)
        return or_unmeasured(self._ops, counts, found)

    def __call__(
        self, counts: sparse.sparray | sparse.spmatrix | NDArray[Any], covariates: NDArray[Any] | None = None
    ) -> NDArray[np.float32]:
        """Compute the probabilities of all labels, those of ``predict(…, soft=True)``.

        Parameters
        ----------
        counts
            Counts over the genes of the model in its order, `(n_obs, n_vars)`, sparse or dense.
        covariates
            As in :meth:`normalise`.

        Returns
        -------
        `(n_obs, n_labels)`; NaN for cells without a count.

        Raises
        ------
        InputTypeError
            If the counts are not a matrix, or have names that would be ignored.
        InputValueError
            If they have another number of columns, or values that cannot be counts; or if the covariates do not fit them.
        SettingError
            If there are covariates and the model has none.
        """
        matrices = [_matrix(counts, "counts", len(self.spec.features), "genes, in the order of `spec.features`")]
        if covariates is not None:
            names = self.spec.category_names
            if not names:
                raise SettingError(Parameter("covariates"), " were provided, and the model has none. Omit them.")
            matrices.append(_matrix(covariates, "covariates", len(names), "categories, in the order of `spec.category_names`"))
            if matrices[0].shape[0] != matrices[1].shape[0]:
                raise InputValueError(
                    Parameter("covariates"), f" has {matrices[1].shape[0]} rows, and there are {matrices[0].shape[0]} cells."
                )
        found: NDArray[np.float32] = self._compiled(*matrices)
        return found


def _matrix(matrix: Any, name: str, n_columns: int, what: str) -> Any:
    """A matrix with the columns of the model, CSR or dense, whose values can be counts."""
    if hasattr(matrix, "var_names") or hasattr(matrix, "columns"):
        raise InputTypeError(
            Parameter(name),
            f" is a `{type(matrix).__name__}`, whose names would be ignored. Provide a matrix, or call `sctab.tl.annotate` with "
            '`backend="jax"`, which matches genes by name.',
        )
    matrix = sparse.csr_matrix(matrix) if sparse.issparse(matrix) else np.asarray(matrix)
    values = matrix.data if sparse.issparse(matrix) else matrix
    if matrix.ndim != 2 or values.dtype.kind not in "fiub":
        raise InputTypeError(
            Parameter(name), f" must be a matrix of numbers, and has shape {matrix.shape} and type {values.dtype}."
        )
    if matrix.shape[1] != n_columns:
        raise InputValueError(Parameter(name), f" has {matrix.shape[1]} columns, and the model has {n_columns} {what}.")
    if values.size and not (np.isfinite(values).all() and values.min() >= 0):
        raise InputValueError(Parameter(name), " has negative values, NaN or infinity, and counts are at least zero.")
    return matrix
