"""The page of packaged models: an overview, and the card of each as it comes with the package."""

from __future__ import annotations

import re
from pathlib import Path

import sctab
from sctab.keys import CARD_FILE

INTRODUCTION = """# Models

Models that come with the package. `sctab models` and {func}`sctab.zoo.list_models` list them; their names are accepted wherever a model is.

```console
$ sctab annotate query.h5ad --model pbmc --output annotated.h5ad
```

A model knows only the types that it was trained on, and gives every cell one of them. Choose one whose tissue and species are yours, check
how many of its genes your data has ({func}`sctab.get.genes`), and if none fits, {ref}`train your own <quickstart-train>` or
{doc}`import a published one </published>`. {doc}`The tutorial on choosing a model </generated/which_model>` goes through these steps.
"""


def page() -> str:
    """Return the page in Markdown."""
    models = [model for model in sctab.zoo.list_models(offline=True) if model.state == "packaged"]
    rows = [
        f"| [`{model.name}`](#model-{model.name}) | {model.n_labels:,} | {model.n_genes:,} | {model.n_cells:,} "
        f"| {'; '.join(model.sources)} |"
        for model in models
    ]
    overview = "\n".join(["| model | cell types | genes | training cells | trained on |", "| --- | --- | --- | --- | --- |", *rows])
    return "\n".join([INTRODUCTION, overview, "", *(card(model.name, model.path) for model in models)])


def card(name: str, directory: Path) -> str:
    """Return the card of a model, a level lower, and with links to papers."""
    text = (directory / CARD_FILE).read_text(encoding="utf-8")
    text = re.sub(r"\A---\n.*?\n---\n+", "", text, flags=re.DOTALL)  # the header of the hub
    body = re.sub(r"^#(?=#* )", "##", text.partition("\n")[2], flags=re.MULTILINE)
    body = re.sub(r"doi:(10\.[^\s|)]+[^\s|).,;])", r"[doi:\1](https://doi.org/\1)", body)
    return f"(model-{name})=\n\n## {name}\n{body}"


def main(target: Path) -> None:
    """Write the page into a folder."""
    (target / "models.md").write_text(page(), encoding="utf-8")
