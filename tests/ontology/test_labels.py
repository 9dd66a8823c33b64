"""The labels of a model, looked up in the ontology."""

import h5py
import pandas as pd
import pytest
from anndata.io import read_elem

from sctab import LabelError
from sctab.ontology import LabelSpace
from sctab.ontology._labels import tissues_of


class TestLabelSpace:
    def test_from_names(self, ontology):
        labels = LabelSpace.from_names(["T cell", "cluster 3", "B lymphocyte"], ontology)
        assert labels.names == ("T cell", "cluster 3", "B lymphocyte")
        assert labels.ids == ("CL:0000084", None, "CL:0000236")
        assert labels.ontology_version == ontology.version
        assert len(labels) == 3

    def test_without_id(self):
        labels = LabelSpace(names=("x", "T cell", "y"), ids=(None, "CL:0000084", None))
        assert labels.without_id == ("x", "y")
        assert LabelSpace(names=("T cell",), ids=("CL:0000084",)).without_id == ()

    def test_labels_that_the_ontology_once_knew(self, ontology):
        names = ["fibrocyte", "T cell", "native cell", "barrier cell", "cluster 3"]
        labels = LabelSpace.from_names(names, ontology)
        assert labels.names == tuple(names)
        assert labels.ids == ("CL:0000135", "CL:0000084", "CL:0000000", None, None)
        assert [note.split("`")[1] for note in labels.notes] == ["fibrocyte", "native cell", "barrier cell"]

    def test_other_labels_and_tissues_tell_what_short_names_mean(self, ontology):
        def ids(*names, **options):
            return LabelSpace.from_names(names, ontology, **options).ids

        assert ids("alpha", "beta", "delta", "PP") == ("CL:0000171", "CL:0000169", "CL:0000173", "CL:0002275")
        assert ids("delta", "T cell") == (None, "CL:0000084")
        assert ids("delta cell", tissues=["islet of Langerhans"]) == ("CL:0000173",)
        assert ids("HSC", "B cell", "monocyte")[0] == "CL:0000037"  # hematopoietic stem cell
        assert ids("HSC", "hepatocyte", "cholangiocyte")[0] == "CL:0000632"  # hepatic stellate cell
        assert ids("HSC", "hepatocyte", "Kupffer cell", "B cell", "monocyte")[0] is None
        assert ids("RBC", "amacrine cell", "cone")[0] is None  # a rod bipolar cell
        assert ids("alpha cell", "amacrine cell", "rod cells")[0] is None
        assert ids("gamma", "gamma-delta T cells", "alpha-beta T cells")[0] is None
        assert ids("CD34+", "CD19+ B", "CD56+ NK")[0] == "CL:0008001"

    def test_other_labels_and_tissues_tell_what_names_of_terms_mean(self, ontology):
        def told(*names, **options):
            labels = LabelSpace.from_names(["Purkinje cell", *names], ontology, **options)
            return labels.ids[0], *labels.remarks()

        term, note = told("cardiac muscle cell", "B cell")
        assert term == "CL:0000121"
        assert note == (
            "1 of 3 labels is the name of one type in the Cell Ontology and of another elsewhere. Check how it was read, and set "
            "`label_ids` (`--label-map`) where that is wrong: `Purkinje cell` as `Purkinje cell` (`CL:0000121`), but may mean "
            "`Purkinje myocyte` (`CL:0002068`)."
        )
        heart = told("cardiac muscle cell", "regular atrial cardiac myocyte", "B cell")
        assert heart == ("CL:0002068", *told("B cell", "T cell", "cell", tissues=["heart left ventricle"])[1:])
        assert heart[1].endswith("as `Purkinje myocyte` (`CL:0002068`), but may mean `Purkinje cell` (`CL:0000121`).")
        assert told("astrocyte", "oligodendrocyte") == told(tissues=["cerebellum"]) == ("CL:0000121",)
        assert told("B cell", label_ids={"Purkinje cell": "CL:0002068"}) == ("CL:0002068",)

    def test_confirmed_ids(self, ontology):
        confirmed = {
            "DC2": "CL:0002399",
            "B cell": None,
            "x": "cl_0000003",
            "y": "http://purl.obolibrary.org/obo/CL_0000084",
            "z": "",
        }
        labels = LabelSpace.from_names(["DC2", "B cell", "x", "y", "z", "NK"], ontology, label_ids=confirmed)
        assert labels.ids == ("CL:0002399", None, "CL:0000000", "CL:0000084", None, "CL:0000623")
        assert [note.split("`")[1] for note in labels.notes] == ["NK"]
        with pytest.raises(LabelError, match=r"`a: CL:7777777`, `b: B cell` in `label_ids` are not in the Cell Ontology \(v"):
            LabelSpace.from_names(["a"], ontology, label_ids={"a": "CL:7777777", "b": "B cell", "c": "CL:0000236"})

    def test_remarks(self, ontology):
        labels = LabelSpace.from_names(["DC2", "pDC", "plasmacytoid dendritic cell", "cluster 7", "B cell"], ontology)
        without, read, shared = labels.remarks()
        assert "2 of 5 labels are not in the Cell Ontology" in without
        assert "get no id: `DC2`, `cluster 7`. `DC2` may mean" in without
        assert "1 of 5 labels has another name in the Cell Ontology. Check how it was read" in read
        assert "`pDC` as `plasmacytoid dendritic cell` (`CL:0000784`)." in read
        assert shared.startswith("`pDC`, `plasmacytoid dendritic cell` share the id `CL:0000784`")
        assert labels.sharing_an_id == {"CL:0000784": ("pDC", "plasmacytoid dendritic cell")}
        assert LabelSpace.from_names(["B cell", "T cell"], ontology).remarks() == ()

    def test_remarks_on_many_labels_are_short(self, ontology):
        unknown = [f"stellate of layer {letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
        labels = LabelSpace.from_names([*unknown, "B cells", "NK", "monocytes"], ontology)
        without, read = labels.remarks()
        assert without.count("nearest names") == 10
        assert "the other 16" in without
        assert read.split("that is wrong: ")[1] == (
            "`NK` as `natural killer cell` (`CL:0000623`); `B cells` as `B cell` (`CL:0000236`); "
            "`monocytes` as `monocyte` (`CL:0000576`)."
        )
        assert labels.readings("labels", ["NK", "stellate of layer a"])[0].startswith("1 of 29 labels has")
        assert labels.readings("labels", []) == []


def test_tissues():
    obs = pd.DataFrame({"tissue": ["lung", "blood", None, "lung"]})
    assert tissues_of(obs) == ["lung", "blood"]
    assert tissues_of(obs[[]]) == tissues_of(pd.DataFrame({"tissue": list("abcdef")})) == []


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("pbmc3k_10x", {}),
        ("pbmc_kang_ctrl_8donors", {}),
        # one that is more than its curators say, and one that is left alone
        ("pbmc_zheng_facs", {"CD4+/CD25 T Reg": "CL:0000792", "CD4+ T Helper2": None}),
    ],
)
def test_labels_of_published_datasets(shared_data, ontology, name, others):
    """Ids that curators gave to labels of authors."""
    with h5py.File(shared_data(f"{name}.h5ad")) as file:
        obs = read_elem(file["obs"])[["cell_type_original", "cell_type_ontology_term_id"]].astype(str).drop_duplicates()
    curated = dict(obs.itertuples(index=False))
    labels = LabelSpace.from_names(list(curated), ontology)
    assert dict(zip(labels.names, labels.ids, strict=True)) == curated | others
    own = [label for label in curated if label.lower() == str(ontology.name(curated[label])).lower()]
    assert len(labels.notes) == len(curated) - len(own)
