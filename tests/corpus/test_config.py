"""Declarations of corpora, and what is refused in them."""

import pytest
import yaml

from sctab.corpus import CorpusConfig, plan as plan_corpus
from sctab.errors import DataFileError, KeyNotFoundError, LabelError, SctabWarning, SettingError


def plan(declared, **changes):
    return plan_corpus(CorpusConfig.of(declared | changes))


class TestDeclaration:
    def test_a_file_with_its_own_columns(self, declared, studies, tmp_path):
        renamed = studies["two"].copy()
        renamed.obs = renamed.obs.rename(columns={"cell_type": "annotation"})
        renamed.write_h5ad(tmp_path / "two.h5ad")
        sources = ["one.h5ad", {"path": "two.h5ad", "labels_key": "annotation"}, "three.h5ad"]
        (tmp_path / "blood.yaml").write_text(yaml.safe_dump(declared | {"sources": sources}))
        assert plan_corpus(tmp_path / "blood.yaml").n_obs == 360

    @pytest.mark.parametrize(
        ("changes", "error", "message"),
        [
            ({"filters": ["min_mood"]}, SettingError, "there is no rule `min_mood`. Available: `primary_data`"),
            ({"filters": [{"min_cells": "many"}]}, SettingError, "an integer of at least 0 and below 2\\^63 was expected"),
            ({"filters": ["assays"]}, SettingError, "a list was expected"),
            ({"split": {"by": "mood"}}, SettingError, "`by: mood` is not known"),
            ({"split": {"fractions": [0.5, 0.5]}}, SettingError, "three fractions above 0 that sum to one"),
            ({"sources": ["missing.h5ad"]}, DataFileError, "`missing.h5ad` not found"),
            ({"features": "genes.parquet"}, DataFileError, "`genes.parquet` not found"),
            ({"mood": 1}, SettingError, "`mood` is not known"),
            ({"labels_key": "annotation"}, KeyNotFoundError, "has no column `annotation` in `obs`"),
            ({"filters": [{"min_cells": 10_000}]}, LabelError, "No cell is left after the rules"),
        ],
    )
    def test_refusals(self, declared, changes, error, message):
        with pytest.raises(error, match=message):
            plan(declared, **changes)

    def test_a_source_without_labels(self, declared):
        without = {key: value for key, value in declared.items() if key != "labels_key"}
        with pytest.raises(LabelError, match="has no `labels_key`"):
            plan_corpus(CorpusConfig.of(without))


def test_the_old_name_of_fractions(declared):
    fractions = [0.5, 0.25, 0.25]
    with pytest.warns(SctabWarning, match="`sizes` is called `fractions` now"):
        old = plan(declared, split={"sizes": fractions})
    assert old.config.split == plan(declared, split={"fractions": fractions}).config.split
