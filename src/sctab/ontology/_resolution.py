"""Terms of an ontology by names in the many forms that authors give them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import NamedTuple

from sctab.ontology import _spelling
from sctab.ontology._common import common_names, everywhere
from sctab.ontology._sources import ObsoleteTerm
from sctab.ontology.label_values import says_no_type

_ALIKE = 0.45
"""Fraction of the letters, in runs of three, that a name must share with another to be suggested."""
MAY_MEAN = "but may mean "
"""In notes on names of one term that authors give to another type as well."""


class Resolution(NamedTuple):
    """Term that a name means, with a note.

    Attributes
    ----------
    term
        Id of the term; `None` where there is none.
    note
        A sentence on how it was found, where the name is neither the term's own nor its id; what else it may mean, where that is not
        certain; where there is no term, why, and the terms with the most similar names, if there are any. `""` otherwise.
    """

    term: str | None
    note: str = ""


class NameLookup:
    """Terms of one release by their names, synonyms and former names.

    Parameters
    ----------
    version
        Release.
    names
        Preferred name of every term that is in use.
    synonyms
        Exact synonyms by term.
    ancestors
        All terms that a term is a kind of, without the term itself.
    obsolete
        Terms that are no longer in use, by id.
    """

    def __init__(
        self,
        version: str,
        names: Mapping[str, str],
        synonyms: Mapping[str, tuple[str, ...]],
        ancestors: Mapping[str, frozenset[str]],
        obsolete: Mapping[str, ObsoleteTerm],
    ) -> None:
        self.version = version
        self._names, self._synonyms, self._ancestors, self._obsolete = names, synonyms, ancestors, obsolete
        self._by_name = {_spelling.key(name): term for term, name in names.items()}

    def find(self, name: str) -> str | None:
        """Id of the term with this id, name, exact synonym or common short name; `None` where there is none."""
        if (term := _as_id(name)) in self._names:
            return term
        key = _spelling.key(name)
        return self._by_name.get(key) or self._common.get(key) or self._by_synonym.get(key)

    def resolve(self, name: str, contexts: Collection[str], others: Iterable[NameLookup]) -> Resolution:
        """Id of the term that a name means, see :meth:`CellOntology.resolve`; `others` are embedded releases, the newest first."""
        if (term := _as_id(name)) in self._names:
            return Resolution(term)
        key = _spelling.key(name)
        own = self._by_name.get(key, "")
        common = [row for row in common_names(name) if row.term in self._names]
        usual = next((row.term for row in common if row.is_own_name), "")
        meant = {row.term for row in common if row.holds(contexts)}
        term = meant.pop() if len(meant) == 1 else ""
        if own and (not usual or term == own):
            return Resolution(own)
        if usual and term != usual:
            read = term or usual
            return self._read_as(name, read, MAY_MEAN + self._listed([row.term for row in common if row.term != read]))
        if term:
            return self._read_as(name, term, "a common short name")
        if common:
            return self._unconfirmed(name, [row.term for row in common])
        if term := self._by_synonym.get(key, ""):
            return self._read_as(name, term, "an exact synonym")
        if (obsolete := self._find_obsolete(name)) is not None:
            return self._resolve_obsolete(name, obsolete)
        for other in others:
            if (term := other._by_name.get(key, "")) in self._names:
                return Resolution(term, f"`{name}` is the name in release {other.version} of `{self._names[term]}` (`{term}`).")
        if doubtful := self._doubtful_synonyms.get(key):
            return self._unconfirmed(name, sorted(doubtful))
        if _spelling.is_code(name) or _spelling.is_mixture(name):
            return Resolution(None)
        for words in chain.from_iterable(map(_spelling.completed, _spelling.spellings(name))):
            if len(found := self._by_words.get(words, frozenset())) == 1:
                return self._read_as(name, next(iter(found)), "in another form")
        return self._unknown(name)

    def _read_as(self, name: str, term: str, how: str) -> Resolution:
        return Resolution(term, f"`{name}` is read as `{self._names[term]}` (`{term}`), {how}.")

    def _unconfirmed(self, name: str, terms: Sequence[str]) -> Resolution:
        return Resolution(None, f"`{name}` may mean {self._listed(terms)} or another type, and gets no id by itself.")

    def _unknown(self, name: str) -> Resolution:
        near = () if says_no_type(name) else self.nearest(name)
        return Resolution(
            None,
            f"`{name}` is not known; the nearest {'names are' if len(near) > 1 else 'name is'} {self._listed(near)}." * bool(near),
        )

    def _listed(self, terms: Sequence[str]) -> str:
        return ", ".join(f"`{self._names[term]}` (`{term}`)" for term in dict.fromkeys(terms))

    def nearest(self, name: str, n: int = 3) -> tuple[str, ...]:
        """Terms with the names or exact synonyms that are most similar to a name in spelling, the best first."""
        if len(short := _spelling.distinctive(name)) <= _spelling.SHORT:
            return tuple(self._by_abbreviation.get(short, ())[:n])
        letters = _spelling.trigrams(name)
        shared = Counter(chain.from_iterable(self._by_trigram.get(run, ()) for run in letters))
        scores: dict[str, float] = {}
        for (term, length), n_shared in shared.items():
            scores[term] = max(scores.get(term, 0), 2 * n_shared / (len(letters) + length))
        best = sorted((term for term, score in scores.items() if score >= _ALIKE), key=lambda term: (-scores[term], term))
        return tuple(best[:n])

    @cached_property
    def _by_trigram(self) -> dict[str, list[tuple[str, int]]]:
        runs: dict[str, list[tuple[str, int]]] = {}
        for term, name in self._names.items():
            for letters in {_spelling.trigrams(word) for word in (name, *self._synonyms.get(term, ()))}:
                for run in letters:
                    runs.setdefault(run, []).append((term, len(letters)))
        return runs

    @cached_property
    def _by_abbreviation(self) -> dict[str, list[str]]:
        """Terms by abbreviations of up to three letters of their names or synonyms: the closest first, names, and short ones."""
        found: dict[str, dict[str, tuple[int, bool, int]]] = {}
        for term, name in self._names.items():
            for word in (name, *self._synonyms.get(term, ())):
                for short, far in _spelling.abbreviations(word):
                    rank = (far, word != name, len(word))
                    terms = found.setdefault(short, {})
                    terms[term] = min(terms.get(term, rank), rank)
        return {short: sorted(terms, key=lambda term: (terms[term], term)) for short, terms in found.items()}

    @cached_property
    def _common(self) -> dict[str, str]:
        """Short names that mean one term everywhere, by key."""
        return {key: row.term for key, row in everywhere().items() if row.term in self._names}

    @cached_property
    def _by_synonym(self) -> dict[str, str]:
        """Terms by exact synonyms that are neither doubtful nor shared."""
        words = ((word, term) for term, synonyms in self._synonyms.items() for word in synonyms)
        return {key: term for key, term in _unambiguous(words).items() if key not in self._doubtful_synonyms}

    @cached_property
    def _doubtful_synonyms(self) -> dict[str, set[str]]:
        """Exact synonyms that may mean another type to annotators, and terms that they may mean."""
        with_word: dict[str, set[str]] = {}
        for term, name in self._names.items():
            for word in set(chain.from_iterable(map(_spelling.words_of, (name, *self._synonyms.get(term, ()))))):
                with_word.setdefault(word, set()).add(term)
        doubtful: dict[str, set[str]] = {}
        for term, synonyms in self._synonyms.items():
            own = _spelling.words_of(self._names[term])
            for synonym in synonyms:
                words = _spelling.words_of(synonym)
                if words == own:  # `T-cell` is as certain as `T cell`
                    continue
                others = {
                    other
                    for other in with_word[next(word for word in words if word != _spelling.CELL)]
                    if term not in {other} | self._ancestors.get(other, frozenset()) and other not in self._ancestors.get(term, frozenset())
                } if len(words) == 2 and _spelling.CELL in words else set()  # fmt: skip
                if others or not _spelling.real_words(synonym) or _spelling.leaves_out_species(synonym, self._names[term]):
                    doubtful.setdefault(_spelling.key(synonym), set()).add(term)
        return doubtful

    @cached_property
    def _by_words(self) -> dict[_spelling.Words, frozenset[str]]:
        """Terms by the words of their names and of synonyms that are not doubtful; names go before synonyms."""
        by_synonym = ((word, term) for word, term in self._by_synonym.items())
        return _grouped(by_synonym) | _grouped((name, term) for term, name in self._names.items())

    def _find_obsolete(self, name: str) -> str | None:
        if (term := _as_id(name)) in self._obsolete:
            return term
        return self._obsolete_terms.get(_spelling.key(name))

    def _resolve_obsolete(self, name: str, term: str) -> Resolution:
        is_obsolete = f"`{name}` is obsolete in release {self.version}"
        if (replacement := self.replacement(term)) is not None:
            return Resolution(replacement, f"{is_obsolete} and replaced by `{self._names[replacement]}` (`{replacement}`).")
        suggested = [f"`{self._names[other]}` (`{other}`)" for other in self._obsolete[term].consider if other in self._names]
        return Resolution(None, f"{is_obsolete}, without a replacement{'; consider ' * bool(suggested)}{', '.join(suggested)}.")

    @cached_property
    def _obsolete_terms(self) -> dict[str, str]:
        """Obsolete terms by name, with and without the "obsolete" that was put in front."""
        names = {term: _spelling.key(entry.name) for term, entry in self._obsolete.items() if entry.name}
        return _unambiguous((word, term) for term, name in names.items() for word in {name, name.removeprefix("obsolete ")})

    def replacement(self, term: str) -> str | None:
        """The current term in the place of an obsolete one; `None` where the ontology names none."""
        seen: set[str | None] = set()
        replaced: str | None = term
        while replaced is not None and replaced in self._obsolete and replaced not in seen:
            seen.add(replaced)
            replaced = self._obsolete[replaced].replaced_by
        return replaced if seen and replaced in self._names else None


def _unambiguous(words: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Terms by word, without the words of several terms, which decide nothing."""
    terms: dict[str, set[str]] = {}
    for word, term in words:
        terms.setdefault(_spelling.key(word), set()).add(term)
    return {word: next(iter(found)) for word, found in terms.items() if len(found) == 1}


def _grouped(names: Iterable[tuple[str, str]]) -> dict[_spelling.Words, frozenset[str]]:
    """Terms by the words of their names, in any order and form."""
    terms: dict[_spelling.Words, set[str]] = {}
    for name, term in names:
        terms.setdefault(_spelling.words_of(name), set()).add(term)
    return {words: frozenset(found) for words, found in terms.items()}


def _as_id(name: str) -> str:
    return name.strip().upper().replace("_", ":")
