"""From the name of a feature to the position of a gene."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sctab.data.genes._names import canonical, case_of, common_case, common_kind, parts_of

_SAMPLE = 1000
_UNIQUE_SUFFIX = re.compile(r"[-.]\d+$")


class Lookup:
    """Finds the genes of a model by name."""

    def __init__(self, ids: Sequence[str], symbols: Sequence[str], other_ids: Mapping[int, Sequence[str]]) -> None:
        self._ids: dict[str, int] = {}
        self._symbols: dict[str, int] = {}
        by_canonical: dict[str, set[int]] = {}
        for position, (gene_id, symbol) in enumerate(zip(ids, symbols, strict=True)):
            if gene_id:
                self._ids.setdefault(gene_id, position)
            if symbol:
                self._symbols.setdefault(symbol, position)
                by_canonical.setdefault(canonical(symbol) or symbol, set()).add(position)
        for position, gene_ids in other_ids.items():
            for gene_id in gene_ids:
                self._ids.setdefault(gene_id, position)
        # A name that represents two genes once case is ignored represents neither.
        self._canonical = {name: next(iter(genes)) for name, genes in by_canonical.items() if len(genes) == 1}
        self._case = common_case(symbols)

    def resolve(self, names: Sequence[str], is_gene: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Position of the gene that each name represents, -1 where there is none, `(len(names),)`."""
        known = [name for name in names if name]
        sample = known[:: max(1, len(known) // _SAMPLE)]
        if common_kind(sample) not in {"symbols", "Ensembl ids"} and not any(map(self._is_known, sample)):
            return np.full(len(names), -1, dtype=np.int64)  # descriptions or positions: a table may have many such columns
        found = np.array([self._exactly(name) for name in names], dtype=np.int64)
        found[~is_gene] = -1
        present, exact = set(names), set(found.tolist())
        for i in np.flatnonzero(is_gene & (found < 0)).tolist():
            found[i] = self._nearly(names[i], present, exact)
        return found

    def _exactly(self, name: str) -> int:
        position = self._symbols.get(name, -1)
        if position < 0 and (gene_id := parts_of(name).gene_id):
            position = self._ids.get(gene_id, -1)
        return position

    def _nearly(self, name: str, present: set[str], exact: set[int]) -> int:
        symbol = parts_of(name).symbol
        position = self._symbols.get(symbol, -1)
        if position < 0 and {self._case, case_of(name)} != {"upper", "title"}:  # `Cd3d` in mouse is not the human `CD3D`
            position = self._canonical.get(canonical(name), -1)
            position = -1 if position in exact else position  # where both `Tf` and `TF` are there, they are of two species
        if position < 0:
            base = _UNIQUE_SUFFIX.sub("", name)  # `TBCE-1` is what `var_names_make_unique` makes of a second `TBCE`
            if base != name and base in present:
                position = self._symbols.get(base, -1)
        return position

    def examples(self) -> dict[str, str]:
        """Kinds of gene names, `symbols` and `Ensembl ids`, with an example of each."""
        first = {"symbols": next(iter(self._symbols), None), "Ensembl ids": next(iter(self._ids), None)}
        return {kind: name for kind, name in first.items() if name is not None}

    def count(self, names: Sequence[str]) -> int:
        """Number of names that are those of genes, in any case."""
        return sum(map(self._is_known, names))

    def _is_known(self, name: str) -> bool:
        return bool(name) and (self._exactly(name) >= 0 or canonical(name) in self._canonical)

    def count_paralogs(self, names: Sequence[str]) -> int:
        """Number of names that are those of genes with an `a` or `b` behind, as fish have where other vertebrates have one gene."""
        symbols = (canonical(name) for name in names if name[-1:] in {"a", "b", "A", "B"})
        return sum(symbol not in self._canonical and symbol[:-1] in self._canonical for symbol in symbols)
