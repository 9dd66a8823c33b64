"""The language of docstrings, messages, comments and documentation: one word per thing, and sentences as the field writes them.

To ban a phrase, add a `Rule`: a regular expression, what to write instead, and how many hits are still left (none, as a rule; a number
may only fall). `python tests/test_language.py` prints every hit.
"""

from __future__ import annotations

import ast
import functools
import io
import json
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "generated" not in page.parts]  # what a build writes
NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))
MODULES = sorted((ROOT / "src").rglob("*.py")) + sorted((ROOT / "benchmarks").glob("*.py"))


@dataclass(frozen=True)
class Rule:
    """A phrase that is not written, and what to write instead."""

    pattern: str
    instead: str
    remaining: int = 0
    """Hits that are left to be rewritten."""


OPENINGS = [
    Rule(r"What", "a verb or a noun phrase: `Return …`, `Result of …`"),
    Rule(r"How", "a verb or a noun phrase: `Compute …`, `Number of …`"),
    Rule(r"Which", "a noun phrase: `Mask of …`, `Positions of …`"),
    Rule(r"Whether", "`Return whether …`, or `True if …` for a field"),
    Rule(r"Where", "a noun phrase: `Directory of …`, `Source of …`"),
    Rule(r"When", "a noun phrase or a condition: `Time of …`"),
    Rule(r"Why", "a noun phrase: `Reason …`"),
]
"""First words of docstrings."""

PHRASES = [
    Rule(r"\bmend(s|ed|ing)?\b", "fix"),
    Rule(r"\b(say|says) how sure\b", "with per-cell confidence"),
    Rule(r"\bhow sure\b", "confidence"),
    Rule(r"\bnam(e|es|ing) (the )?(cells?|cell types?)\b(?!`)", "annotate, predict"),
    Rule(r"\bcells? (is|are|were|was|to be) named\b", "annotated, predicted"),
    Rule(r"\b(go|goes|going|went|gone) on\b", "resume, continue"),
    Rule(r"\b(bring|brings|brought) .{0,60}?\binto the genes\b", "map onto the genes of the model"),
    Rule(r"\b(is|are|was|were) brought (back )?(in)?to\b", "converted to, mapped to, rescaled to"),
    Rule(r"\bcan be brought\b", "convertible to"),
    Rule(r"\bwhat (the model|it|a model|annotation) looks? at\b", "importance; model genes; inputs"),
    Rule(r"\ba little off\b", "slightly less accurate"),
    Rule(r"\b(is|are) not there\b", "not found, does not exist"),
    Rule(r"\b(is|are) already there\b|\bis there already\b", "already exists"),
    Rule(r"\bto be had\b", "available"),
    Rule(r"(^|[#.] )Beyond\b", "the name of the thing"),
    Rule(r"\bstands? for\b", "means, represents"),
    Rule(r"\bmakes? no sense\b", "is invalid"),
    Rule(r"(?<![Tt]here )\b(is|are) no (?!longer|more|less|need|doubt|such|one|better|reason|matter|other)[a-z`*]", "is not a"),
    Rule(r"\bis of (another|the same|no|an unknown|an earlier)\b", "belongs to, has"),
    Rule(r"\bwhole numbers?\b", "integer"),
    Rule(r"\btexts\b", "strings"),
    Rule(r"\bin (their|its) letters\b", "spelling"),
    Rule(r"\bon people\b|\bof people\b|\bother people\b", "donors"),
    Rule(r"\bAs there\b|\bas there\.$", "name the function"),
    Rule(r"\bwhat (came|comes|has come) of\b", "result of"),
    Rule(r"\bwhoever\b", "the annotator, the caller"),
    Rule(r"\b(let|lets|letting) go of\b", "release"),
    Rule(r"\bgiv(e|es|en|ing) back\b|\bgave back\b", "return"),
    Rule(r"\banew\b", "again, from scratch"),
    Rule(r"\bis told\b|\bwas told\b|\bare told\b|\bbe told\b", "is instructed, is distinguished"),
    Rule(r"\bmeans? nothing\b", "is undefined, is not meaningful"),
    Rule(r"\bto be of use\b|\bof no use\b", "useful, ignored"),
    Rule(r"\b(found|finds?|finding) out\b", "determine, detect"),
    Rule(r"\bfound by (itself|themselves)\b", "detected by default"),
    Rule(r"\bso many\b", "the number"),
    Rule(r"\bhardly\b", "unlikely to"),
    Rule(r"\bin the words of\b|\bin words that\b", "named as in, as text"),
    Rule(r"\bhow well (they|it|a model|the model|other donors)\b", "performance, accuracy"),
    Rule(r"\bTake one of\b|\bTake (another|some|`)", "choose, use"),
    Rule(r"\bThere (is|are:) (\{|`)", "Choose from …; Available: …"),
    Rule(r"\bbehind (it|them|those|the genes|the former)\b", "after, appended to"),
    Rule(r"\b(is|are) known of\b", "annotation, metadata"),
    Rule(r"\bits ending\b|\bwith the ending\b|\bthese endings\b|\bthe ending\b", "extension"),
    Rule(r"\bis wished\b|\bif wished\b", "requested, optional"),
    Rule(r"\bhave of a\b|\bhas of a\b|\bin the manner of\b", "like"),
    Rule(r"\bshel(f|ves)\b", "shard"),
    Rule(r"\bin small letters\b", "in lower case"),
    Rule(r"\bor alike\b", "or similar"),
    Rule(r"\b(is|are|was|were|has|have) (not |no )?[^.;:]{0,30}\bany more\b", "no longer"),
    Rule(r"\b(is|are) of (human|mouse)\b|\bof a macaque\b", "is human, from a macaque"),
    Rule(r"\bcalled so\b", "predicted as, named"),
    Rule(r"\b(cells?|one|type) of (mine|yours)\b", "my cells"),
    Rule(r"\bsomething dear\b", "important results"),
    Rule(r"\bstands? (beside|twice)\b", "accompanies, occurs twice"),
    Rule(r"(^|[.] )Of (the|each|all|trees|what|several)\b", "begin with the subject: `All rows of the matrix are read`"),
    Rule(r"\bask for less\b", "relax, lower the minimum"),
    Rule(r"\blearns? badly\b", "performs poorly"),
    Rule(r"\bcame (of it|about)\b", "resulted"),
    Rule(r"\bis any good\b|\bdo better\b", "beats the defaults, improves"),
    Rule(r"\bthinn(ed|ing) out\b", "subsampled"),
    Rule(r", so that (it was|there is nothing|no cell could)", "so, for a result"),
    Rule(r"\bwhat (came|comes) out\b", "results"),
    Rule(r"\bput aside\b|\bput together\b|\bput back\b", "store, concatenate, restore"),
]
"""Phrases in docstrings, messages, comments and pages."""


def prose_of(path: Path) -> Iterator[tuple[int, str]]:
    """Strings and comments of a module with their lines; strings that are joined by the parser are joined here."""
    source = path.read_text(encoding="utf-8")
    inside = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(value) for value in ast.walk(node)} - {id(node)}
            if id(node) not in inside:
                yield node.lineno, "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def docstrings_of(path: Path) -> Iterator[tuple[int, str]]:
    """Docstrings of modules, classes and functions, and strings below fields, with their lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for statement in getattr(node, "body", None) or [] if not isinstance(node, ast.Lambda | ast.IfExp) else []:
            if (
                isinstance(statement, ast.Expr)
                and isinstance(statement.value, ast.Constant)
                and isinstance(statement.value.value, str)
            ):
                yield statement.lineno, statement.value.value.strip()


def paragraphs_of(path: Path) -> Iterator[tuple[int, str]]:
    """Paragraphs of a page with the line that each begins at."""
    line = 1
    for paragraph in re.split(r"\n{2,}", path.read_text(encoding="utf-8")):
        yield line, paragraph
        line += paragraph.count("\n") + 2


def cells_of(path: Path) -> Iterator[tuple[int, str]]:
    """Paragraphs of the text cells of a notebook, with the number of the cell."""
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"], 1):
        if cell["cell_type"] == "markdown":
            yield from ((number, paragraph) for paragraph in re.split(r"\n{2,}", "".join(cell["source"])))


def hits_of(rule: Rule) -> list[str]:
    """Places where a rule is broken: file, line and words."""
    opening = rule in OPENINGS
    pattern = re.compile(rf"^(?:{rule.pattern})\b" if opening else rule.pattern)
    return [
        f"{place}: …{text[max(match.start() - 40, 0) : match.end() + 40]}…"
        for place, text in (openings() if opening else everything())
        for match in pattern.finditer(text)
    ]


@functools.cache
def openings() -> list[tuple[str, str]]:
    """Docstrings of all modules on one line each, with their places."""
    return [_placed(path, *block) for path in MODULES for block in docstrings_of(path)]


@functools.cache
def everything() -> list[tuple[str, str]]:
    """Prose of all modules and pages on one line per text, with their places."""
    modules = [_placed(path, *block) for path in MODULES for block in prose_of(path)]
    notebooks = [_placed(path, *block) for path in NOTEBOOKS for block in cells_of(path)]
    return modules + notebooks + [_placed(path, *block) for path in PAGES for block in paragraphs_of(path)]


def _placed(path: Path, line: int, text: str) -> tuple[str, str]:
    return f"{path.relative_to(ROOT)}, line {line}", " ".join(text.split())


@pytest.mark.parametrize("rule", [*OPENINGS, *PHRASES], ids=lambda rule: rule.pattern)
def test_phrases(rule):
    found = hits_of(rule)
    assert len(found) <= rule.remaining, f"Write {rule.instead}:\n" + "\n".join(found)


def test_every_kind_of_text_is_read(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        '"""Which one."""\nx = f"is {x} " "a mend"  # told\n\n\nclass A:\n    y: int\n    """Why."""\n', encoding="utf-8"
    )
    assert [text for _, text in docstrings_of(path)] == ["Which one.", "Why."]
    assert {text for _, text in prose_of(path)} == {"Which one.", "is {} a mend", "Why.", "# told"}
    path.write_text("# One\n\nTwo\nlines\n\nThree\n", encoding="utf-8")
    assert list(paragraphs_of(path)) == [(1, "# One"), (3, "Two\nlines"), (6, "Three\n")]


if __name__ == "__main__":
    for each in [*OPENINGS, *PHRASES]:
        places = hits_of(each)
        print(f"{len(places):4d}  {each.pattern}  →  {each.instead}")  # noqa: T201
        for place in places:
            print(f"        {place}")  # noqa: T201
