"""Tables of labels and ids, as people and tools write them."""

import pytest

from sctab import DataFileError, LabelError, SctabWarning
from sctab.ontology import CellOntology, read_label_map
from sctab.ontology._label_map import label_ids_from

SSSOM = """\
#mapping_set_id: https://example.org/mine
#curie_map:
#  CL: http://purl.obolibrary.org/obo/CL_
subject_id\tsubject_label\tpredicate_id\tpredicate_modifier\tobject_id\tobject_label\tmapping_justification
x:1\tDC2\tskos:exactMatch\t\tCL:0002399\tCD1c-positive myeloid dendritic cell\tsemapv:ManualMappingCuration
x:2\tEx2\tskos:broadMatch\t\tCL:0000679\tglutamatergic neuron\tsemapv:ManualMappingCuration
x:3\tclose\tskos:closeMatch\t\tCL:0000236\tB cell\tsemapv:ManualMappingCuration
x:4\tnot\tskos:exactMatch\tNot\tCL:0000236\tB cell\tsemapv:ManualMappingCuration
x:5\tnone\tskos:exactMatch\t\tsssom:NoTermFound\t\tsemapv:ManualMappingCuration
"""
IDS = {"DC2": "CL:0002399", "a, b": "CL:0000236", "none": None}


@pytest.fixture
def write(tmp_path):
    def write(text, name="labels.tsv", **options):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode(**options))
        return path

    return write


@pytest.mark.parametrize(
    "text",
    [
        "label\tid\nDC2\tCL:0002399\na, b\tCL:0000236\nnone\t\n",
        "DC2\tCL:0002399\na, b\tCL:0000236\nnone\t\n",  # without a header
        'label,id,name\nDC2,CL_0002399,CD1c-positive myeloid dendritic cell\n"a, b",cl:0000236,B cell\nnone,,\n',
        'DC2;CL:0002399\n"a, b";CL:0000236\nnone;\n',
        "id\tlabel\nCL:0002399\tDC2\n http://purl.obolibrary.org/obo/CL_0000236\ta, b\n\tnone\n",  # by name, not by place
        "\ufeff# mine\n\nlabel\tid\r\nDC2\tCL:0002399\r\na, b\tCL:0000236\r\nnone\tNA\r\n\r\n",
        "DC2\tCL:0002399\nDC2\tCL:0002399\na, b\tCL:0000236\nnone\t\n",  # twice the same
    ],
)
def test_two_columns(write, text):
    assert read_label_map(write(text)) == IDS
    assert label_ids_from(write(text), CellOntology.embedded()) == IDS


def test_sssom(write):
    with pytest.warns(SctabWarning, match=r"2 rows of `.*` are left out, .*: `close`, `not`\."):
        assert read_label_map(write(SSSOM)) == {"DC2": "CL:0002399", "Ex2": "CL:0000679", "none": None}


def test_blanks_of_labels_are_kept(write):
    assert read_label_map(write("B \tCL:0000236\nB\tCL:0000236\n")) == {"B ": "CL:0000236", "B": "CL:0000236"}


def test_obsolete_ids_are_replaced(write):
    assert read_label_map(write("x\tCL:0000003\n")) == {"x": "CL:0000000"}


def test_names_that_do_not_fit_are_told(write):
    with pytest.warns(SctabWarning, match="`x: T cell is not CL:0000236, B cell`"):
        assert read_label_map(write("label\tid\tname\nx\tCL:0000236\tT cell\n")) == {"x": "CL:0000236"}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("a\tCL:7777777\n", LabelError, r"`a: CL:7777777` in `label_ids` is not in the Cell Ontology"),
        ("label\tid\na\tB cell\n", LabelError, r"`a: B cell` in `label_ids` is not in the Cell Ontology"),
        ("a\tCL:0000236\na\tCL:0000084\n", LabelError, "gives `a` more than one id"),
        ("a\tCL:0000236\na\t\n", LabelError, "gives `a` more than one id"),
        ("label\n", DataFileError, "fewer than two columns"),
        ("", DataFileError, "fewer than two columns"),
        ("label\tid\n", DataFileError, "has no label"),
        (b"\xff\xfe\x00a", DataFileError, "is not text in UTF-8"),
    ],
)
def test_refusals(write, text, error, message):
    with pytest.raises(error, match=message):
        read_label_map(write(text))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataFileError, match="is not a file of labels"):
        read_label_map(tmp_path / "x.tsv")
    with pytest.raises(DataFileError, match="is not a file of labels"):
        read_label_map(tmp_path)
