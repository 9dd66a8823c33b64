"""Cells of a plan: names, codes and duplicates."""

import numpy as np
from tests.studies import make_study

from sctab.corpus import CorpusConfig, plan as plan_corpus
from sctab.corpus._entry import COLUMNS


def plan(declared, **changes):
    return plan_corpus(CorpusConfig.of(declared | changes))


def test_cells_without_a_label_are_counted_and_left_out(declared, studies, tmp_path):
    adata = studies["one"].copy()
    adata.obs["cell_type"] = adata.obs["cell_type"].astype(object).where(np.arange(adata.n_obs) >= 7, None)
    adata.write_h5ad(tmp_path / "one.h5ad")
    steps = plan(declared).steps_table()
    assert steps["cells"]["labelled"] == 7


def test_names_without_cells_are_gone(declared, tmp_path):
    extra = make_study(9, n_obs=40, n_donors=1, types=("B cell", "plasma cell"))
    extra.obs["tissue"] = "bone marrow"
    extra.write_h5ad(tmp_path / "extra.h5ad")
    sources = [*declared["sources"], str(tmp_path / "extra.h5ad")]
    filters = [{"assays": ["10x 3' v3"]}, {"min_donors": 2}]
    planned = plan(declared, sources=sources, filters=filters, assay_key="assay", tissue_key="tissue")
    names = planned.cells.names
    assert names["assay"] == ("10x 3' v3",)
    assert planned.labels == names["label"] == tuple(planned.types_table().index)
    for column in COLUMNS:
        assert (planned.cells.per_name(column) > 0).all()
    assert planned.steps[2].types == ("plasma cell",)


def test_compact_cells_are_called_the_same(declared):
    cells = plan(declared).cells
    some = cells.take(np.arange(7, 20))
    before, after = (
        {column: [(*of.names[column], None)[code] for code in codes] for column, codes in of.codes.items()}
        for of in (some, some.compact())
    )
    assert before == after
    assert some.compact().names["donor"] != some.names["donor"]
    assert some.compact().names["tissue"] == ()


def test_the_same_barcode_of_the_same_study(declared, studies, tmp_path):
    for name in ("one", "again"):
        adata = studies["one"].copy()
        adata.obs["study"] = "S"
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
    paths = [str(tmp_path / f"{name}.h5ad") for name in ("one", "again")]
    kept = plan(declared, sources=paths, dataset_key="study")
    assert kept.n_duplicated == 120
    assert kept.n_obs == 240
    assert plan(declared, sources=paths, dataset_key="study", drop_duplicates=True).n_obs == 120
