"""Rules of curation against what pandas says of the same cells."""

import pandas as pd
import pytest
from tests.studies import make_study

from sctab.corpus import CorpusConfig, plan as plan_corpus
from sctab.errors import LabelError, SctabWarning
from sctab.ontology import CellOntology


@pytest.fixture
def every_obs(studies):
    tables = {name: adata.obs.assign(study=name) for name, adata in studies.items()}
    return pd.concat(tables.values(), ignore_index=True)


def plan(declared, **changes):
    return plan_corpus(CorpusConfig.of(declared | changes))


class TestRules:
    def test_without_rules_every_cell_is_there(self, declared, every_obs):
        planned = plan(declared)
        assert planned.n_obs == planned.n_found == len(every_obs)
        assert planned.n_found_per_source == (120, 120, 120)
        assert planned.labels == tuple(sorted(every_obs["cell_type"].unique()))

    def test_primary_data_and_assays(self, declared, every_obs):
        planned = plan(declared, filters=["primary_data", {"assays": ["10x 3' v3"]}], assay_key="assay")
        primary = every_obs[every_obs["is_primary_data"]]
        expected = primary[primary["assay"] == "10x 3' v3"]
        assert planned.n_obs == len(expected)
        removed = planned.steps_table()["cells"]
        assert removed["primary_data"] == len(every_obs) - len(primary)
        assert removed["assays"] == len(primary) - len(expected)

    def test_minimum_of_cells_and_donors(self, declared, tmp_path):
        extra = make_study(9, n_obs=30, n_donors=1, types=("B cell", "plasma cell"))
        extra.write_h5ad(tmp_path / "extra.h5ad")
        sources = [*declared["sources"], str(tmp_path / "extra.h5ad")]
        few = plan(declared, sources=sources, filters=[{"min_cells": 16}])
        assert few.steps[1].types == ("plasma cell",)
        assert few.steps[1].n_cells == 15
        single = plan(declared, sources=sources, filters=[{"min_donors": 2}])
        assert single.steps[1].types == ("plasma cell",)

    def test_ancestors_and_subtypes_against_the_ontology(self, declared):
        ontology = CellOntology.embedded()
        n_above = {name: len(ontology.ancestors(ontology.find(name))) for name in plan(declared).labels}
        least = sorted(n_above.values())[1]
        planned = plan(declared, filters=[{"min_ancestors": least}])
        assert planned.labels == tuple(name for name, n in sorted(n_above.items()) if n >= least)
        lymphocytes = plan(declared, filters=[{"subtype_of": "CL:0000542"}])
        assert lymphocytes.labels == ("B cell", "natural killer cell")

    def test_strings_for_missing_labels_are_told_and_left_out(self, declared, studies, tmp_path):
        obs = studies["two"].obs = studies["two"].obs.astype({"cell_type": object})
        obs.loc[obs.index[:7], "cell_type"] = "nan"
        obs.loc[obs.index[7:9], "cell_type"] = ""
        studies["two"].obs = obs
        studies["two"].write_h5ad(tmp_path / "two.h5ad")
        with pytest.warns(
            SctabWarning, match=r"'' \(2 cells\), 'nan' \(7 cells\) in column `cell_type` of `.*two.h5ad` denote a missing"
        ):
            planned = plan(declared)
        assert planned.steps[0].n_cells == 9
        assert not {"nan", ""} & set(planned.labels)

    def test_labels_that_may_not_be_meant_or_stored(self, declared, studies, tmp_path):
        obs = studies["two"].obs
        obs["cell_type"] = obs["cell_type"].astype(object).replace({"B cell": "Unknown", "natural killer cell": "B cell "})
        studies["two"].write_h5ad(tmp_path / "two.h5ad")
        with pytest.warns(SctabWarning) as caught:
            plan(declared)
        told = " ".join(str(warning.message) for warning in caught)
        assert "'Unknown' (40 cells) in the labels of the corpus says that there is no label" in told
        assert "leave out all labels without an id with the rule `subtype_of: cell`." in told
        with pytest.warns(SctabWarning, match="differ in case"):
            assert "Unknown" not in plan(declared, filters=[{"subtype_of": "cell"}]).labels
        assert "'B cell' (80 cells), 'B cell ' (40 cells) in the labels of the corpus differ in case" in told
        obs["cell_type"] = obs["cell_type"].astype(object).replace({"Unknown": "a/b", "B cell ": "a|b"})
        studies["two"].write_h5ad(tmp_path / "two.h5ad")
        with pytest.raises(LabelError, match=r"could not be stored under the labels of the corpus: `a/b`, `a\|b`"):
            plan(declared)

    def test_a_label_map_decides_what_rules_see(self, declared, studies, tmp_path):
        obs = studies["two"].obs
        obs["cell_type"] = obs["cell_type"].astype(object).replace({"B cell": "DC2"})
        studies["two"].write_h5ad(tmp_path / "two.h5ad")
        (tmp_path / "labels.tsv").write_text("DC2\tCL:0002399\nabsent\tCL:0000236\n")
        filters = [{"subtype_of": "leukocyte"}]
        assert "DC2" not in plan(declared, filters=filters).labels
        with pytest.warns(SctabWarning, match="1 of 2 labels of the label map are not in the sources of the corpus: `absent`"):
            planned = plan(declared, filters=filters, label_map=str(tmp_path / "labels.tsv"))
        assert "DC2" in planned.labels
