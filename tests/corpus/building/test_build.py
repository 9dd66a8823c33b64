"""Stores against the files that they were built from, with interruptions on the way."""

import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pytest
from filelock import FileLock
from scipy import sparse
from tests.studies import IDS, SYMBOLS, make_study

import sctab.corpus.building._build
import sctab.corpus.building._stages
from sctab.corpus import Corpus, CorpusConfig, SplitEntry, build as build_corpus, plan
from sctab.corpus.building._shards import SpillWriter, hash_rows, read_shard
from sctab.data import FeatureSpace
from sctab.errors import (
    DataFileError,
    InputValueError,
    KeyNotFoundError,
    OutputError,
    OutputExistsError,
    SctabWarning,
    SettingError,
)

pytest.importorskip("annbatch")


@pytest.fixture
def config(declared):
    return CorpusConfig.of(declared | {"features": "union"})


@pytest.fixture
def corpus(config, tmp_path):
    return build_corpus(config, tmp_path / "blood.corpus", shard_size=50)


def cells_of(corpus):
    """For each split: codes and expression of its cells, through `annbatch`."""
    for split in ("train", "validation", "test"):
        groups = list(corpus.collection(split))
        X = sparse.vstack([ad.io.read_elem(group["X"]) for group in groups], format="csr")
        yield split, corpus.obs(split), X


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

    def test_cells_are_shuffled(self, corpus):
        source = corpus.obs("train")["source"].to_numpy()
        assert (np.diff(source) != 0).mean() > 0.4

    def test_parts_are_of_even_size(self, corpus):
        sizes = [len(ad.io.read_elem(group["obs"])) for group in corpus.collection("train")]
        assert max(sizes) <= 50
        assert max(sizes) - min(sizes) <= 1

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
            n_threads=1,
        )
        for (_, obs, X), (_, other_obs, other_X) in zip(cells_of(corpus), cells_of(other), strict=True):
            order, other_order = (np.lexsort((table["row"], table["source"])) for table in (obs, other_obs))
            np.testing.assert_array_equal(X[order].toarray(), other_X[other_order].toarray())

    def test_the_manifest_says_what_it_is_made_of(self, corpus, config):
        manifest = json.loads((corpus.path / "corpus.json").read_text())
        assert [source["path"] for source in manifest["sources"]] == [f"../{Path(entry.path).name}" for entry in config.sources]
        assert all(source["size"] > 0 and len(source["sha256"]) == 64 for source in manifest["sources"])
        assert manifest["labels"]["ids"] == ["CL:0000236", "CL:0001054", "CL:0000623"]
        assert sum(manifest["splits"].values()) == 360
        assert manifest["duplicates"] == {"barcode": 0, "expression": 0}

    def test_the_manifest_names_only_what_is_there(self, declared, tmp_path):
        make_study(9, n_obs=20, n_donors=1, types=("B cell", "plasma cell")).write_h5ad(tmp_path / "extra.h5ad")
        sources = [*declared["sources"], str(tmp_path / "extra.h5ad")]
        config = CorpusConfig.of(declared | {"sources": sources, "filters": [{"min_donors": 2}], "features": "union"})
        corpus = build_corpus(config, tmp_path / "c")
        assert "plasma cell" not in corpus.labels.names
        assert "plasma cell" not in corpus.manifest["names"]["label"]
        for column in ("label", "donor", "dataset"):
            codes = np.concatenate([corpus.codes(split)[column] for split in ("train", "validation", "test")])
            assert set(codes) == set(range(len(corpus.manifest["names"][column])))

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

    def test_cells_with_the_same_expression_are_counted(self, declared, studies, tmp_path):
        again = studies["one"].copy()
        again.obs_names = [f"again-{i}" for i in range(again.n_obs)]
        again.write_h5ad(tmp_path / "again.h5ad")
        config = CorpusConfig.of(declared | {"sources": [*declared["sources"], str(tmp_path / "again.h5ad")], "features": "union"})
        assert build_corpus(config, tmp_path / "c").manifest["duplicates"]["expression"] == 120


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
            (None, "is no corpus: there is no `corpus.json`"),
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


def _build(declared, output, resume):
    """In a process of its own that will be killed; slow enough for that."""
    original = sctab.corpus.building._stages._write_part

    def slow(*arguments):
        time.sleep(0.05)
        original(*arguments)

    sctab.corpus.building._stages._write_part = slow
    build_corpus(CorpusConfig.of(declared), output, resume=resume, shard_size=20, n_threads=1)


class TestInterruption:
    def test_killed_and_resumed(self, declared, tmp_path):
        declared = declared | {"features": "union"}
        whole = build_corpus(CorpusConfig.of(declared), tmp_path / "whole", shard_size=20)
        output = tmp_path / "killed"
        context = multiprocessing.get_context("fork")
        rng = np.random.default_rng(int.from_bytes(os.urandom(4)))
        work = tmp_path / "killed.unfinished"
        for attempt in range(3):
            process = context.Process(target=_build, args=(declared, output, attempt > 0))
            process.start()
            wanted = int(rng.integers(attempt * 5, attempt * 5 + 5))
            while process.is_alive() and len(list(work.glob("store/*.zarr/dataset_*"))) < wanted:
                time.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        assert not output.exists()
        resumed = build_corpus(CorpusConfig.of(declared), output, resume=True, shard_size=20)
        assert resumed.verify() == []
        assert not work.exists()
        for (_, obs, X), (_, expected, expected_X) in zip(cells_of(resumed), cells_of(whole), strict=True):
            assert obs.equals(expected)
            assert (expected_X != X).nnz == 0

    def test_work_that_is_there_is_not_thrown_away(self, config, tmp_path):
        (tmp_path / "c.unfinished").mkdir()
        with pytest.raises(OutputExistsError, match=r"holds the unfinished work on this corpus. Go on with it"):
            build_corpus(config, tmp_path / "c")

    @pytest.mark.parametrize("resume", [False, True])
    def test_a_directory_of_somebody_else_is_not_work(self, config, tmp_path, resume):
        (tmp_path / "c.unfinished").mkdir()
        (tmp_path / "c.unfinished/thesis.tex").write_text("mine")
        with pytest.raises(
            OutputExistsError, match=r"holds (the unfinished work|something else than work on a corpus: `thesis.tex`)"
        ):
            build_corpus(config, tmp_path / "c", resume=resume)
        assert (tmp_path / "c.unfinished/thesis.tex").read_text() == "mine"

    def test_a_file_of_the_operating_system_is_no_reason_to_stop(self, config, tmp_path):
        (tmp_path / "c.unfinished").mkdir()
        (tmp_path / "c.unfinished/.DS_Store").write_text("of a window")
        assert build_corpus(config, tmp_path / "c", resume=True).n_obs > 0

    def test_outputs_apart_from_sources(self, config, tmp_path):
        (tmp_path / "link").symlink_to("nowhere")
        with pytest.raises(OutputExistsError, match="is already there"):
            build_corpus(config, tmp_path / "link")
        with pytest.raises(OutputError, match="lies in `.*one.h5ad`, which is an input"):
            build_corpus(config, tmp_path / "one.h5ad/c")

    def test_a_source_that_changes_while_it_is_read(self, config, tmp_path, monkeypatch):
        write_shards = sctab.corpus.building._build.write_shards

        def touched(*arguments, **options):
            (tmp_path / "one.h5ad").touch()
            return write_shards(*arguments, **options)

        monkeypatch.setattr(sctab.corpus.building._build, "write_shards", touched)
        with pytest.raises(DataFileError, match="one.h5ad` changed while the corpus was built"):
            build_corpus(config, tmp_path / "c")
        assert not (tmp_path / "c").exists()

    def test_a_source_that_changed_meanwhile(self, config, tmp_path, monkeypatch):
        monkeypatch.setattr(sctab.corpus.building._build, "write_shards", _full_disk)
        with pytest.raises(OutputError, match="the disk is full"):
            build_corpus(config, tmp_path / "c")
        monkeypatch.undo()
        make_study(1, n_obs=99).write_h5ad(tmp_path / "one.h5ad")
        with pytest.raises(DataFileError, match=r"one.h5ad` changed since work on this corpus began"):
            build_corpus(config, tmp_path / "c", resume=True)

    def test_genes_that_changed_meanwhile(self, config, tmp_path, monkeypatch):
        monkeypatch.setattr(sctab.corpus.building._build, "write_shards", _full_disk)
        config = replace(config, features=str(tmp_path / "genes.csv"))
        for genes, error in ((IDS[:4], OutputError), (IDS[:5], SettingError)):
            (tmp_path / "genes.csv").write_text("\n".join(["id,symbol", *(f"{gene},{SYMBOLS[IDS.index(gene)]}" for gene in genes)]))
            with pytest.raises(error):
                build_corpus(config, tmp_path / "c", resume=True)

    def test_another_declaration(self, config, declared, tmp_path, monkeypatch):
        monkeypatch.setattr(sctab.corpus.building._build, "write_shards", _full_disk)
        with pytest.raises(OutputError):
            build_corpus(config, tmp_path / "c")
        with pytest.raises(SettingError, match="is of another corpus"):
            build_corpus(CorpusConfig.of(declared), tmp_path / "c", resume=True)

    def test_a_full_disk_loses_nothing(self, config, tmp_path, monkeypatch):
        monkeypatch.setattr(sctab.corpus.building._build, "write_shards", _full_disk)
        with pytest.raises(OutputError, match="the disk is full"):
            build_corpus(config, tmp_path / "c")
        monkeypatch.undo()
        assert build_corpus(config, tmp_path / "c", resume=True).verify() == []

    def test_interrupted_at_the_very_end(self, config, tmp_path, monkeypatch):
        monkeypatch.setattr(Corpus, "keep_subsets", _full_disk)
        with pytest.raises(OutputError, match="the disk is full"):
            build_corpus(config, tmp_path / "c")
        monkeypatch.undo()
        assert build_corpus(config, tmp_path / "c", resume=True).verify() == []

    def test_another_process_is_not_told_to_delete_its_work(self, config, tmp_path):
        (tmp_path / "c.unfinished").mkdir()
        with (
            FileLock(tmp_path / "c.unfinished" / "lock"),
            pytest.raises(OutputExistsError, match="Another process is building"),
        ):
            build_corpus(config, tmp_path / "c")

    def test_with_a_source_that_cannot_be_opened(self, config, tmp_path, monkeypatch):
        path = tmp_path / "two.h5ad"
        whole = path.read_bytes()
        path.write_bytes(whole[:3000])
        with pytest.raises(DataFileError, match=r"two.h5ad` is incomplete"):
            build_corpus(config, tmp_path / "c")
        monkeypatch.setattr(sctab.corpus.building._build, "write_shards", _full_disk)
        with pytest.warns(SctabWarning, match=r"two.h5ad.*left out"), pytest.raises(OutputError):
            build_corpus(config, tmp_path / "c", skip_damaged=True)
        monkeypatch.undo()
        with pytest.warns(SctabWarning, match=r"two.h5ad.*left out"):
            corpus = build_corpus(config, tmp_path / "c", skip_damaged=True, resume=True)
        assert corpus.n_obs == 240
        assert corpus.verify() == []


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

    def test_of_the_same_name_are_different_datasets(self, declared, studies, tmp_path):
        paths = []
        for number, name in enumerate(studies):
            path = tmp_path / f"study{number}" / "counts.h5ad"
            path.parent.mkdir()
            studies[name].write_h5ad(path)
            paths.append(str(path))
        planned = plan(CorpusConfig.of(declared | {"sources": paths, "features": "union"}))
        assert planned.cells.names["dataset"] == ("study0/counts", "study1/counts", "study2/counts")
        assert planned.cells.n_names("donor") == 12

    def test_donors_that_are_numbers_are_the_same_where_some_are_missing(self, declared, studies, tmp_path):
        for name, numbers in (("one", np.arange(120) % 4), ("two", np.where(np.arange(120) < 10, np.nan, np.arange(120) % 4))):
            adata = studies[name].copy()
            adata.obs["donor_id"], adata.obs["study"] = numbers, "both"
            adata.write_h5ad(tmp_path / f"{name}.h5ad")
        split = {"validation": ["both/1"], "test": ["both/2"]}  # all others are learned, also those without a donor
        planned = plan(CorpusConfig.of(declared | {"sources": declared["sources"][:2], "dataset_key": "study", "split": split}))
        assert planned.cells.names["donor"] == ("both/0", "both/1", "both/2", "both/3")

    def test_changes_are_found_from_anywhere(self, config, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        config = replace(config, sources=tuple(replace(entry, path=os.path.relpath(entry.path)) for entry in config.sources))
        corpus = build_corpus(config, "c")
        make_study(1, n_obs=99).write_h5ad(tmp_path / "one.h5ad")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert Corpus.open(tmp_path / "c").verify(sources=True) == ["`../one.h5ad` changed since the corpus was built."]
        assert corpus.sha256 == Corpus.open(tmp_path / "c").sha256

    def test_the_hash_tells_labels_and_order(self, config, studies, tmp_path):
        hashes = {build_corpus(config, tmp_path / "a").sha256, build_corpus(config, tmp_path / "b", shard_size=50).sha256}
        for name, study in studies.items():
            study = study.copy()
            study.obs["cell_type"] = study.obs["cell_type"].astype(str).replace("B cell", "T cell")
            study.write_h5ad(tmp_path / f"{name}.h5ad")
        hashes.add(build_corpus(config, tmp_path / "c").sha256)
        assert len(hashes) == 3


def _full_disk(*_, **__):
    raise OSError(28, "No space left on device")


class TestRefusals:
    def test_something_is_there(self, config, tmp_path):
        (tmp_path / "c").mkdir()
        with pytest.raises(OutputExistsError, match="is already there"):
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


def test_hashes_do_not_depend_on_the_order_of_columns(rng):
    rows = sparse.random(20, 30, density=0.3, format="csr", dtype=np.float32, random_state=0)
    shuffled = rows[:, rng.permutation(30)].tocsr()
    back = rows.copy()
    for start, stop in zip(rows.indptr[:-1], rows.indptr[1:], strict=True):
        order = start + rng.permutation(stop - start)
        back.indices[start:stop], back.data[start:stop] = rows.indices[order], rows.data[order]
    np.testing.assert_array_equal(hash_rows(back), hash_rows(rows))
    assert (hash_rows(shuffled) != hash_rows(rows)).any()


def test_cells_come_back_from_their_shards(rng, tmp_path):
    """In few files, however many shards there are, and however often they are written to."""
    parts = [sparse.random(n, 30, density=0.3, format="csr", dtype=np.float32, random_state=n) for n in (97, 60)]
    shard = rng.integers(8, size=157)
    place = np.empty(157, dtype=np.int64)
    for each in range(8):
        place[shard == each] = rng.permutation(int((shard == each).sum()))
    for number, (part, first) in enumerate(zip(parts, (0, 97), strict=True)):
        (tmp_path / str(number)).mkdir()
        spills = SpillWriter(tmp_path / str(number))
        for start in range(0, part.shape[0], 10):
            rows = np.arange(start, min(start + 10, part.shape[0]))
            spills.add(part[rows], shard[first + rows], place[first + rows], rows)
            spills.flush()
        assert len(list((tmp_path / str(number)).iterdir())) == 7
    directories = [(4, tmp_path / "0"), (9, tmp_path / "1")]
    for each in range(8):
        cells = np.flatnonzero(shard == each)[np.argsort(place[shard == each])]
        found = read_shard(directories, each, 30)
        np.testing.assert_array_equal(found.matrix.toarray(), sparse.vstack(parts).tocsr()[cells].toarray())
        np.testing.assert_array_equal(found.source, np.where(cells < 97, 4, 9))
        np.testing.assert_array_equal(found.row, np.where(cells < 97, cells, cells - 97))
