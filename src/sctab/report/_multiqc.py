"""Custom content for MultiQC: the composition of the samples as a bar graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sctab.report._content import Content


def custom_content(content: Content) -> dict[str, Any]:
    """The section as MultiQC reads it from a file whose name ends with `_mqc.json`.

    Its keys are described at https://docs.seqera.io/multiqc/custom_content. Names are text: MultiQC writes them into a page, so characters
    that are markup are escaped.
    """
    if content.composition is None:
        name = Path(content.source).stem or "all cells"
        data = {name: dict(zip(content.types["type"], content.types["cells"].astype(int).tolist(), strict=True))}
    else:
        wide = content.composition.groupby("sample", sort=False)
        data = {str(sample): dict(zip(own["type"], own["cells"].astype(int).tolist(), strict=True)) for sample, own in wide}
    names = [str(name) for name in content.types["type"]]
    return {
        "id": f"sctab_{_safe_id(content.key_added)}",
        "section_name": "Cell types (sctab)",
        "description": _escaped(
            f"Cells of each type, annotated by the model {content.run['model'].get('name') or 'without a name'} with sctab."
        ),
        "plot_type": "bargraph",
        "pconfig": {
            "id": f"sctab_{_safe_id(content.key_added)}_bargraph",
            "title": "sctab: cell types",
            "ylab": "Cells",
            "cpswitch_counts_label": "Number of cells",
        },
        "categories": {_escaped(name): {"name": _escaped(name), "color": content.palette.get(name, "#9a9a9a")} for name in names},
        "data": {_escaped(sample): {_escaped(name): n for name, n in counts.items()} for sample, counts in data.items()},
    }


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _safe_id(text: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in text)
