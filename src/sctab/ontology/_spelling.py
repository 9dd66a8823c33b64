"""Spellings of the names of cell types: plurals, markers, Greek letters, abbreviations."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

CELL = "cell"
SHORT = 3
"""Letters of a name that is like too many others by its letters alone."""
_LINKS = frozenset({"of", "the", "and", "in", "with", "to", "by", "or"})
Words = tuple[str, ...]
"""Words of a name in their plain form, in alphabetical order."""

_GREEK = {"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "κ": "kappa", "λ": "lambda"}
_GREEK_WORDS = frozenset({"alpha", "beta", "gamma", "delta", "epsilon", "theta", "kappa", "lambda", "sigma", "omega"})
_GENERIC = frozenset({"cell", "cells", "neuron", "neurons", "type", "types", "like", "the", "and", "for", "pre", "pro"})
_PLAIN = {
    "pos": "positive", "neg": "negative", "hi": "high", "lo": "low", "mono": "monocyte", "reg": "regulatory", "mem": "memory",
    "fcgr3a": "cd16", "ms4a1": "cd20", "ncam1": "cd56", "cd8a": "cd8", "gd": "gammadelta", "nks": "nk", "ii": "2", "iii": "3",
}  # fmt: skip
"""Short words and symbols of genes in the form that names have."""
_SIGNS = frozenset({"negative", "low", "high", "dim", "bright", "intermediate"})
_GO_WITH = {
    "cd19": {"b"}, "cd20": {"b"}, "cd56": {"nk"}, "cd3": {"t"}, "cd3d": {"t"}, "cd3e": {"t"}, "cd45ra": {"naive"}, "cd45ro": {"memory"},
    "cd25:negative": {"naive"}, "cd25": {"regulatory"},
}  # fmt: skip
"""Markers that say no more than another word of the name does."""
_MARKER = r"(?:cd\d+[a-z]{0,2}|fcgr3a|ms4a1|ncam1)"
_CODE = re.compile(r"(?:[a-z]{0,3}|cluster|clust|leiden|louvain|seurat clusters?|type|group)[ ._-]?\d+(?:[._]\d+)?", re.IGNORECASE)


def key(name: str) -> str:
    """A name without regard to case, underscores and blanks."""
    return " ".join(unicodedata.normalize("NFKC", name).lower().replace("_", " ").split())


def is_code(name: str) -> bool:
    """Return whether a name is a number, or letters and a number, such as those of clusters: `7`, `c12`, `T1`, `cluster 3`."""
    return _CODE.fullmatch(key(name)) is not None


def is_mixture(name: str) -> bool:
    """Return whether a name joins several types, such as `B/plasma` and `T & NK`; markers before a type are not types."""
    parts = re.split(r"[/|&;]|\b(?:and|or)\b|\s\+\s", name.lower())
    return sum(re.fullmatch(rf"\W*({_MARKER}\W*)*", part) is None for part in parts) > 1


def is_real_word(word: str) -> bool:
    """Return whether a word, in the letters of its author, is not an abbreviation, code or Greek letter."""
    return re.fullmatch(r"[A-Z][a-z]{2,}|[a-z]{3,}", word) is not None and word.lower() not in _GREEK_WORDS | _GENERIC


def leaves_out_species(synonym: str, name: str) -> bool:
    """Return whether a name ends with a species, such as `(Primate)` and `(Mmus)`, and its synonym says none."""
    return re.search(r"\((?!sensu)[A-Z][^()]*\)$", name) is not None and "(" not in synonym


def real_words(name: str) -> list[str]:
    """Words of a name that say something by themselves: neither "cell" nor an abbreviation, a code or a Greek letter."""
    plain = unicodedata.normalize("NFKD", name)
    return [word for word in re.findall(r"[A-Za-z0-9]+", re.sub(r"[\u0300-\u036f]", "", plain)) if is_real_word(word)]


@lru_cache(maxsize=1 << 15)
def words_of(name: str) -> Words:
    """Words of a name in their plain form: singular, with Greek letters spelled out and a marker with its sign as one word.

    Examples
    --------
    >>> words_of("CD14+ Monocytes") == words_of("CD14-positive monocyte") == ("cd14", "monocyte")
    True
    >>> words_of("γδ T-cells")
    ('cell', 'delta', 'gamma', 't')
    """
    text = re.sub(r"[\u0300-\u036f]", "", unicodedata.normalize("NFKD", name)).lower().replace("_", " ")
    for letter, word in _GREEK.items():
        text = text.replace(letter, f" {word} ")
    text = re.sub(rf"({_MARKER})\s*[-−–](?=$|[\s/,;)]|cd\d)", r"\1 negative ", text)
    text = re.sub(rf"\b({_MARKER}?)(pos|positive|neg|negative|hi|high|lo|low|dim|bright)\b", r"\1 \2 ", text)
    text = re.sub(r"(?<=[a-z0-9])\s*\+", " positive ", text)
    text = text.replace("haem", "hem").replace("leuco", "leuko").replace("oesoph", "esoph")
    text = re.sub(r"\b(b|t|nk|nkt)cell", r"\1 cell", text)
    text = re.sub(r"\bt(?:[ -]?)regs?\b|\btreg(?=s?\b)", "regulatory t", text)
    words: list[str] = []
    for raw in re.findall(r"[a-z0-9]+", text):
        word = _PLAIN.get(raw) or _PLAIN.get(_singular(raw), _singular(raw))
        if word == "gammadelta":
            words += ["gamma", "delta"]
        elif word in _SIGNS and words and re.fullmatch(_MARKER, words[-1]):
            words[-1] += f":{word}"
        elif word != "positive":
            words.append(word)
    if words[-1:] == ["i"] or ("i" in words and "type" in words):
        words = ["1" if word == "i" else word for word in words]
    return tuple(sorted(set(words)))


def singular(name: str) -> str:
    """A name without regard to case, blanks and plurals, its words in their order."""
    return " ".join(map(_singular, key(name).split()))


def _singular(word: str) -> str:
    if len(word) < 3 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    return word[:-1]


def spellings(name: str) -> Iterable[Words]:
    """Words of a name, the closest form first: as they are, and without markers that say what another word says."""
    words = words_of(name)
    yield words
    rest = tuple(word for word in words if not _GO_WITH.get(word, set()) & set(words))
    if rest != words:
        yield rest


def completed(words: Words) -> Iterable[Words]:
    """Words with and without "cell", and those of CD4 and CD8 T cells with "alpha-beta", which most authors leave out."""
    yield words
    if not _says_enough(words):
        return
    present = frozenset(words)
    yield tuple(sorted(present ^ {CELL}))
    if "t" in present and present & {"cd4", "cd8"} and not present & {"alpha", "beta", "gamma", "delta"}:
        for form in (present | {"alpha", "beta"}, (present | {"alpha", "beta"}) ^ {CELL}):
            yield tuple(sorted(form))


def _says_enough(words: Words) -> bool:
    """Return whether words tell a type without "cell": `Mast` does, `B`, `G` and `alpha` do not."""
    known = _GREEK_WORDS | _GENERIC
    return any(re.fullmatch(r"[a-z]{4,}|cd\d+\w*(:\w+)?", word) and word not in known for word in words)


def trigrams(name: str) -> frozenset[str]:
    """Runs of three letters of a name without "cell", by which names are alike."""
    text = f"  {distinctive(name)} "
    return frozenset(text[i : i + 3] for i in range(len(text) - 2))


def distinctive(name: str) -> str:
    """A name without regard to case and blanks, and without "cell", where it says anything else."""
    return " ".join(re.sub(r"\bcells?\b", " ", key(name)).split()) or key(name)


def abbreviations(name: str) -> Iterable[tuple[str, int]]:
    """Abbreviations of up to three letters for a name, with a penalty: all initials, a word, and initials of words in a row.

    Examples
    --------
    >>> sorted(abbreviations("smooth muscle cell"))
    [('sm', 0), ('smc', 0)]
    """
    words = [word for word in re.findall(r"[a-z0-9]+", key(name)) if word not in _LINKS]
    initials = "".join(word[0] for word in words)
    yield from ((word, 1) for word in words if len(word) <= SHORT and not word.isdecimal())
    if len(words) > 1:
        yield initials, 0
    if len(words) > SHORT - 1 and words[-1] in {CELL, "cells"}:
        yield initials[:-1], 0
    for i in range(len(words) - SHORT + 1):
        if all(is_real_word(word) for word in words[i : i + SHORT]):
            yield initials[i : i + SHORT], 2


CONTEXTS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "blood": (
        frozenset({"blood", "marrow", "spleen", "lymph", "thymus", "tonsil", "pbmc"}),
        frozenset({"monocyte", "lymphocyte", "nk", "b", "t", "plasma", "plasmablast", "platelet", "megakaryocyte", "erythroid"})
        | {"erythrocyte", "neutrophil", "basophil", "granulocyte", "dc", "pdc", "dendritic", "leukocyte"}
        | {"gmp", "cmp", "mep", "clp", "mpp", "lmpp", "hspc"},
    ),
    "pancreas": (
        frozenset({"pancreas", "pancreatic", "islet"}),
        frozenset({"alpha", "beta", "delta", "gamma", "epsilon", "acinar", "ductal", "pp", "pancreatic"}),
    ),
    "retina": (
        frozenset({"retina", "eye", "macula", "fovea"}),
        frozenset({"amacrine", "bipolar", "rod", "cone", "muller", "mueller", "rgc", "retinal", "photoreceptor", "horizontal"}),
    ),
    "liver": (
        frozenset({"liver", "hepatic"}),
        frozenset({"hepatocyte", "cholangiocyte", "kupffer", "lsec", "hepatic", "hepatoblast"}),
    ),
    "brain": (
        frozenset(
            {"brain", "cerebellum", "cerebellar", "cerebral", "cerebrum", "cns", "hippocampus", "hippocampal", "hypothalamus"}
        )
        | {"thalamus", "forebrain", "midbrain", "hindbrain", "neocortex", "prefrontal", "gyrus", "vermis"},
        frozenset(
            {"astrocyte", "astro", "oligodendrocyte", "oligo", "opc", "microglia", "microglial", "bergmann", "golgi", "granule"}
        )
        | {"gabaergic", "glutamatergic", "interneuron", "cerebellar", "excitatory", "inhibitory"},
    ),
    "heart": (
        frozenset({"heart", "cardiac", "myocardium", "myocardial", "epicardium", "endocardium", "atrium", "interventricular"}),
        frozenset({"cardiomyocyte", "cardiac", "atrial", "myocardial", "endocardial", "epicardial", "nodal"}),
    ),
    "kidney": (
        frozenset({"kidney", "renal", "nephron", "glomerulus"}),
        frozenset({"podocyte", "mesangial", "tubule", "henle", "renal", "kidney", "intercalated", "principal", "nephron"}),
    ),
    "stomach": (
        frozenset({"stomach", "gastric"}),
        frozenset({"gastric", "stomach", "peptic", "chief", "foveolar", "pit"}),
    ),
    "lung": (
        frozenset({"lung", "airway", "bronchus", "bronchial", "trachea", "tracheal", "respiratory", "nose", "nasal"}),
        frozenset({"alveolar", "at1", "at2", "pneumocyte", "pulmonary", "lung", "bronchial", "respiratory", "tracheobronchial"}),
    ),
    "prostate": (
        frozenset({"prostate", "prostatic", "urethra"}),
        frozenset({"prostate", "prostatic", "urethral"}),
    ),
    "pituitary": (
        frozenset({"pituitary", "adenohypophysis", "hypophysis"}),
        frozenset(
            {"somatotroph", "lactotroph", "mammotroph", "corticotroph", "gonadotroph", "thyrotroph", "melanotroph", "pituicyte"}
        ),
    ),
    "ovary": (
        frozenset({"ovary", "ovarian"}),
        frozenset({"granulosa", "theca", "cumulus", "oocyte", "luteal", "ovarian", "ovary"}),
    ),
}
"""Contexts of names: words of tissues, and words of other labels, two of which indicate the context."""


def contexts_of(names: Sequence[str], tissues: Iterable[str] = ()) -> frozenset[str]:
    """Contexts of labels, from tissues or at least two of the labels themselves; keys of :data:`CONTEXTS`.

    Examples
    --------
    >>> sorted(contexts_of(["alpha", "beta", "acinar"])), sorted(contexts_of(["HSC", "B cell"], ["fetal liver"]))
    (['pancreas'], ['liver'])
    """
    of_tissues = {word for tissue in tissues for word in words_of(str(tissue))}
    of_labels = [set(words_of(name)) for name in names]
    found = set()
    for context, (tissue_words, label_words) in CONTEXTS.items():
        of_t_cells = {"t"} if context == "pancreas" else set()  # where gamma-delta T cells are not meant
        shown = {frozenset(words - {CELL}) for words in of_labels if words & label_words and not words & of_t_cells}
        if of_tissues & tissue_words or len(shown) > 1:
            found.add(context)
    return frozenset(found)
