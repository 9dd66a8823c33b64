"""Fingerprints of training cells: a filter of a few bytes per cell that recognises cells which a model has learned from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import entr

from sctab.errors import ModelFormatError

_BITS_PER_CELL = 13
"""Bits of a filter per cell, of which about half are set in the end."""
_N_HASHES = 9
"""Bits that a cell sets, ln 2 times the bits per cell: a cell that was not learned finds all of them set with a probability of 1/512."""
_N_PARTS = 2
"""Parts of the genes that have a fingerprint of their own, for data that lacks some of the model's genes."""
_ENTROPY_OF_PART = 64.0
"""Bits of entropy of the genes of a part, were they independent: of 15 million cells, different ones then do not show the same genes."""
_LEAST_ENTROPY = 40.0
"""Bits below which a part is left out, since different cells would look the same."""
_RARE = 0.25
"""Genes that at most this fraction of the cells show come first: a missing one of them matters in few cells."""
_DEVIATIONS = 3.0
"""Standard deviations above the number of cells that are recognised by chance."""
_FEWEST_DETECTED = 5
"""Detected genes from which a fingerprint tells cells apart."""
_PREFIX = "fingerprints."
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """Bloom filters of the cells that a model learned from.

    A fingerprint is a hash of the genes of the model that a cell shows, whatever their counts are. It therefore depends neither on the
    order or the storage of the data, nor on its other genes, nor on its normalisation, which keeps zeros. A cell has three: of all genes,
    and of two small parts of them, chosen at random among genes that few cells show. Where the data lacks genes or sums other features
    into them, a cell in which those of a part are as they were is still recognised by that part. A cell is recognised if one of its
    fingerprints is in the filter for it (Bloom 1970, :doi:`10.1145/362686.362692`): always, if it was learned and its genes are complete,
    and by chance with the probability :meth:`false_positive_rate` if not.
    """

    parts: NDArray[np.bool_]
    """Genes of each fingerprint, `(n_fingerprints, n_genes)`; all of them for the first one."""
    bits: NDArray[np.uint8]
    """Bits of each filter, eight in a byte, `(n_fingerprints, n_bytes)`."""
    n_cells: int
    """Cells that were added."""

    @classmethod
    def empty(cls, n_cells: int, detection: NDArray[np.floating], *, seed: int = 0) -> Self:
        """Create filters without cells.

        Parameters
        ----------
        n_cells
            Cells that will be added.
        detection
            Fraction of the training cells that show each gene, estimated from some of them, `(n_genes,)`.
        seed
            Seed of the parts.
        """
        n_genes = len(detection)
        parts = np.zeros((1 + _N_PARTS, n_genes), dtype=bool)
        parts[0] = True
        order = np.random.default_rng(seed).permutation(n_genes)
        order = order[np.argsort(np.maximum(detection[order], _RARE), kind="stable")]
        reached = np.cumsum(entr(detection[order]) + entr(1 - detection[order])) / np.log(2)
        size = min(_ENTROPY_OF_PART, float(reached[-1]) / _N_PARTS if n_genes else 0.0)
        for number in range(_N_PARTS if size >= _LEAST_ENTROPY else 0):
            parts[1 + number, order[(reached > number * size) & (reached <= (number + 1) * size)]] = True
        n_bytes = max(8, -(-n_cells * _BITS_PER_CELL // 8))
        return cls(parts, np.zeros((len(parts), n_bytes), dtype=np.uint8), 0)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], *, n_genes: int) -> Self | None:
        """Read what :meth:`to_arrays` gave; `None` for a model that keeps none.

        Raises
        ------
        ModelFormatError
            If the arrays are incomplete or do not fit the model.
        """
        found = {name.removeprefix(_PREFIX): values for name, values in arrays.items() if name.startswith(_PREFIX)}
        if not found:
            return None
        packed, bits, n_cells = (found.get(name) for name in ("parts", "bits", "n_cells"))
        if (
            packed is None
            or bits is None
            or n_cells is None
            or packed.dtype != np.uint8
            or bits.dtype != np.uint8
            or packed.ndim != 2
            or packed.shape[1] != -(-n_genes // 8)
            or bits.ndim != 2
            or len(bits) != len(packed)
            or bits.size == 0
            or n_cells.shape != (1,)
            or n_cells.dtype.kind not in "iu"
            or n_cells[0] < 0
        ):
            raise ModelFormatError(
                "The fingerprints of training cells that are stored with the model do not fit its genes. Copy the complete model again."
            )
        parts = np.unpackbits(packed, axis=1, count=n_genes).astype(bool)
        return cls(parts, bits, int(n_cells[0]))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays to store with the model."""
        return {
            f"{_PREFIX}parts": np.packbits(self.parts, axis=1),
            f"{_PREFIX}bits": self.bits,
            f"{_PREFIX}n_cells": np.array([self.n_cells], dtype=np.int64),
        }

    @property
    def n_bytes(self) -> int:
        """Size of the filters."""
        return int(self.bits.size)

    def false_positive_rate(self) -> float:
        """Probability that a cell which was not learned is recognised by chance."""
        filled = np.array([np.bitwise_count(bits).mean() / 8 for bits in self.bits])
        return float(1 - np.prod(1 - filled**_N_HASHES))

    def expected_recall(self, found: NDArray[np.bool_], detection: NDArray[np.floating]) -> float:
        """Fraction of the learned cells that are expected to be recognised in data that lacks genes.

        Parameters
        ----------
        found
            Genes of the model that the data has, `(n_genes,)`.
        detection
            Fraction of the training cells that show each gene, `(n_genes,)`.
        """
        complete = [float(np.prod(1 - detection[part & ~found], dtype=np.float64)) for part in self.parts if part.any()]
        return float(1 - np.prod([1 - each for each in complete]))

    def with_cells(self, values: sparse.csr_matrix) -> Self:
        """Add cells; the filters are changed in place, and returned with the new number of cells.

        Parameters
        ----------
        values
            Counts of training cells, or values that are zero where these are, over the genes of the model, `(n_obs, n_genes)`.
        """
        if not values.has_canonical_format:
            values = values.copy()
            values.sum_duplicates()
        for bits, (hashes, is_usable) in zip(self.bits, self._hashes(values), strict=True):
            add_hashes(bits, hashes[is_usable])
        return type(self)(self.parts, self.bits, self.n_cells + values.shape[0])

    def recognise(self, values: sparse.csr_matrix) -> NDArray[np.bool_]:
        """Mask of the cells that the model has learned from, `(n_obs,)`.

        Parameters
        ----------
        values
            Counts, or values that are zero where these are, over the genes of the model and further columns, which are left out,
            `(n_obs, n_inputs)`; no column twice in a row.
        """
        is_learned = np.zeros(values.shape[0], dtype=bool)
        for bits, (hashes, is_usable) in zip(self.bits, self._hashes(values), strict=True):
            cells = np.flatnonzero(is_usable & ~is_learned)
            is_learned[cells] = holds_hashes(bits, hashes[cells])
        return is_learned

    def _hashes(self, values: sparse.csr_matrix) -> list[tuple[NDArray[np.uint64], NDArray[np.bool_]]]:
        """Hash of each cell for each part, and mask of the cells that show enough genes of it, `(n_obs,)` each."""
        n_genes = self.parts.shape[1]
        columns = np.minimum(values.indices, n_genes)
        columns = np.where(values.data > 0, columns, n_genes)
        keys = _mixed(np.arange(1, n_genes + 2, dtype=np.uint64) * _GOLDEN)
        found = []
        for number, part in enumerate(self.parts):
            member = np.append(part, False)
            hashes = _row_sums(np.where(member, keys, np.uint64(0))[columns], values.indptr)
            n_detected = _row_sums(member.astype(np.int64)[columns], values.indptr)
            found.append((_mixed(hashes + np.uint64(number + 1)), n_detected >= _FEWEST_DETECTED))
        return found


def add_hashes(bits: NDArray[np.uint8], hashes: NDArray[np.uint64]) -> None:
    """Add cells to a filter, in place.

    Parameters
    ----------
    bits
        The filter, `(n_bytes,)`.
    hashes
        Hash of each cell, `(n_obs,)`.
    """
    for positions in _positions(hashes, 8 * len(bits)):
        np.bitwise_or.at(bits, positions >> np.uint64(3), np.uint8(1) << (positions & np.uint64(7)).astype(np.uint8))


def holds_hashes(bits: NDArray[np.uint8], hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Mask of the cells whose bits are all set, `(n_obs,)`; parameters as for :func:`add_hashes`."""
    found = np.ones(len(hashes), dtype=bool)
    for positions in _positions(hashes, 8 * len(bits)):
        found &= (bits[positions >> np.uint64(3)] >> (positions & np.uint64(7)).astype(np.uint8)) & np.uint8(1) == 1
    return found


def _row_sums(values: NDArray[Any], indptr: NDArray[np.integer]) -> NDArray[Any]:
    """Sum of the values of each row; those of unsigned integers wrap around."""
    sums = np.zeros(len(values) + 1, dtype=values.dtype)
    np.cumsum(values, out=sums[1:])
    return sums[indptr[1:]] - sums[indptr[:-1]]


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread the bits of numbers (the finaliser of SplitMix64, :doi:`10.1145/2660193.2660195`)."""
    for shift, factor in zip((np.uint64(30), np.uint64(27)), _MIX, strict=True):
        values = (values ^ (values >> shift)) * factor
    return values ^ (values >> np.uint64(31))


def _positions(hashes: NDArray[np.uint64], n_bits: int) -> Iterator[NDArray[np.uint64]]:
    """Bits of each cell, one array per hash function (double hashing, :doi:`10.1002/rsa.20208`)."""
    step = _mixed(hashes ^ _GOLDEN) | np.uint64(1)
    for number in range(_N_HASHES):
        yield (hashes + np.uint64(number) * step) % np.uint64(n_bits)


def beyond_chance(n_recognised: int, n_cells: int, false_positive_rate: float) -> bool:
    """Return whether more cells are recognised as training data than chance explains.

    Parameters
    ----------
    n_recognised, n_cells
        Cells that are recognised, and all that were looked at.
    false_positive_rate
        Probability that a cell which was not learned is recognised.
    """
    by_chance = false_positive_rate * n_cells
    return bool(n_recognised > by_chance + _DEVIATIONS * np.sqrt(by_chance) + 1)
