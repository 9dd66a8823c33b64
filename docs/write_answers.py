"""The page that answers what the benchmarks say: which model, how good, how fast. Its numbers are read from their tables."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent

PAGE = """# Which model, how good, how fast

In short, from the tables of {{doc}}`/benchmarks`, where the commands that made them stand.

## Which model?

Use `auto`, the default of `sctab train`, and {{class}}`sctab.model.AutoClassifier` in Python. It compares the model classes on
held-out donors or cells of your reference, and keeps the simplest that is within one standard error of the best. It was {gap}
behind the best single class on any task. Name `linear` if training has to be fast, and `sctab` if you want to see on which genes
a label rests.

## How good?

Macro F1 on cells of other donors or of another study, mean over three seeds, for small references of blood:

{accuracy}

```{{image}} /_static/benchmarks/models.svg
:alt: Macro F1 of every model on the three tasks, one point per seed, with mean and standard deviation.
```

No class is best everywhere, and differences of a hundredth mean little. Probabilities are too high on another study, whatever the
model: read confidence as an order, not as a chance of being right.

## How fast?

Training and prediction of these tasks, on two cores without a GPU:

{training}

`sctab annotate` from a file to labels, with a network of the size of the published scTab models, on two cores:

{annotation}

Memory does not grow with the number of cells. Beside CellTypist, 10,000 cells in a process from its start to its table:

{celltypist}

## And on my data?

Hold donors out, annotate them and score the result: {{doc}}`/generated/transfer` does so. {{doc}}`/benchmarking` compares models
on your own files.
"""


def tables(text: str) -> dict[str, list[list[list[str]]]]:
    """Return the tables of a page under each of its headings: rows of cells, the names of the columns first."""
    found: dict[str, list[list[list[str]]]] = {}
    heading, is_table = "", False
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        if line.startswith("|"):
            if not is_table:
                found.setdefault(heading, []).append([])
            if not set(line) <= set("|- "):
                found[heading][-1].append([cell.strip() for cell in line.strip().strip("|").split("|")])
        is_table = line.startswith("|")
    return found


def mean(cell: str) -> float:
    """Return the mean of a cell such as `**0.840 ± 0.003**`."""
    return float(re.sub(r"[*,]", "", cell).split()[0])


def page(text: str) -> str:
    """Return the page, from that of the tables."""
    of = tables(text)
    (f1,), (seconds, memory) = of["Macro F1"], of["Seconds and memory"]
    columns = range(1, len(f1[0]))
    ours = [row for row in f1[1:] if row[0] in ("linear", "mlp", "xgboost", "sctab")]
    auto = next(row for row in f1 if row[0] == "auto")
    gap = max(max(mean(row[i]) for row in ours) - mean(auto[i]) for i in columns)
    accuracy = [[*f1[0], "mean"]]
    for row in f1[1:]:
        means = [mean(row[i]) for i in columns]
        accuracy.append([row[0], *(f"{value:.3f}" for value in means), f"{sum(means) / len(means):.3f}"])
    training = [["model", "seconds", "memory (GB)"]]
    for row, of_memory in zip(seconds[1:], memory[1:], strict=True):
        numbers = [mean(row[i]) for i in columns]
        training.append([row[0], f"{min(numbers):.0f} to {max(numbers):.0f}", f"{max(mean(of_memory[i]) for i in columns):.1f}"])
    (files,) = of["From file to labels"]
    annotation = [["cells", "seconds", "memory (GB)"], *([row[0], row[2].split()[0], row[5]] for row in files[1:] if row[1] == "1")]
    (beside,) = of["Beside CellTypist"]
    celltypist = [["program", "seconds", "memory (GB)"], *([row[0], row[1].split()[0], row[3]] for row in beside[1:3])]
    return PAGE.format(
        gap=f"at most {gap:.3f}",
        accuracy=markdown(accuracy),
        training=markdown(training),
        annotation=markdown(annotation),
        celltypist=markdown(celltypist),
    )


def markdown(rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "| " + " | ".join("---" for _ in rows[0]) + " |", *lines[1:]])


def main(target: Path) -> None:
    """Write the page into a folder."""
    (target / "answers.md").write_text(page((HERE / "benchmarks.md").read_text(encoding="utf-8")), encoding="utf-8")
