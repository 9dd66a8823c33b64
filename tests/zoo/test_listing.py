"""Models that are listed: packaged, in indices, in the cache."""

import shutil

import pytest
from tests.zoo_models import entry_values, hosted, index_file, tar_of

import sctab
from sctab import ModelFormatError, ModelNotFoundError, SctabWarning
from sctab.io import strict_json
from sctab.zoo import fetch, info, list_models
from sctab.zoo._listing import entry_of


def found(**options):
    return [(each.name, each.version, each.state) for each in list_models(**options)]


def test_without_an_index_there_is_the_packaged_model():
    assert found() == [("pbmc", "1.0", "packaged")]
    (listed,) = list_models()
    assert (listed.entry.license, listed.entry.organism, listed.entry.tissues) == ("BSD-3-Clause", "Homo sapiens", ("blood",))
    assert listed.entry.label_ids[0] == "CL:0000236"
    assert listed.sources[0] == "pbmc_zheng_facs"


def test_newest_versions_or_all(zoo, small):
    published = entry_values(name="published", url="https://a.org/x", import_command="sctab import-checkpoint x")
    index_file(zoo / "models.json", hosted(zoo, small), hosted(zoo, small, version="2.10"), published)
    packaged = ("pbmc", "1.0", "packaged")
    assert found(index=zoo) == [packaged, ("lung", "2.10", "available")]
    fetch("lung@2.1", index=zoo)
    lung = [("lung", "2.1", "fetched"), ("lung", "2.10", "available")]
    listed = [each for each in found(index=zoo, all=True) if not each[0].startswith(("hierarchical-", "sctab-"))]  # packaged ones
    assert listed == [packaged, *lung, ("published", "2.1", "import")]
    index_file(zoo / "models.json", hosted(zoo, sctab.zoo.packaged_path("pbmc"), version="3"))
    fetch("lung@3", index=zoo)
    shutil.rmtree(zoo)
    with pytest.warns(SctabWarning, match="could not be read"):
        assert found(index=zoo) == [packaged, ("lung", "3", "fetched")]


def test_the_first_index_that_lists_a_name_decides(tmp_path, small):
    for folder, version in (("first", "1.0"), ("second", "2.0")):
        (tmp_path / folder).mkdir()
        index_file(tmp_path / folder / "models.json", hosted(tmp_path / folder, small, version=version))
    indices = [tmp_path / "first", tmp_path / "second"]
    assert [each.version for each in list_models(index=indices) if each.name == "lung"] == ["1.0"]
    assert info("lung", index=indices).version == "1.0"


def test_filters(zoo, small):
    values = {"tissues": ["lung"], "organism": "Mus musculus", "labels": ["B cell"], "label_ids": ["CL:0000236"]}
    index_file(zoo / "models.json", hosted(zoo, small, **values))
    assert [name for name, *_ in found(index=zoo, tissue="lung")] == ["lung"]
    assert [name for name, *_ in found(index=zoo, organism="homo")] == ["pbmc"]
    assert [name for name, *_ in found(index=zoo, labels=["CL:0000236"])] == ["pbmc", "lung"]
    assert found(index=zoo, labels=["CL:0000236", "x"]) == []


def test_one_model(zoo, small, tmp_path):
    index_file(zoo / "models.json", hosted(zoo, small, scores={"macro_f1": 0.9}))
    listed = info("lung", index=zoo)
    assert (listed.state, listed.path, listed.index) == ("available", None, str(zoo / "models.json"))
    assert listed.entry.scores == {"macro_f1": 0.9}
    path = fetch("lung", index=zoo)
    assert info("lung@2.1", index=zoo).path == path
    assert info("pbmc@1.0").state == "packaged"
    assert (info(sctab.zoo.packaged_path("pbmc")).index, info(sctab.zoo.packaged_path("pbmc")).n_labels) == ("path", 13)
    archive = tar_of(sctab.zoo.packaged_path("pbmc"), tmp_path / "mine.tar")
    assert (info(archive).name, info(archive).index) == ("mine", "cache")
    with pytest.raises(ModelNotFoundError, match="There is no model `heart`"):
        info("heart", index=zoo)


def test_an_ensemble(tmp_path):
    members = [sctab.zoo.load("pbmc") for _ in range(2)]
    sctab.model.DeepEnsemble.from_members(members).save(tmp_path / "two")
    assert info(tmp_path / "two").n_labels == 13


def test_what_describes_no_model_is_refused(small):
    with pytest.raises(ModelFormatError, match="does not describe a model"):
        entry_of(small, name="a", version="1")


@pytest.mark.parametrize(
    "change",
    [
        {"training": {"n_labeled": "many"}},
        {"training": {"n_labeled": 2**64}},
        {"training": []},
        {"labels": {"names": ["a"], "ids": []}},
        {"labels": {"names": [1], "ids": [None]}},
        {"labels": {"names": "ab", "ids": [None, None]}},
        {"features": {"ids": 3}},
        {"versions": {"sctab": ["x"]}},
        {"versions": []},
    ],
    ids=str,
)
def test_values_of_another_type_are_refused(small, change):
    described = strict_json.read(sctab.zoo.packaged_path("pbmc") / "model.json")
    strict_json.write(small / "model.json", described | change)
    with pytest.raises(ModelFormatError, match="does not describe a model"):
        info(small)
