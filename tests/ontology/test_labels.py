"""The labels of a model, looked up in the ontology."""

from sctab.ontology import LabelSpace


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
