"""What the name of a gene holds, in the ways in which tools write it."""

import numpy as np
import pandas as pd
import pytest

from sctab import GeneOverlapError
from sctab.data import FeatureSpace
from sctab.data.genes._names import kind_of, parts_of

CD3D = "ENSG00000167286"
FILLERS = {"NKG7": "ENSG00000105374", "LYZ": "ENSG00000090382", "HLA-DRA": "ENSG00000204287"}
MODEL = FeatureSpace(ids=(CD3D, *FILLERS.values()), symbols=("CD3D", *FILLERS))
BY_SYMBOL = FeatureSpace(ids=("",) * 4, symbols=("CD3D", *FILLERS))

WRITTEN = [
    "CD3D", " CD3D ", '"CD3D"', "'CD3D'", "b'CD3D'", 'b"CD3D"', "GRCh38_CD3D", "GRCh38_____CD3D", "GRCh38-CD3D", "GRCh37_CD3D", "hg19_CD3D",
    "hg38-CD3D", "HUMAN_CD3D", "gene:CD3D", "gene-CD3D", "rna:CD3D", "rna_CD3D", "CD3D__chr11", "CD3D|915", "cd3d",
    f"CD3D_{CD3D}", f"CD3D-{CD3D}", f"CD3D|{CD3D}", f"CD3D ({CD3D})", f"CD3D:{CD3D}", f"CD3D;{CD3D}", f"CD3D.{CD3D}", f"CD3D_{CD3D}.12",
    f"{CD3D}_CD3D", f"{CD3D}.12_CD3D", f"{CD3D}|CD3D", f"{CD3D}__CD3D", f"GRCh38_CD3D_{CD3D}", f"b'CD3D_{CD3D}'",
]  # fmt: skip
IDS = [
    CD3D, f"{CD3D}.12", f"{CD3D}.5_2", f"{CD3D}_2", f"{CD3D}.12_PAR_Y", f"{CD3D}_PAR_Y", f"{CD3D}-1", f"{CD3D}.12-1", f"GRCh38_{CD3D}.1",
    f"GRCh38______{CD3D}", f"gene:{CD3D}", f"b'{CD3D}'", f'"{CD3D}"', CD3D.lower(), f" {CD3D} ",
    f"ENST00000300692.8|{CD3D}.12|OTTHUMG00000190|CD3D-201|CD3D|",
    "ENSGR0000167286.5",
]  # fmt: skip


@pytest.mark.parametrize("space", [MODEL, BY_SYMBOL])
@pytest.mark.parametrize("name", WRITTEN)
def test_symbols_are_found(space, name):
    match = space.match(pd.DataFrame(index=[*FILLERS, name]))
    assert match.positions.tolist() == [1, 2, 3, 0]


@pytest.mark.parametrize("name", IDS)
def test_ids_are_found(name):
    match = MODEL.match(pd.DataFrame(index=[*FILLERS.values(), name]))
    assert match.positions.tolist() == [1, 2, 3, 0]


@pytest.mark.parametrize(
    "name",
    ["CD3DX", "XCD3D", "gene_1", f"{CD3D}7", "CD3D protein", "CD3D-AS1", "CD3-D", "ENSG167286", "pseudogene-CD3D", "mm10_CD3D"],
)
def test_other_names_are_not(name):
    assert MODEL.match(pd.DataFrame(index=[*FILLERS, name])).positions.tolist() == [1, 2, 3, -1]


@pytest.mark.parametrize(
    "column",
    [[b"CD3D", b"NKG7", b"LYZ"], pd.Categorical(["CD3D", "NKG7", "LYZ"]), pd.array(["CD3D", "NKG7", "LYZ"], dtype="string")],
)
def test_columns_of_every_type(column):
    assert MODEL.match(pd.DataFrame({"symbol": column}, index=["0", "1", "2"])).positions.tolist() == [0, 1, 2]


def test_a_model_learns_names_without_what_was_added():
    space = FeatureSpace.from_var(pd.DataFrame(index=[f"{symbol}_{gene_id}.3" for symbol, gene_id in FILLERS.items()]))
    assert (space.symbols, space.ids) == (tuple(FILLERS), tuple(FILLERS.values()))


def test_genes_named_by_quotes_are_one_gene_with_those_without():
    match = MODEL.match(pd.DataFrame(index=["CD3D", "b'CD3D'"]))
    assert (match.n_matched, match.n_summed) == (1, 1)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ([f"ENST{i:011d}.2" for i in range(30)], "transcript ids"),
        ([f"NM_{i:06d}.3" for i in range(30)], "transcript ids"),
        ([f"P{i:05d}" for i in range(30)], "protein ids"),
        ([f"ENSP{i:011d}" for i in range(30)], "protein ids"),
        ([str(i * 37) for i in range(30)], "numbers, such as Entrez ids"),
        ([f"{i}_s_at" for i in range(30)], "probes"),
        ([f"ILMN_{i}" for i in range(30)], "probes"),
        ([f"{i}-Mar" for i in range(1, 12)], "dates"),
    ],
)
def test_what_other_names_look_like_is_said(names, kind):
    with pytest.raises(GeneOverlapError, match=rf"^None of the model's 4 genes .* Its names look like {kind}, and .*`{names[0]}`"):
        MODEL.match(pd.DataFrame(index=names)).require(0)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("CD3D", "symbols"), ("HLA-DRB1", "symbols"), ("C1orf112", "symbols"), ("AC000123.1", "symbols"), ("MT-ND1", "symbols"),
        ("Cd3d", "symbols"),
        ("si:ch211-202h22.7", "symbols"), ("7SK", "symbols"), (CD3D, "Ensembl ids"), ("11q23.3", "positions"), ("chr11", "positions"),
        ("chr11:118342744-118342900", "positions"), ("GO:0006955", "ids of other databases"), ("HGNC:1673", "ids of other databases"),
        ("ACGTACGTAC", "sequences"), ("CD3D-201", "transcript ids"), ("CD3D_HUMAN", "protein ids"), ("CD3 delta subunit", "descriptions"),
    ],
)  # fmt: skip
def test_kinds(name, kind):
    assert kind_of(name) == kind


@pytest.mark.parametrize("date", ["1-Mar", "2-Sep", "Sep-02", "Mar-11", "1-Dec", "2001-03-01 00:00:00"])
def test_dates_of_a_spreadsheet_are_told(date):
    (note,) = MODEL.match(pd.DataFrame(index=["CD3D", "NKG7", date])).notes
    assert note.startswith(f"Gene names converted to dates by a spreadsheet (1): `{date}`.")


def test_parts_are_remembered_by_name_alone():
    assert parts_of("CD3D") is parts_of("CD3D")


class TestGenesInRows:
    CELLS = tuple(f"AAACCTG{i:03d}-1" for i in range(50))

    def test_is_said(self):
        match = MODEL.match(pd.DataFrame(index=list(self.CELLS)))
        genes = ["CD3D", *FILLERS, *(f"LOC{i}" for i in range(30)), "cd3d"]
        with pytest.raises(
            GeneOverlapError, match=r"^The genes are in the rows: `CD3D`, `NKG7`, `LYZ` are names in `obs`, .* `adata = adata\.T`"
        ):
            match.require(0.1, cells=lambda: genes)

    @pytest.mark.parametrize("code", ["ENSG", "ENSMUSG"])
    def test_is_said_of_ids(self, code):
        match = MODEL.match(pd.DataFrame(index=list(self.CELLS)))
        with pytest.raises(GeneOverlapError, match="^The genes are in the rows"):
            match.require(0.1, cells=lambda: [f"{code}{i:011d}" for i in range(50)])

    @pytest.mark.parametrize("cells", [CELLS, ["0", "1", "2"], [], ["CD3D", "NKG7"]])
    def test_is_not_said_of_cells(self, cells):
        match = MODEL.match(pd.DataFrame(index=["x", "y"]))
        with pytest.raises(GeneOverlapError, match="^None of the model's 4 genes"):
            match.require(0.1, cells=lambda: cells)

    def test_names_of_cells_are_not_read_where_genes_are_found(self):
        match = MODEL.match(pd.DataFrame(index=["CD3D", "NKG7", "LYZ", "HLA-DRA"]))
        match.require(0.9, cells=lambda: pytest.fail("nothing is read"))

    def test_cells_named_by_genes_that_were_perturbed(self):
        match = MODEL.match(pd.DataFrame(index=["CD3D", *[f"x{i}" for i in range(9)]]))
        with pytest.raises(GeneOverlapError, match="at least 90% is required"):
            match.require(0.9, cells=lambda: np.array(["CD3D", "x1", "x2", "x3"] * 9).tolist())
