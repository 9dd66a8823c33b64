"""Stores against the files that they were built from, with interruptions on the way."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from scipy import sparse
from tests.studies import IDS, SYMBOLS, cells_of

from sctab.corpus import CorpusConfig, SplitEntry, build as build_corpus, plan
from sctab.data import FeatureSpace
from sctab.errors import (
    DataFileError,
    InputValueError,
    OutputExistsError,
    SctabWarning,
)

pytest.importorskip("annbatch")


class TestContent:
    def test_every_cell_is_there_once_with_its_counts(self, corpus, studies, config):
        adatas = list(studies.values())
        place = {symbol: i for i, symbol in enumerate(corpus.features.symbols)}
        seen = set()
        for _, obs, X in cells_of(corpus):
            for cell, (source, row) in enumerate(zip(obs["source"], obs["row"], strict=True)):
                seen.add((source, row))
                adata = adatas[source]
                expected = np.zeros(len(place))
                symbols = {0: SYMBOLS, 1: SYMBOLS[:8], 2: SYMBOLS[2:]}[source]
                expected[[place[symbol] for symbol in symbols]] = adata.X[row].toarray().ravel()
                np.testing.assert_array_equal(X[cell].toarray().ravel(), expected)
                assert obs["label"].iloc[cell] == adata.obs["cell_type"].iloc[row]
                assert obs["donor"].iloc[cell] == f"{config.sources[source].name}/{adata.obs['donor_id'].iloc[row]}"
        assert len(seen) == corpus.n_obs == 360

    def test_the_loader_of_annbatch_reads_it(self, corpus):
        from annbatch import Loader

        loader = Loader(batch_size=16, chunk_size=8, preload_nchunks=4, shuffle=True, preload_to_gpu=False).use_collection(
            corpus.collection("train")
        )
        assert sum(len(batch["obs"]) for batch in loader) == corpus.n_obs_of("train")

    def test_zarr_and_dense_and_csc_sources_give_the_same(self, corpus, studies, tmp_path):
        adatas = list(studies.values())
        dense, csc = adatas[1].copy(), adatas[2].copy()
        dense.X, csc.X = dense.X.toarray(), sparse.csc_matrix(csc.X)
        (tmp_path / "other").mkdir()
        adatas[0].write_zarr(tmp_path / "other" / "one.zarr")
        dense.write_h5ad(tmp_path / "other" / "two.h5ad")
        csc.write_h5ad(tmp_path / "other" / "three.h5ad")
        paths = [str(tmp_path / "other" / name) for name in ("one.zarr", "two.h5ad", "three.h5ad")]
        other = build_corpus(
            CorpusConfig.of({"sources": paths, "labels_key": "cell_type", "donor_key": "donor_id", "features": "union"}),
            tmp_path / "other.corpus",
            shard_size=37,
            n_jobs=1,
        )
        for (_, obs, X), (_, other_obs, other_X) in zip(cells_of(corpus), cells_of(other), strict=True):
            order, other_order = (np.lexsort((table["row"], table["source"])) for table in (obs, other_obs))
            np.testing.assert_array_equal(X[order].toarray(), other_X[other_order].toarray())

    def test_genes_that_are_given(self, config, tmp_path):
        space = FeatureSpace(ids=IDS[:4], symbols=SYMBOLS[:4], other_ids={1: ("ENSG00000999999",)})
        corpus = build_corpus(replace(config, features=space), tmp_path / "c")
        assert corpus.features == space
        assert corpus.verify() == []

    def test_declared_splits_are_verified(self, config, studies, tmp_path):
        for name, adata in studies.items():
            adata.obs["part"] = adata.obs["donor_id"].map({"D0": "train", "D1": "train", "D2": "validation", "D3": "test"})
            adata.write_h5ad(tmp_path / f"{name}.h5ad")
        declared = replace(
            config, sources=tuple(replace(entry, split_key="part") for entry in config.sources), split=SplitEntry(by="declared")
        )
        corpus = build_corpus(declared, tmp_path / "c")
        assert corpus.verify() == []
        assert corpus.manifest["splits"] == {"train": 180, "validation": 90, "test": 90}
        for split in ("train", "validation", "test"):
            codes = corpus.codes(split)["donor"]
            assert len(set(codes)) == {"train": 6, "validation": 3, "test": 3}[split]


class TestSources:
    def test_counts_in_raw_bring_the_genes_of_raw(self, declared, studies, tmp_path):
        """As many files are: a few genes in `X`, scaled, and the counts of all in `raw`."""
        adata = studies["one"].copy()
        adata.raw = adata
        adata = adata[:, :3].copy()
        adata.X = adata.X.toarray() - 1.5
        adata.write_h5ad(tmp_path / "one.h5ad")
        config = CorpusConfig.of(declared | {"sources": [str(tmp_path / "one.h5ad")], "features": "union"})
        with pytest.warns(SctabWarning, match="has other genes in `raw` than in `X`"):
            assert plan(config).n_vars == 3
        corpus = build_corpus(config, tmp_path / "c")
        assert corpus.n_vars == 10
        assert corpus.is_measured.all()
        assert sum(corpus.to_anndata(split).X.sum() for split in ("train", "validation", "test")) == studies["one"].X.sum()
        declared_layer = CorpusConfig.of(declared | {"sources": [{"path": str(tmp_path / "one.h5ad"), "layer": "raw"}]})
        assert plan(declared_layer).n_vars == 10

    def test_those_of_which_no_cell_is_left_decide_nothing(self, declared, studies, tmp_path):
        other = studies["two"][:, :2].copy()
        other.obs["assay"] = "spatial"
        other.X = other.X.toarray() - 1.5  # no counts either
        other.write_h5ad(tmp_path / "two.h5ad")
        filters = [{"assays": ["10x 3' v3", "Smart-seq2"]}]
        corpus = build_corpus(
            CorpusConfig.of(declared | {"assay_key": "assay", "filters": filters, "features": "intersection"}), tmp_path / "c"
        )
        one = CorpusConfig.of(declared | {"sources": [path for path in declared["sources"] if "two" not in path]})
        assert corpus.features == plan(one).genes.features
        source = next(source for source in corpus.manifest["sources"] if "two" in source["path"])
        assert (source["n_obs"], source["matrix"], source["n_genes"]) == (0, None, 0)
        assert corpus.verify() == []

    def test_donors_that_are_numbers_are_the_same_where_some_are_missing(self, declared, studies, tmp_path):
        for name, numbers in (("one", np.arange(120) % 4), ("two", np.where(np.arange(120) < 10, np.nan, np.arange(120) % 4))):
            adata = studies[name].copy()
            adata.obs["donor_id"], adata.obs["study"] = numbers, "both"
            adata.write_h5ad(tmp_path / f"{name}.h5ad")
        split = {"validation": ["both/1"], "test": ["both/2"]}  # all others are learned, also those without a donor
        planned = plan(CorpusConfig.of(declared | {"sources": declared["sources"][:2], "dataset_key": "study", "split": split}))
        assert planned.cells.names["donor"] == ("both/0", "both/1", "both/2", "both/3")

    def test_the_hash_tells_labels_and_order(self, config, studies, tmp_path):
        hashes = {build_corpus(config, tmp_path / "a").sha256, build_corpus(config, tmp_path / "b", shard_size=50).sha256}
        for name, study in studies.items():
            study = study.copy()
            study.obs["cell_type"] = study.obs["cell_type"].astype(str).replace("B cell", "T cell")
            study.write_h5ad(tmp_path / f"{name}.h5ad")
        hashes.add(build_corpus(config, tmp_path / "c").sha256)
        assert len(hashes) == 3


class TestRefusals:
    def test_something_is_there(self, config, tmp_path):
        (tmp_path / "c").mkdir()
        with pytest.raises(OutputExistsError, match="already exists"):
            build_corpus(config, tmp_path / "c")

    def test_counts_beside_logarithms(self, config, studies, tmp_path):
        adata = studies["two"].copy()
        adata.X = sparse.csr_matrix(np.log1p(adata.X / adata.X.sum(axis=1) * 1e4))
        adata.write_h5ad(tmp_path / "two.h5ad")
        with pytest.raises(InputValueError, match=r"Some sources hold counts and others do not: `.*two.h5ad: log1p"):
            build_corpus(config, tmp_path / "c")

    def test_a_damaged_source_is_named_or_left_out(self, config, studies, tmp_path):
        path = tmp_path / "three.h5ad"
        studies["three"].write_h5ad(path, compression="gzip")
        with h5py.File(path) as file:
            offset = file["X/data"].id.get_chunk_info(0).byte_offset
        content = bytearray(path.read_bytes())
        content[offset : offset + 40] = b"\xff" * 40
        path.write_bytes(bytes(content))
        with pytest.raises(DataFileError, match=r"three.h5ad` cannot be read"):
            build_corpus(config, tmp_path / "stopped")
        with pytest.warns(SctabWarning, match=r"three.h5ad.*left out"):
            corpus = build_corpus(config, tmp_path / "c", skip_damaged=True)
        assert corpus.n_obs == 240
