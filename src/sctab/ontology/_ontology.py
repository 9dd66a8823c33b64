"""Names, synonyms and kinds of cell types."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache, cached_property
from os import PathLike

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sctab.ontology._resolution import NameLookup, Resolution
from sctab.ontology._sources import OBO_FOUNDRY, ObsoleteTerm, Release, embedded_files, read_embedded, read_file, read_obo_foundry


class CellOntology:
    """Terms of the Cell Ontology, their names and synonyms, and which is a kind of which.

    Build one with :meth:`embedded`, which needs no network, with :meth:`from_file`, or with :meth:`from_obo_foundry`. Methods take terms by
    id, name or exact synonym and give them by id; :meth:`name` and :meth:`replacement` take an id. "Is a kind of" follows `is_a` only, and
    a term may be a kind of several that are not kinds of each other.

    Parameters
    ----------
    names
        Preferred name of every term that is in use.
    synonyms
        Exact synonyms by term.
    ancestors
        All terms that a term is a kind of, without the term itself.
    version
        Release.
    obsolete
        Terms that are no longer in use, by id.

    Examples
    --------
    >>> ontology = CellOntology.embedded()
    >>> ontology.find("B lymphocyte"), ontology.name("CL:0000236")
    ('CL:0000236', 'B cell')
    >>> ontology.is_kind_of("CD14-positive monocyte", "monocyte")
    True
    """

    def __init__(
        self,
        *,
        names: Mapping[str, str],
        synonyms: Mapping[str, Iterable[str]],
        ancestors: Mapping[str, Iterable[str]],
        version: str,
        obsolete: Mapping[str, ObsoleteTerm] | None = None,
    ) -> None:
        self.version = version
        self._names = dict(names)
        self._synonyms = {term: tuple(words) for term, words in synonyms.items()}
        self._ancestors = {term: frozenset(above) - {term} for term, above in ancestors.items()}
        self._obsolete = dict(obsolete or {})
        self._lookup = NameLookup(version, self._names, self._synonyms, self._ancestors, self._obsolete)

    @classmethod
    def embedded(cls, version: str | None = None) -> CellOntology:
        """A release that comes with `cellxgene-ontology-guide`; each is read once per process.

        Parameters
        ----------
        version
            One of :meth:`embedded_versions`; by default the newest.

        Raises
        ------
        SettingError
            If that release is not embedded.
        """
        return _embedded(version or cls.embedded_versions()[-1])

    @staticmethod
    def embedded_versions() -> tuple[str, ...]:
        """Releases that come with `cellxgene-ontology-guide`, the newest last."""
        return _embedded_versions()

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> CellOntology:
        """Read an ontology from `.obo`, `.owl` or `.json` with pronto; terms other than `CL:` are left out.

        Parameters
        ----------
        path
            The file.

        Raises
        ------
        DataFileError
            If the file does not exist, is not an ontology, or has no term of the Cell Ontology.
        """
        return cls._of(read_file(path))

    @classmethod
    def from_obo_foundry(
        cls,
        name: str = "cl",
        *,
        cache_dir: str | PathLike[str] | None = None,
        refresh: bool = False,
        address: str = OBO_FOUNDRY,
        sha256: str | None = None,
    ) -> CellOntology:
        """The newest release of the OBO Foundry, downloaded once over https and read from a cache from then on.

        The OBO Foundry publishes no checksums: the SHA-256 of the download is kept beside it, and compared whenever it is read again.

        Parameters
        ----------
        name
            Name in the OBO Foundry. Whatever it is, terms other than `CL:` are left out.
        cache_dir
            Where the file is kept; by default the directory that the environment variable `SCTAB_CACHE` names, or `sctab` in the
            cache of your account.
        refresh
            Download it again. A file that cannot be downloaded or read does not replace the existing one.
        address
            Where it is downloaded from, over https; `{name}` represents the name.
        sha256
            Hash that the file must have, where you know it, for example from somebody whose result you repeat.

        Raises
        ------
        SettingError
            If the name is none, or the address is not of https.
        DataFileError
            If it has to be downloaded and cannot be, if it is not an ontology, or if its hash is another one.
        OutputError
            If it cannot be written to the cache.
        """
        return cls._of(read_obo_foundry(name, cache_dir=cache_dir, refresh=refresh, address=address, sha256=sha256))

    @classmethod
    def _of(cls, release: Release) -> CellOntology:
        return cls(**vars(release))

    def find(self, name: str) -> str | None:
        """Id of the term with this id, name, exact synonym or common short name, without regard to case; `None` where there is none.

        Synonyms that are abbreviations or that fit another term as well are left out: see :meth:`resolve`.
        """
        return self._lookup.find(name)

    def resolve(self, name: str, *, contexts: Collection[str] = ()) -> Resolution:
        """Id of the term that a name means, as far as that is certain.

        A name is looked for, in this order, among

        1. ids and the terms' own names. A table has the few names of terms that authors give to another type as well: `Purkinje cell`
           is one of the cerebellum in the ontology, and many mean one of the heart;
        2. common short names, a table that comes with the package;
        3. exact synonyms. Left out are abbreviations and codes (`DC2` is plasmacytoid dendritic cell in the ontology, and another cell
           today), synonyms of one word and "cell" whose word other terms have too (`crypt cell` is an olfactory neuron there), and
           those of a term of one species that do not say so (`Sst Chodl` is a neuron of the primate striatum there);
        4. obsolete terms, which lead to their :meth:`replacement`, and names in other embedded releases, the newest first;
        5. the same with words in another form: plurals, Greek letters, signs of markers (`CD14+ Monocytes`), another order, without "cell"
           or, for CD4 and CD8 T cells, without "alpha-beta".

        The note reports every match but the first kind, and what else a name may mean where `contexts` do not tell.

        Parameters
        ----------
        name
            Id, name or synonym, without regard to case.
        contexts
            Where the name is used, see :meth:`LabelSpace.from_names`: some short names mean something in one tissue only.

        Examples
        --------
        >>> ontology = CellOntology.embedded()
        >>> ontology.resolve("B cell")
        Resolution(term='CL:0000236', note='')
        >>> ontology.resolve("CD14+ Monocytes")
        Resolution(term='CL:0001054', note='`CD14+ Monocytes` is read as `CD14-positive monocyte` (`CL:0001054`), in another form.')
        >>> ontology.resolve("DC2").term is None
        True
        """
        others = (self.embedded(version)._lookup for version in reversed(self.embedded_versions()))
        return self._lookup.resolve(name, contexts, others)

    def nearest(self, name: str, n: int = 3) -> tuple[str, ...]:
        """Terms with the names or exact synonyms that are most similar to a name in spelling, the best first; `()` where none is.

        "cell" does not count. Up to three letters are like names that have them as a word or as initials.

        Examples
        --------
        >>> ontology = CellOntology.embedded()
        >>> ontology.name(ontology.nearest("mature eosinofil")[0])
        'mature eosinophil'
        """
        return self._lookup.nearest(name, n)

    def replacement(self, term: str) -> str | None:
        """The current term that the ontology names in the place of an obsolete one; `None` where it names none.

        A replacement that is obsolete itself leads on to its own. What the ontology only suggests to consider is not a replacement.
        """
        return self._lookup.replacement(term)

    def name(self, term: str) -> str | None:
        """Preferred name of a term; `None` where it is unknown."""
        return self._names.get(term)

    def synonyms(self, term: str) -> tuple[str, ...]:
        """Exact synonyms of a term; empty where it is unknown."""
        return self._synonyms.get(self._term(term), ())

    def ancestors(self, term: str) -> frozenset[str]:
        """All terms that a term is a kind of, without itself; empty where it is unknown."""
        return self._above(self._term(term))

    def _above(self, term: str) -> frozenset[str]:
        """Ancestors of an id, without looking it up."""
        return self._ancestors.get(term, frozenset())

    def descendants(self, term: str) -> frozenset[str]:
        """All terms that are kinds of a term, without itself; empty where it is unknown."""
        return self._descendants.get(self._term(term), frozenset())

    @cached_property
    def _descendants(self) -> dict[str, frozenset[str]]:
        below: dict[str, set[str]] = {}
        for term, above in self._ancestors.items():
            for other in above:
                below.setdefault(other, set()).add(term)
        return {term: frozenset(terms) for term, terms in below.items()}

    def parents(self, term: str) -> frozenset[str]:
        """The ancestors of a term that have none of its other ancestors below them; empty where it is unknown."""
        above = self.ancestors(term)
        return above.difference(*map(self._above, above))

    def children(self, term: str) -> frozenset[str]:
        """The terms that a term is a parent of; empty where it is unknown."""
        parent = self._term(term)
        return frozenset(below for below in self.descendants(parent) if parent in self.parents(below))

    def depth(self, term: str) -> int | None:
        """Number of steps from a term to the root along the longest path; `None` where it is unknown.

        The longest and not the shortest, because then a term is always deeper than all that it is a kind of.

        Examples
        --------
        >>> ontology = CellOntology.embedded()
        >>> ontology.depth("cell"), ontology.depth("lymphocyte") < ontology.depth("T cell")
        (0, True)
        """
        return self._depths.get(self._term(term))

    @cached_property
    def _depths(self) -> dict[str, int]:
        depths: dict[str, int] = {}
        for term in sorted(self._names, key=lambda term: len(self._above(term))):  # ancestors have fewer ancestors
            depths[term] = 1 + max((depths[above] for above in self._above(term) if above in depths), default=-1)
        return depths

    def lowest_common_ancestors(self, terms: Iterable[str]) -> frozenset[str]:
        """The most specific terms that each of some terms is, or is a kind of.

        There may be several, because a term may be a kind of several others, and none, where a term is unknown.

        Examples
        --------
        >>> ontology = CellOntology.embedded()
        >>> t_cells = ["CD4-positive, alpha-beta T cell", "CD8-positive, alpha-beta T cell"]
        >>> [ontology.name(term) for term in ontology.lowest_common_ancestors(t_cells)]
        ['mature alpha-beta T cell']
        """
        lines = [self._above(term) | ({term} & self._names.keys()) for term in map(self._term, terms)]
        common = frozenset.intersection(*map(frozenset, lines)) if lines else frozenset()
        return common.difference(*map(self._above, common))

    def is_kind_of(self, term: str, other: str) -> bool:
        """Return whether `term` is `other` or one of its subtypes."""
        lower, upper = self._term(term), self._term(other)
        return lower == upper or upper in self._above(lower)

    def coarsen(self, term: str, terms: Sequence[str]) -> str | None:
        """The most specific of `terms`, as it is given there, that `term` is, or is a kind of; `None` where it is under none of them.

        Examples
        --------
        >>> CellOntology.embedded().coarsen("CD14-positive monocyte", ["leukocyte", "monocyte", "T cell"])
        'monocyte'
        """
        above = [other for other in terms if self.is_kind_of(term, other)]
        return max(above, key=lambda other: len(self.ancestors(other)), default=None)

    def child_matrix(self, labels: Sequence[str | None]) -> NDArray[np.bool_]:
        """Matrix of labels and their subtypes.

        Parameters
        ----------
        labels
            Ids, names or exact synonyms. What the ontology does not know, and `None`, is a kind of nothing else.

        Returns
        -------
        `(n_labels, n_labels)`; `[i, j]` is true where label `j` is label `i` or one of its subtypes.

        Examples
        --------
        >>> CellOntology.embedded().child_matrix(["T cell", "CD4-positive, alpha-beta T cell", "my own label"]).astype(int)
        array([[1, 1, 0],
               [0, 1, 0],
               [0, 0, 1]])
        """
        return self._kinds(labels, labels) | np.eye(len(labels), dtype=bool)

    def sum_probabilities(
        self, probabilities: ArrayLike, labels: Sequence[str | None], terms: Sequence[str]
    ) -> NDArray[np.float64]:
        """Probability of each of some terms: the sum over the labels that are the term or kinds of it.

        A term never has a smaller probability than the terms below it, so that coarse and fine views agree.

        Parameters
        ----------
        probabilities
            Probability of each label, `(n_obs, n_labels)`.
        labels
            Id, name or exact synonym of each label; `None` for one that is a kind of nothing.
        terms
            Ids, names or exact synonyms of the requested terms. They need not be labels, and they may overlap.

        Returns
        -------
        `(n_obs, n_terms)`; zero where no label is the term or a kind of it.

        Examples
        --------
        >>> ontology = CellOntology.embedded()
        >>> labels = ["CL:0000236", "CL:0000624", "CL:0000625"]  # B cell, CD4+ and CD8+ alpha-beta T cell
        >>> ontology.sum_probabilities([[0.25, 0.5, 0.25]], labels, ["T cell", "lymphocyte"])
        array([[0.75, 1.  ]])
        """
        return np.asarray(probabilities, dtype=np.float64) @ self._kinds(terms, labels).T

    def _kinds(self, terms: Sequence[str | None], others: Sequence[str | None]) -> NDArray[np.bool_]:
        """`(n_terms, n_others)`; `[i, j]` is true where other `j` is term `i` or one of its subtypes."""
        upper, lower = ([None if label is None else self._term(label) for label in labels] for labels in (terms, others))
        lines = [frozenset() if other is None else self._above(other) | {other} for other in lower]
        return np.array([[term in line for line in lines] for term in upper], dtype=bool).reshape(len(terms), len(others))

    def _term(self, label: str) -> str:
        """The id of a label, or the label itself where it is one or where the ontology does not know it."""
        return label if label in self._names else self.find(label) or label


@cache
def _embedded(version: str) -> CellOntology:
    return CellOntology._of(read_embedded(version))


@cache
def _embedded_versions() -> tuple[str, ...]:
    return tuple(embedded_files())
