"""`report.write`: what a user gets, and what is refused before anything is written."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from tests.annotated import NAMES, annotated, sixty_names

import sctab.report
from sctab import DataFileError, InputTypeError, KeyNotFoundError, OutputError, OutputExistsError, SettingError


def page(adata, tmp_path, **kwargs):
    return sctab.report.write(adata, tmp_path / "report.html", **kwargs).read_text(encoding="utf-8")


def test_one_file_that_loads_nothing(tmp_path):
    text = page(annotated(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert "default-src 'none'" in text
    for tag in re.findall(r"<(?:link|script|img|image|iframe|object|use)\b[^>]*>", text):
        for address in re.findall(r'(?:href|src)="([^"]*)"', tag):
            assert address.startswith(("data:", "#")), tag
    assert "@import" not in text
    assert "url(http" not in text


def test_what_it_says(tmp_path):
    text = page(annotated(n_without=3), tmp_path)
    assert "The model pbmc labelled 20 of 23 cells as 4 types." in text
    assert "Most frequent are CD4-positive, alpha-beta T cell (43%), B cell (22%) and CD14-positive monocyte (13%)." in text
    assert "At most 10% of the promised terms are wrong, for new donors, on average" in text
    assert "3 cells without a count in the genes of the model have no label." in text
    assert "0" * 64 in text, "the hash of the model"
    assert "sctab annotate query.h5ad --model pbmc --output annotated.h5ad --accepted-error 0.1 --unseen-fdr 0.1" in text
    assert "is another one than that which annotated the cells" in text, "why there are no genes"
    assert "column donor (chosen by its name)" in text


def test_a_file_gives_what_the_object_gives(tmp_path):
    adata = annotated()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    adata.write_zarr(tmp_path / "cells.zarr")
    of_object = page(adata, tmp_path, title="T", overwrite=True)
    for name in ("cells.h5ad", "cells.zarr"):
        of_file = page(tmp_path / name, tmp_path, title="T", overwrite=True)
        cut = [re.sub(r"cells\.\w+ · |<dt>File</dt><dd>[^<]*</dd>|annotate \S+", "", text) for text in (of_object, of_file)]
        assert cut[0] == cut[1]


def test_colours_are_those_of_the_data(tmp_path):
    adata = annotated()
    adata.uns["sctab_label_colors"] = ["#012345", "#123456", "#234567", "#345678"]
    text = page(adata, tmp_path)
    for colour in adata.uns["sctab_label_colors"]:
        assert text.count(f"background:{colour}") >= 2, "table and tree"
        assert text.count(f"fill: {colour}") >= 1, "bars"
    adata.uns["sctab_label_colors"] = ["#012345"]
    assert "#012345" not in page(adata, tmp_path, overwrite=True), "of another length"


def test_ids_are_there_once(tmp_path):
    ids = re.findall(r'<[^<>]*?\bid="([^"]*)"', page(annotated(), tmp_path, labels_key="authors"))
    assert len(ids) == len(set(ids))


EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>$x$ 細胞 &amp; {{ 7*7 }} ]]> --> </svg></style>"


SAFE = ("data:", "#", "https://purl.obolibrary.org/obo/CL_")


def parsed(text):
    """Names of tags, attributes with their values, and all text, as a browser has them."""
    tags, attributes, said = set(), [], []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            tags.add(tag)
            attributes.extend((name, value or "") for name, value in attrs)

        def handle_data(self, data):
            said.append(data)

    Reader().feed(text)
    return tags, attributes, "".join(said)


def test_every_string_of_the_data_is_escaped(tmp_path):
    adata = annotated(names=(EVIL, "B cell", f"{EVIL} 2", "T cell"))
    adata.obs["donor"] = adata.obs["donor"].cat.rename_categories({"a": f"a{EVIL}"})
    adata.obs["authors"] = f"c{EVIL}"
    adata.uns["sctab_label_colors"] = ['red;background:url("http://x")', "#000000", '"><script>', "#ffffff"]
    run = adata.uns["sctab"]
    run["matrix"] = run["matrix_content"] = f"m{EVIL}"
    run["warnings"] = [f"w{EVIL}"]
    run["versions"] = {f"v{EVIL}": EVIL}
    run["model"] |= {"name": f"n{EVIL}", "class": EVIL, "sha256": EVIL, "ontology_version": EVIL}
    run["genes"] |= {"sources": [EVIL], "id_type": EVIL}
    run["promise"]["unit"] = EVIL
    adata.uns["sctab_explanation"] = {
        "groupby": "",
        "types": pd.DataFrame(
            {"type": [EVIL], "rank": [1], "gene": [f"g{EVIL}"], "gene_id": [""], "weight": [1.0], "expressed": [1.0], "cells": [5]}
        ),
    }
    adata.var_names = [f"g{EVIL}", "b", "c"]
    adata.X = np.ones((adata.n_obs, 3), dtype=np.float32) + 4 * (np.arange(adata.n_obs) < 5)[:, None] * np.array([1, 0, 0])
    text = page(adata, tmp_path, title=EVIL, labels_key="authors", command=EVIL, multiqc=tmp_path / "x_mqc.json")
    assert text.count("<script>") == 1
    assert text.count("</script>") == 1
    assert "<img" not in text
    assert "onerror=alert(2)&gt;" in text
    tags, attributes, said = parsed(text)
    assert not tags & {"img", "iframe", "object", "embed", "form", "base"}
    assert not [name for name, _ in attributes if name.startswith("on")]
    assert not [value for name, value in attributes if name in {"href", "src"} and not value.startswith(SAFE)]
    assert not [value for name, value in attributes if name == "style" and "url(" in value and "url(#" not in value]
    assert f"w{EVIL}" in said, "and is shown as it is"
    assert f"n{EVIL}" in said
    assert "<" not in (tmp_path / "x_mqc.json").read_text()


def test_sizes_of_data(tmp_path):
    """One type, sixty types, no donors, nobody reported, long names, no map, one cell."""
    one = annotated(names=("B cell",), sizes=(1,), unseen=False, terms=False)
    del one.obsm["X_umap"], one.obs["donor"]
    text = page(one, tmp_path)
    assert "labelled 1 of 1 cell as 1 type." in text
    assert 'id="map"' not in text
    assert 'id="samples"' not in text
    names = [*sixty_names(58), "x" * 500, "細胞 🧬"]
    many = annotated(names=names, sizes=[3] * len(names))
    text = page(many, tmp_path, labels_key="authors", overwrite=True)
    assert text.count('<td class="name" data-value=') == len(names)
    nobody = annotated(sizes=(0, 0, 0, 0), n_without=4)
    nobody.uns["sctab"]["unseen"]["n_reported"] = 0
    assert "No cell has a label." in page(nobody, tmp_path, overwrite=True)


def test_multiqc(tmp_path):
    page(annotated(), tmp_path, multiqc=tmp_path / "sctab_mqc.json", sample_key="donor")
    found = json.loads((tmp_path / "sctab_mqc.json").read_text())
    assert found["plot_type"] == "bargraph"
    assert set(found["data"]) == {"a", "b"}
    assert sum(sum(counts.values()) for counts in found["data"].values()) == 20
    assert set(found["categories"]) == set(NAMES)


def test_refusals_write_nothing(tmp_path):
    adata = annotated()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    (tmp_path / "report.html").write_text("mine")
    for wrong, error, message in (
        ({}, OutputExistsError, "already exists"),
        ({"output": "report.pdf"}, SettingError, "does not end with `.html`"),
        ({"output": "a.html", "multiqc": "b.json"}, SettingError, "does not end with `_mqc.json`"),
        ({"output": "a.html", "sample_key": "nope"}, KeyNotFoundError, "sample_key='nope'"),
        ({"output": "a.html", "labels_key": "nope"}, KeyNotFoundError, "labels_key='nope'"),
        ({"output": "a.html", "key_added": "nope"}, KeyNotFoundError, "no annotation under `nope`"),
    ):
        given = {"output": "report.html", **wrong}
        given["output"] = tmp_path / given["output"]
        if "multiqc" in given:
            given["multiqc"] = tmp_path / given["multiqc"]
        for source in (adata, tmp_path / "cells.h5ad"):
            with pytest.raises(error, match=message):
                sctab.report.write(source, **given)
    (tmp_path / "cells.html").symlink_to(tmp_path / "cells.h5ad")
    with pytest.raises(OutputError):
        sctab.report.write(tmp_path / "cells.h5ad", tmp_path / "cells.html", overwrite=True)
    with pytest.raises(DataFileError, match="not found"):
        sctab.report.write(tmp_path / "gone.h5ad", tmp_path / "a.html")
    with pytest.raises(InputTypeError):
        sctab.report.write(3, tmp_path / "a.html")
    assert (tmp_path / "report.html").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.h5ad", "cells.html", "report.html"]
