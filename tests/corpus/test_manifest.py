"""Damaged corpora are refused when they are opened or read; manifests say where sources are, and nothing that gives access."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import zarr
from tests.studies import make_study

from sctab import DataFileError
from sctab.corpus import Corpus, CorpusConfig, build
from sctab.corpus._entry import SourceEntry, source_names
from sctab.corpus._manifest import located_entry, read_manifest, source_values

MISSING = object()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    for number in (1, 2):
        make_study(number).write_h5ad(folder / f"{number}.h5ad")
    sources = [str(folder / "1.h5ad"), str(folder / "2.h5ad")]
    build(CorpusConfig.of({"sources": sources, "labels_key": "cell_type", "donor_key": "donor_id"}), folder / "c")
    return folder


@pytest.fixture
def corpus(built, tmp_path):
    return shutil.copytree(built / "c", tmp_path / "c")


@pytest.fixture
def manifest(built, tmp_path):
    """A directory with nothing but a manifest."""
    shutil.copy(built / "c" / "corpus.json", tmp_path / "corpus.json")
    return tmp_path


def change(corpus, keys, value, *, keep_hash=False):
    """Replace one value of the manifest, which has no hash then."""
    path = corpus / "corpus.json"
    manifest = json.loads(path.read_text())
    if not keep_hash:
        del manifest["manifest_sha256"]
    place = manifest
    for key in keys[:-1]:
        place = place[key]
    if value is MISSING:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    path.write_text(json.dumps(manifest))


FIELDS = [
    ["sha256"],
    ["n_vars"],
    ["labels"],
    ["labels", "names"],
    ["labels", "ids"],
    ["names"],
    ["names", "donor"],
    ["names", "label"],
    ["splits"],
    ["splits", "train"],
    ["parts"],
    ["parts", "test"],
    ["split_by"],
    ["split_seed"],
    ["sources"],
    ["sources", 0],
    ["sources", 0, "path"],
    ["sources", 0, "entry"],
    ["sources", 0, "entry", "path"],
    ["sources", 0, "fingerprint"],
    ["sources", 0, "n_obs"],
    ["sources", 0, "n_found"],
    ["sources", 0, "sha256"],
    ["duplicates"],
    ["duplicates", "barcode"],
]


class TestManifest:
    def test_it_opens(self, corpus):
        assert Corpus.open(corpus).verify() == []

    def test_one_of_before_it_had_a_hash(self, corpus):
        change(corpus, ["created"], "2025-01-01")
        assert Corpus.open(corpus).n_obs == 240

    @pytest.mark.parametrize("keys", FIELDS, ids=lambda keys: "-".join(map(str, keys)))
    @pytest.mark.parametrize(
        "value",
        [MISSING, 10**400, -1, 1.5, True, [], {}, [[]], {"a": {}}, "\x00", [1, 2], ["a", "a"], [None]],
        ids=lambda value: "missing" if value is MISSING else repr(value)[:20],
    )
    def test_a_field_that_cannot_be(self, manifest, keys, value):
        if value is MISSING and keys == ["sources", 0]:
            keys = ["sources"]
        if (keys[-1], repr(value)) in {
            ("path", "'\\x00'"),
            ("fingerprint", "{}"),
            ("fingerprint", "{'a': {}}"),
            ("donor", "[]"),
        }:
            return  # which may be
        change(manifest, keys, value)
        with pytest.raises(DataFileError, match=r"corpus.json` is damaged.*Build the corpus again"):
            read_manifest(manifest)

    @pytest.mark.parametrize("keys", [["labels", "names", 0], ["created"], ["names", "donor", 0], ["sources", 0, "matrix"]])
    def test_anything_else_than_was_written(self, corpus, keys):
        change(corpus, keys, "changed", keep_hash=True)
        with pytest.raises(DataFileError, match="its hash is another one"):
            Corpus.open(corpus)

    @pytest.mark.parametrize(
        "text",
        ["", "{", "[" * 100_000, '{"a": 1, "a": 2}', '{"format": NaN}', "\xff\xfe", "9" * 5000, "null", "[]", '"sctab-corpus"'],
        ids=["empty", "open", "deep", "twice", "nan", "bytes", "digits", "null", "list", "string"],
    )
    def test_what_is_no_manifest(self, manifest, text):
        (manifest / "corpus.json").write_text(text, encoding="latin-1")
        with pytest.raises(DataFileError, match="corpus.json"):
            read_manifest(manifest)

    @pytest.mark.parametrize("version", [0, 2, "1", None, True, [1], 1.0])
    def test_versions(self, manifest, version):
        change(manifest, ["format_version"], version)
        with pytest.raises(DataFileError, match="of the format; this `sctab` reads version 1"):
            read_manifest(manifest)

    @pytest.mark.parametrize("name", ["corpus.json", "features.parquet", "measured.npy"])
    def test_pipes_and_directories(self, corpus, name):
        (corpus / name).unlink()
        (corpus / name).mkdir()
        with pytest.raises(DataFileError):
            Corpus.open(corpus)
        if hasattr(os, "mkfifo"):
            (corpus / name).rmdir()
            os.mkfifo(corpus / name)
            with pytest.raises(DataFileError):
                Corpus.open(corpus)


class TestParts:
    @pytest.mark.parametrize("name", ["features.parquet", "measured.npy"])
    @pytest.mark.parametrize("content", [b"", b"x" * 300, None], ids=["empty", "other", "cut"])
    def test_files(self, corpus, name, content):
        before = (corpus / name).read_bytes()
        (corpus / name).write_bytes(before[: len(before) // 2] if content is None else content)
        with pytest.raises(DataFileError, match=r"cannot be read as a corpus"):
            Corpus.open(corpus)

    @pytest.mark.parametrize(
        "measured", [np.ones((2, 9), bool), np.ones((3, 10), bool), np.ones((2, 10)), np.ones(20, bool), np.array([[None]])]
    )
    def test_another_table_of_what_was_measured(self, corpus, measured):
        np.save(corpus / "measured.npy", measured)
        with pytest.raises(DataFileError, match=r"measured.npy|cannot be read as a corpus"):
            Corpus.open(corpus)

    def test_an_array_that_says_it_is_large(self, corpus):
        content = (corpus / "measured.npy").read_bytes()
        (corpus / "measured.npy").write_bytes(content.replace(b"(2, 10), } ", b"(2, 10**9)}"))
        with pytest.raises(DataFileError, match="cannot be read as a corpus"):
            Corpus.open(corpus)

    @pytest.mark.parametrize("change", [lambda t: t.iloc[:5], lambda t: t.drop(columns="id"), lambda t: t.assign(other_ids=3)])
    def test_another_table_of_genes(self, corpus, change):
        change(pd.read_parquet(corpus / "features.parquet")).to_parquet(corpus / "features.parquet")
        with pytest.raises(DataFileError, match="cannot be read as a corpus"):
            Corpus.open(corpus)

    @pytest.mark.parametrize(("column", "value"), [("label", 99), ("label", -2), ("source", -1), ("source", 2), ("row", -1)])
    def test_codes_that_name_nothing(self, corpus, column, value):
        group = zarr.open_group(corpus / "train.zarr" / "dataset_0", mode="r+")
        codes = group[f"obs/{column}"]
        codes[0] = value
        with pytest.raises(DataFileError, match=f"`{column}` of its cells goes from"):
            Corpus.open(corpus).codes("train")

    @pytest.mark.parametrize("what", ["obs/label", "X", "."])
    def test_parts_that_are_missing(self, corpus, what):
        shutil.rmtree(corpus / "train.zarr" / "dataset_0" / what)
        opened = Corpus.open(corpus)
        assert opened.verify()
        if what != "X":
            with pytest.raises(DataFileError, match="lacks `dataset_0`|`label` of the cells in `train` is not what was written"):
                opened.codes("train")


class TestSources:
    def test_paths_are_relative_to_the_corpus(self, built, tmp_path):
        text = (built / "c" / "corpus.json").read_text()
        assert str(built) not in text
        assert [source["path"] for source in json.loads(text)["sources"]] == ["../1.h5ad", "../2.h5ad"]
        moved = shutil.copytree(built, tmp_path / "moved")
        assert Corpus.open(moved / "c").verify() == []
        (moved / "1.h5ad").unlink()
        make_study(1, n_obs=30).write_h5ad(moved / "1.h5ad")
        assert "`../1.h5ad` changed" in " ".join(Corpus.open(moved / "c").verify(sources=True))

    def test_urls_have_no_credentials(self, tmp_path):
        entry = SourceEntry("https://me:secret@example.org/data/a.h5ad?sig=hidden", labels_key="cell_type")
        values = source_values(entry, {"path": entry.path, "n_obs": 3}, tmp_path)
        assert "secret" not in str(values)
        assert "hidden" not in str(values)
        assert values["path"] == values["entry"]["path"] == "https://example.org/data/a.h5ad"
        assert located_entry(values["entry"], tmp_path) == SourceEntry(values["path"], labels_key="cell_type")
        others = [entry, SourceEntry("https://you:secret@example.org/data/a.h5ad?sig=2"), SourceEntry("/b/a.zarr")]
        assert "secret" not in str(source_names(others))

    def test_sources_of_older_corpora_are_where_they_were(self, tmp_path):
        path = str(tmp_path / "a.h5ad")
        assert located_entry({"path": path, "labels_key": "x", "of_later": 1}, tmp_path / "c").path == path
