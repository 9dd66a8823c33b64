"""Work that was interrupted, and directories that it must not touch."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from filelock import FileLock
from tests.studies import IDS, SYMBOLS, cells_of, make_study

import sctab.corpus.building._build
import sctab.corpus.building._stages
from sctab.corpus import Corpus, CorpusConfig, build as build_corpus
from sctab.errors import (
    DataFileError,
    OutputError,
    OutputExistsError,
    SctabWarning,
    SettingError,
)

pytest.importorskip("annbatch")


SLOW_BUILD = """
import json, sys, time

import sctab.corpus.building._stages as stages
from sctab.corpus import CorpusConfig, build

write = stages._write_part

def slow(*arguments):
    time.sleep(0.05)
    write(*arguments)

stages._write_part = slow
declared, output, resume = json.loads(sys.argv[1])
build(CorpusConfig.of(declared), output, resume=resume, shard_size=20, n_jobs=1)
"""
"""A process of its own that will be killed; slow enough for that."""


class TestInterruption:
    def test_killed_and_resumed(self, declared, tmp_path):
        declared = declared | {"features": "union"}
        whole = build_corpus(CorpusConfig.of(declared), tmp_path / "whole", shard_size=20)
        output = tmp_path / "killed"
        rng = np.random.default_rng(int.from_bytes(os.urandom(4)))
        work = tmp_path / "killed.unfinished"
        for attempt in range(3):
            arguments = json.dumps([declared, output, attempt > 0], default=str)
            process = subprocess.Popen([sys.executable, "-c", SLOW_BUILD, arguments], stderr=subprocess.DEVNULL)
            wanted = int(rng.integers(attempt * 5 + 1, attempt * 5 + 5))
            while process.poll() is None and len(list(work.glob("store/*.zarr/dataset_*"))) < wanted:
                time.sleep(0.005)
            assert process.poll() is None
            process.kill()
            process.wait()
        assert not output.exists()
        resumed = build_corpus(CorpusConfig.of(declared), output, resume=True, shard_size=20)
        assert resumed.verify() == []
        assert not work.exists()
        for (_, obs, X), (_, expected, expected_X) in zip(cells_of(resumed), cells_of(whole), strict=True):
            assert obs.equals(expected)
            assert (expected_X != X).nnz == 0

    def test_work_that_is_there_is_not_thrown_away(self, config, tmp_path):
        (tmp_path / "c.unfinished").mkdir()
        with pytest.raises(OutputExistsError, match=r"holds the unfinished work on this corpus. Resume it"):
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
        with pytest.raises(OutputExistsError, match="already exists"):
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
        with pytest.raises(SettingError, match="belongs to another corpus"):
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


def _full_disk(*_, **__):
    raise OSError(28, "No space left on device")
