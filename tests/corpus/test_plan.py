"""Plans against what pandas says of the same cells."""

import json
import warnings
from dataclasses import replace
from itertools import cycle

import numpy as np
import pandas as pd
import pytest
import yaml
from tests.cite_seq import cite_seq
from tests.reference import make_reference
from tests.studies import IDS, SYMBOLS, make_study

from sctab.corpus import CorpusConfig, plan as plan_corpus
from sctab.corpus._features import read_genes
from sctab.data import FeatureSpace
from sctab.errors import DataFileError, GeneOverlapError, KeyNotFoundError, SctabWarning, SettingError
from sctab.zoo import packaged_path


def plan(declared, **changes):
    return plan_corpus(CorpusConfig.of(declared | changes))


class TestGenes:
    def test_union_connects_symbols_and_ids(self, declared):
        genes = plan(declared, features="union").genes
        assert sorted(genes.features.symbols) == sorted(SYMBOLS)
        assert sorted(genes.features.ids) == sorted(IDS)
        position = [genes.features.symbols.index(symbol) for symbol in SYMBOLS]
        expected = [[g in genes_of for g in range(10)] for genes_of in (range(10), range(8), range(2, 10))]
        np.testing.assert_array_equal(genes.is_measured[:, position], expected)

    def test_intersection(self, declared):
        genes = plan(declared, features="intersection").genes
        assert sorted(genes.features.symbols) == sorted(SYMBOLS[2:8])
        assert genes.is_measured.all()

    def test_genes_of_a_table_and_of_a_list(self, declared, tmp_path):
        pd.DataFrame({"symbol": SYMBOLS[:3]}, index=list(IDS[:3])).to_parquet(tmp_path / "genes.parquet")
        assert plan(declared, features=str(tmp_path / "genes.parquet")).genes.features.ids == IDS[:3]
        two = [path for path in declared["sources"] if "three" not in path]
        assert plan(declared, sources=two, features=list(SYMBOLS[:4])).genes.features.symbols == SYMBOLS[:4]

    def test_genes_of_a_model(self, declared, tmp_path):
        space = FeatureSpace(ids=IDS[:3], symbols=SYMBOLS[:3], other_ids={1: ("ENSG00000999999",)})
        (tmp_path / "my-model").mkdir()
        (tmp_path / "my-model" / "model.json").write_text(json.dumps({"features": space.to_json()}))
        (tmp_path / "blood.yaml").write_text(yaml.safe_dump(declared | {"features": "my-model"}))
        assert plan_corpus(tmp_path / "blood.yaml").genes.features == space
        (tmp_path / "ensemble").mkdir()
        (tmp_path / "ensemble" / "ensemble.json").write_text("{}")
        (tmp_path / "my-model").rename(tmp_path / "ensemble" / "member_0")
        assert plan(declared, features=str(tmp_path / "ensemble")).genes.features == space
        config = replace(CorpusConfig.of(declared), features=space)
        assert plan_corpus(config).genes.features == space

    def test_the_packaged_model_is_one(self):
        assert len(read_genes(packaged_path("pbmc"))) > 1000

    def test_what_is_no_model_is_refused(self, declared, tmp_path):
        (tmp_path / "folder").mkdir()
        with pytest.raises(
            DataFileError, match=r"folder` is not a model: it has no `model.json`. Provide a directory that `model.save` wrote"
        ):
            plan(declared, features=str(tmp_path / "folder"))
        for content in ("{", "[]", "{}", '{"features": {"ids": 3}}'):
            (tmp_path / "folder" / "model.json").write_text(content)
            with pytest.raises(DataFileError, match=r"model.json` cannot be read: .*. Copy the model again"):
                plan(declared, features=str(tmp_path / "folder"))

    def test_species_that_sources_state_are_told(self, declared, studies, tmp_path):
        for name, species in (("one", "Homo sapiens"), ("two", "Macaca mulatta")):
            studies[name].obs["organism"] = species
            studies[name].write_h5ad(tmp_path / f"{name}.h5ad")
        told = r"several species: 120 of human \(`obs\['organism'\]` of `.*one.h5ad`: .*120 of rhesus macaque .*two.h5ad`.*of the corpus"
        with pytest.warns(SctabWarning, match=told):
            planned = plan(declared)
        assert planned.n_obs == 360
        studies["one"].obs["organism"] = "Macaca mulatta"
        studies["one"].write_h5ad(tmp_path / "one.h5ad")
        with pytest.warns(SctabWarning, match=r"The cells are from rhesus macaque .* genes of the corpus are those of human"):
            plan(declared, sources=[str(tmp_path / "one.h5ad")])

    @pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
    def test_a_source_whose_genes_are_in_the_rows_is_refused(self, declared, tmp_path, suffix):
        adata = make_reference(30).T.copy()
        adata.obs = pd.DataFrame({"cell_type": ["B cell", "T cell"] * 30, "donor_id": "D"}, index=adata.obs["ensembl_id"])
        path = tmp_path / f"turned{suffix}"
        adata.write_h5ad(path) if suffix == ".h5ad" else adata.write_zarr(path)
        with pytest.raises(GeneOverlapError, match=r"turned.*`: The genes are in the rows: `ENSG00000000000`, .*adata = adata\.T"):
            plan(declared, sources=[str(path)])

    def test_names_that_nothing_connects_are_refused(self, declared):
        apart = [path for path in declared["sources"] if "one" not in path]
        with pytest.raises(GeneOverlapError, match="shares no gene with the others"):
            plan(declared, sources=apart, features="union")

    def test_two_species_are_refused(self, declared, studies, tmp_path):
        mouse = studies["two"].copy()
        mouse.var_names = [f"ENSMUSG{i:011d}" for i in range(mouse.n_vars)]
        mouse.write_h5ad(tmp_path / "mouse.h5ad")
        with pytest.raises(GeneOverlapError, match="Build a corpus from one species"):
            plan(declared, sources=[*declared["sources"], str(tmp_path / "mouse.h5ad")])


class TestSplits:
    def test_donors_are_whole(self, declared):
        planned = plan(declared)
        donors = planned.cells.codes["donor"]
        for donor in np.unique(donors):
            assert len(np.unique(planned.split[donors == donor])) == 1
        assert planned.splits_table()["donors"].tolist() == [8, 2, 2]
        assert (planned.types_table()[["train", "validation", "test"]] > 0).all(axis=None)

    def test_studies_can_be_held_out(self, declared):
        planned = plan(declared, split={"by": "dataset", "fractions": [0.4, 0.3, 0.3]})
        assert planned.splits_table()["datasets"].tolist() == [1, 1, 1]

    def test_the_seed_decides(self, declared):
        first, again, other = (plan(declared, split={"seed": seed}).split for seed in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()

    def test_a_type_that_a_split_lacks_is_named(self, declared, tmp_path):
        make_study(9, n_obs=10, n_donors=1, types=("B cell", "plasma cell")).write_h5ad(tmp_path / "extra.h5ad")
        with pytest.warns(SctabWarning, match="types have no cell in `.*`: plasma cell"):
            plan(declared, sources=[*declared["sources"], str(tmp_path / "extra.h5ad")])

    def test_too_few_donors(self, declared):
        with pytest.raises(SettingError, match=r"Splitting by donor needs at least 3; there are 2"):
            plan(declared, sources=declared["sources"][:1], filters=[], donor_key="is_primary_data")

    def test_no_donors(self, declared):
        without = {key: value for key, value in declared.items() if key != "donor_key"}
        with pytest.raises(SettingError, match="360 cells have no donor, by which the corpus is split"):
            plan_corpus(CorpusConfig.of(without))


class TestNamedSplits:
    def test_what_is_named_is_held_out_and_the_rest_is_learned(self, declared):
        split = {"validation": ["one/D0"], "test": ["two/D1", "three/D3"]}
        planned = plan(declared, split=split)
        found = {
            name: {planned.cells.names["donor"][code] for code in np.unique(planned.cells.codes["donor"][planned.split == number])}
            for number, name in enumerate(("train", "validation", "test"))
        }
        assert found["validation"] == {"one/D0"}
        assert found["test"] == {"two/D1", "three/D3"}
        assert len(found["train"]) == 9

    def test_where_one_is_named_the_others_are_drawn(self, declared):
        planned = plan(declared, split={"by": "dataset", "test": ["two"]})
        of_split = [set(planned.cells.codes["dataset"][planned.split == number]) for number in range(3)]
        assert of_split[2] == {planned.cells.names["dataset"].index("two")}
        assert sorted(map(len, of_split)) == [1, 1, 1]

    def test_cells_without_a_donor_are_learned(self, declared):
        del declared["donor_key"]
        declared["sources"][0] = {"path": declared["sources"][0], "donor_key": "donor_id"}
        planned = plan_corpus(CorpusConfig.of(declared | {"split": {"validation": ["one/D0"], "test": ["one/D1"]}}))
        assert (planned.split[planned.cells.codes["donor"] < 0] == 0).all()

    @pytest.mark.parametrize(
        ("split", "message"),
        [
            ({"test": ["one/D9"]}, "`test` names `one/D9`, which no cell has as its donor"),
            ({"test": ["one/D1"], "validation": ["one/D1"]}, "`one/D1` cannot be in `validation` and in `test`"),
            ({"by": "declared", "test": ["one/D1"]}, "splits are declared both by the sources and here"),
            ({"by": "dataset", "test": ["one", "two"]}, "needs at least 2; there are 1"),
        ],
    )
    def test_refusals(self, declared, split, message):
        with pytest.raises(SettingError, match=message):
            plan(declared, split=split)


class TestDeclaredSplits:
    @pytest.fixture
    def written(self, declared, studies, tmp_path):
        """A function that writes the studies with a column, made from donors and cell types."""

        def write(of_donor):
            for name, adata in studies.items():
                adata = adata.copy()
                adata.obs["part"] = [of_donor(donor) for donor in adata.obs["donor_id"]]
                adata.write_h5ad(tmp_path / f"{name}.h5ad")
            return declared | {"split": {"by": "declared"}, "split_key": "part"}

        return write

    def test_are_taken_as_they_are(self, written, tmp_path):
        declared = written({"D0": "train", "D1": "val", "D2": "test"}.get)
        declared |= {"sources": [{"path": path, "split_key": "part"} for path in declared["sources"]]}
        del declared["split_key"]
        with pytest.raises(SettingError, match="90 cells have no split, though splits are declared. Name the column"):
            plan_corpus(CorpusConfig.of(declared))
        declared = written({"D0": "train", "D1": "val", "D2": "test", "D3": "Validation"}.get)
        (tmp_path / "blood.yaml").write_text(yaml.safe_dump(declared))
        planned = plan_corpus(tmp_path / "blood.yaml")
        donors = np.array(planned.cells.names["donor"])[planned.cells.codes["donor"]]
        expected = {"D0": 0, "D1": 1, "D2": 2, "D3": 1}
        assert planned.split.tolist() == [expected[donor.split("/")[1]] for donor in donors]

    @pytest.mark.parametrize(
        ("parts", "message"),
        [
            ("train validation test holdout", "declared to be in `holdout`. Call splits `train`, `validation`, `test`"),
            ("train train test test", "No cell is declared to be in `validation`. Declare some"),
        ],
    )
    def test_others_are_refused(self, written, parts, message):
        with pytest.raises(SettingError, match=message):
            plan_corpus(CorpusConfig.of(written(dict(zip(("D0", "D1", "D2", "D3"), parts.split(), strict=True)).get)))

    def test_cells_that_rules_leave_out_need_none(self, written):
        parts = {"D0": "train", "D1": "val", "D2": "test", "D3": "holdout"}
        declared = written(parts.get)
        assert plan(declared, filters=[{"assays": ["D0", "D1", "D2"]}], assay_key="donor_id").n_obs == 270

    def test_donors_of_two_splits_are_refused(self, written):
        parts = cycle(["train", "validation", "test"])
        with pytest.raises(SettingError, match="`one/D0`, .* have cells in more than one split"):
            plan_corpus(CorpusConfig.of(written(lambda _: next(parts))))

    def test_a_source_without_a_column(self, declared):
        with pytest.raises(SettingError, match="360 cells have no split"):
            plan(declared, split={"by": "declared"})
        with pytest.raises(KeyNotFoundError, match="has no column `part` in `obs`, which is said to hold its splits"):
            plan(declared, split={"by": "declared"}, split_key="part")


def test_antibodies_are_left_out(tmp_path):
    paths = [tmp_path / f"{name}.h5mu" for name in ("a", "b")]
    for seed, path in enumerate(paths):
        with warnings.catch_warnings(action="ignore"):  # of pandas, in mudata
            cite_seq(60, seed=seed).write(path)
    declared = {"sources": list(map(str, paths)), "labels_key": "cell_type", "donor_key": "donor", "features": "union"}
    with pytest.warns(SctabWarning, match=r"[ab].h5mu` has 6 antibodies, which are left out: a corpus holds gene expression alone"):
        planned = plan(declared)
    assert planned.n_vars == 60
    assert planned.n_obs == 120
