"""Subsets and verification of a store."""

import numpy as np
import pytest

from sctab.corpus import Corpus, build as build_corpus
from sctab.errors import (
    DataFileError,
    KeyNotFoundError,
    SettingError,
)

pytest.importorskip("annbatch")


class TestSubsets:
    def test_shares_of_donors_lie_in_each_other(self, corpus):
        donors = corpus.codes("train")["donor"].to_numpy()
        smaller, larger = corpus.subset(0.3), corpus.subset(0.7)
        assert set(smaller) < set(larger)
        assert len(np.unique(donors[smaller])) == 3
        assert not set(donors[smaller]) & set(np.delete(donors, smaller))

    def test_shares_of_cells(self, corpus):
        assert len(corpus.subset(0.5, by="cell")) == np.ceil(corpus.n_obs_of("train") / 2)

    def test_other_units_are_refused(self, corpus):
        with pytest.raises(SettingError, match="must be `'donor'` or `'cell'`"):
            corpus.subset(0.5, by="mood")


class TestVerification:
    def test_what_was_built_is_whole(self, corpus):
        assert corpus.verify() == []

    def test_changed_values_are_found(self, corpus):
        group = next(iter(corpus.collection("train")))
        import zarr

        data = zarr.open_array(corpus.path / "train.zarr" / "dataset_0" / "X" / "data", mode="r+")
        data[0] = data[0] + 1
        assert group.name
        assert corpus.verify() == ["`train`, part 0: 1 cells are not what they were."]

    def test_a_source_that_changed_since_is_named(self, config, studies, tmp_path):
        built = build_corpus(config, tmp_path / "changing")
        assert built.verify() == []
        studies["two"].obs["cell_type"] = "B cell"
        studies["two"].write_h5ad(tmp_path / "two.h5ad")
        (tmp_path / "three.h5ad").unlink()  # what is gone has not changed
        assert built.verify() == []  # sources are not contacted unless they are asked for
        (problem,) = built.verify(sources=True)
        assert problem == "`../two.h5ad` changed since the corpus was built."

    def test_a_lost_file_is_found(self, corpus):
        for path in sorted((corpus.path / "test.zarr" / "dataset_0" / "X" / "data").rglob("*")):
            if path.name != "zarr.json" and path.is_file():
                path.write_bytes(path.read_bytes()[:20])
        (problem,) = (text for text in corpus.verify() if "cannot be read" in text)
        assert problem.startswith("`test`, part 0 cannot be read")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "is not a corpus: it has no `corpus.json`"),
            ("{", "cannot be read"),
            ("{}", "does not describe a corpus"),
            ('{"format": "sctab-corpus", "format_version": 99}', "has version 99 of the format"),
            ('{"format": "sctab-corpus", "format_version": 1}', "is damaged"),
        ],
    )
    def test_what_is_no_corpus_is_refused(self, tmp_path, content, message):
        if content is not None:
            (tmp_path / "corpus.json").write_text(content)
        with pytest.raises(DataFileError, match=message):
            Corpus.open(tmp_path)

    def test_no_such_split(self, corpus):
        with pytest.raises(KeyNotFoundError, match="There is no split `mood`"):
            corpus.obs("mood")
