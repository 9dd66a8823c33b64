"""What of a dataset is gene expression: words and names that tools write, and what must stay."""

import re

import numpy as np
import pandas as pd
import pytest
import scanpy as sc

from sctab import InputValueError
from sctab.data import FeatureSpace, gene_expression
from sctab.data.genes._features import find_features
from sctab.errors import SctabWarning

SYMBOLS = [str(name) for name in sc.datasets.pbmc68k_reduced().raw.var_names]
N = len(SYMBOLS)
SURFACE = [name for name in SYMBOLS if re.fullmatch(r"CD\d+[A-Z]?", name)][:12]
MODEL = FeatureSpace(ids=("",) * N, symbols=tuple(SYMBOLS))


def frame(index, /, **columns):
    return pd.DataFrame(columns, index=pd.Index(list(index), dtype=object))


class TestWords:
    @pytest.mark.parametrize(
        ("gene", "other"),
        [
            ("Gene Expression", "Antibody Capture"),
            ("Gene Expression", "Peaks"),
            ("Gene Expression", "CRISPR Guide Capture"),
            ("Gene Expression", "Multiplexing Capture"),
            ("Gene Expression", "Antigen Capture"),
            ("Gene Expression", "Custom"),
            ("Gene Expression", "Negative Control Probe"),
            ("Gene Expression", "Unassigned Codeword"),
            ("Gene Expression", "Genomic Control"),
            ("GENE_EXPRESSION", "ANTIBODY_CAPTURE"),
            ("gene-expression", "antibody-capture"),
            ("GEX", "ADT"),
            ("GEX", "ATAC"),
            ("gex", "VDJ-T"),
            ("rna", "protein"),
            ("RNA", "Protein"),
            ("RNA", "Prot"),
            ("rna", "atac"),
            ("mRNA", "AbSeq"),
            ("RNA", "HTO"),
            ("rna", "Hashtags"),
            ("RNA", "sgRNA"),
            ("gene", "spike-in"),
            ("gene", "guide RNA"),
            ("Genes", "Antibodies"),
            ("transcriptome", "chromatin accessibility"),
            ("scRNA", "scATAC"),
            ("RNA", "CITE-seq"),
            ("RNA", "TotalSeqB"),
            ("gene expression", "gene activity"),
        ],
    )
    @pytest.mark.parametrize(
        "column", ["feature_types", "feature_types-0", "feature_types-1-0", "modality", "Type", "kind of feature"]
    )
    def test_genes_and_others(self, gene, other, column):
        var = frame(["CD3D", "CD4", "MS4A1"], **{column: pd.Categorical([gene, other, gene])})
        features = find_features(var)
        assert features.is_gene.tolist() == [True, False, True]
        assert features.notes == ()

    @pytest.mark.parametrize(
        "column", ["gene_biotype", "gene_type", "feature_types", "feature_biotype", "biotype", "locus_group", "type"]
    )
    @pytest.mark.parametrize(
        "types",
        [
            [
                "protein_coding",
                "lncRNA",
                "processed_pseudogene",
                "IG_C_gene",
                "TR_V_gene",
                "TEC",
                "Mt_rRNA",
                "misc_RNA",
                "ribozyme",
            ],
            [
                "protein_coding",
                "antisense",
                "lincRNA",
                "sense_intronic",
                "snoRNA",
                "miRNA",
                "3prime_overlapping_ncRNA",
                "scaRNA",
                "rRNA",
            ],
            ["protein-coding", "ncRNA", "pseudo", "snRNA", "tRNA", "snoRNA", "rRNA", "scRNA", "protein-coding"],
            ["protein-coding gene", "non-coding RNA", "pseudogene"] * 3,
            ["protein_coding", "", "lncRNA"] * 3,
            ["protein", "ncRNA", "pseudogene"] * 3,
            ["protein", "rRNA", "tRNA"] * 3,
            ["Protein", "LncRNA", "miRNA"] * 3,
            ["protein", "RNA, long non-coding", "pseudogene"] * 3,
            ["prot", "snoRNA", "TCR"] * 3,
            ["Gene Expression"] * 9,
            ["gene"] * 9,
        ],
    )
    def test_kinds_of_genes_are_genes(self, column, types):
        var = frame(SYMBOLS[:9], **{column: types})
        assert gene_expression(var).all()

    @pytest.mark.parametrize(
        ("types", "is_gene"),
        [
            (["protein", "ncRNA", "ERCC"], [True, True, False]),
            (["protein", "lncRNA", "antibody"], [True, True, False]),
            (["mRNA", "lncRNA", "protein"], [True, True, False]),
            (["Gene Expression", "lncRNA", "protein"], [True, True, False]),
            (["protein_coding", "pseudogene", "surface protein"], [True, True, False]),
            (["gene", "pseudogene", "protein"], [True, True, False]),
            (["RNA", "RNA", "protein"], [True, True, False]),
            (["scRNA", "snRNA", "protein"], [True, True, False]),
        ],
    )
    @pytest.mark.parametrize("column", ["feature_types", "type"])
    def test_proteins_are_genes_where_no_other_word_is_for_those_that_code(self, column, types, is_gene):
        assert gene_expression(frame(["CD3D", "CD4", "CD14"], **{column: types})).tolist() == is_gene

    def test_spike_ins_among_kinds_of_genes(self):
        assert gene_expression(frame(["CD3D", "ERCC-00002"], gene_biotype=["protein_coding", "ERCC spike-in"])).tolist() == [
            True,
            False,
        ]

    def test_columns_that_concatenation_leaves_are_read_together(self):
        var = frame(
            ["CD3D", "CD4", "only_in_0", "only_in_1", "CD3"],
            **{
                "feature_types-0": ["Gene Expression", "Gene Expression", "Gene Expression", None, "Antibody Capture"],
                "feature_types-1": ["Gene Expression", "Gene Expression", None, "Gene Expression", None],
            },
        )
        features = find_features(var)
        assert features.is_gene.tolist() == [True, True, True, True, False]
        assert features.notes == ()

    @pytest.mark.parametrize("missing", [None, np.nan, ""])
    def test_a_feature_without_an_entry_is_told(self, missing):
        features = find_features(frame(["CD3D", "CD4", "CD3"], feature_types=["Gene Expression", "Gene Expression", missing]))
        assert features.is_gene.tolist() == [True, True, False]
        assert features.notes == ("Ignored features without an entry in `feature_types`: 1.",)

    @pytest.mark.parametrize(
        ("types", "is_gene", "what"),
        [
            (["foo", "bar", "foo"], [True, True, True], "`foo`, `bar`, an unknown feature type: taken as genes"),
            (["Gene Expression", "bar", "Gene Expression"], [True, False, True], "`bar`, .*: left out"),
            (["foo", "ADT", "foo"], [True, False, True], "`foo`, .*: taken as genes"),
        ],
    )
    def test_unknown_words_are_told(self, types, is_gene, what):
        var = frame(["CD3D", "CD4", "MS4A1"], feature_types=types)
        features = find_features(var)
        assert features.is_gene.tolist() == is_gene
        (note,) = features.notes
        assert re.search(what, note)
        assert MODEL.match(var).notes[0] == note
        with pytest.warns(SctabWarning, match="an unknown feature type"):
            FeatureSpace.from_var(var)

    @pytest.mark.parametrize(
        "columns",
        [
            {"highly_variable": ["yes", "no", "no"]},
            {"type": ["receptor", "kinase", "ligand"]},
            {"type": ["marker", "control", "housekeeping"]},
            {"panel": ["custom", "base", "custom"]},
            {"class": ["protein", "protein", "enzyme"]},
            {"chromosome": ["1", "X", "MT"]},
            {"note": ["antibody", "antibody", "antibody"]},
            {"feature_types": [1, 2, 3]},
            {"feature_types": [None, None, None]},
        ],
    )
    def test_columns_about_something_else(self, columns):
        features = find_features(frame(["CD3D", "CD4", "MS4A1"], **columns))
        assert features.is_gene.all()
        assert features.notes == ()

    @pytest.mark.parametrize("column", ["feature_types", "modality", "type"])
    @pytest.mark.parametrize("word", ["Peaks", "ATAC", "ADT", "protein", "HTO", "CRISPR Guide Capture"])
    def test_without_genes_it_is_refused(self, column, word):
        var = frame(["peak1", "peak2"], **{column: word})
        with pytest.raises(InputValueError, match=rf"^No feature is gene expression: `var\['{column}'\]` holds `{word}`\. Provide"):
            gene_expression(var)

    @pytest.mark.parametrize(
        ("column", "kinds"),
        [
            ("locus_type", ["gene with protein product", "RNA, long non-coding", "pseudogene"]),
            ("gene_type", ["gene with protein product", "RNA, micro"]),
            ("gene_group", ["ribosomal protein", "mitochondrial gene", "other gene"]),
            ("gene_class", ["TF", "gene"]),
            ("family", ["TCR gene", "antigen receptor gene", "gene"]),
            ("used_as", ["control gene", "gene"]),
            ("pathway", ["lipid", "gene"]),
            ("cluster", ["module 1", "gene"]),
        ],
    )
    def test_groups_of_genes_are_genes(self, column, kinds):
        features = find_features(frame(SYMBOLS, **{column: (kinds * N)[:N]}))
        assert features.is_gene.all()
        assert features.notes == ()

    @pytest.mark.parametrize(
        ("gene", "other"),
        [("gene", "antibody"), ("mRNA", "protein"), ("Gene Expression", "surface"), ("gene", "TF motifs of peaks")],
    )
    def test_types_in_a_column_of_any_name(self, gene, other):
        assert gene_expression(frame(["CD3D", "CD4"], x=[gene, other])).tolist() == [True, False]


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            "chr1:1000-1500", "chr1-1000-1500", "chr1_1000_1500", "chrX:100-200", "chrUn_KI270742v1:1000-1500", "1:10109-10357",
            "X:1000-2000",
            "GRCh38_chr1:1000-1500", "hg38_chr1-1000-1500", "mm10_chr1:1000-1500", "KI270728.1:1000-1500", "GL000194.1-55758-56597",
            "chr1.1000.1500", "chr1:1000_1500", "peak_12", "sample_peak_12", "Peak1234", "peak-7", "region_4",
            "CD3_TotalSeqB", "CD3-TotalSeqC", "TotalSeqA_CD3", "CD3-ADT", "CD3_ADT", "adt_CD3", "ADT-CD3", "ADT:CD3", "CD3D_prot",
            "prot:CD3", "CD3_protein",
            "anti-CD3", "anti-human_CD4", "Anti.CD19", "CD3_Ab", "Ab_CD3", "CITE_CD4", "CD4|UCHT1|pAbO", "CD4 (ADT)", "Hashtag1",
            "hashtag_2", "HTO_A-HTO", "MA0139.1", "HTO-3", "CMO301",
            "IgG1-isotype", "Mouse-IgG2a-isotype_control", "atac:chr1:1-2", "sgRNA:CD4_1",
            "chr1:1000", "chr1:1,000-1,500", "chr1:1000..1500", "chr1 1000 1500", "chr1:1000-1500|CD3D", "chr2_17", "hg38_chr2:17",
            "peak_12_CD3D", "Peak12|CD3D", "interval_3", "ATAC_7",
        ],
    )  # fmt: skip
    def test_of_something_else(self, name):
        features = find_features(frame(["CD3D", name, "MS4A1"], gene=["CD3D", "CD4", "MS4A1"]))
        assert features.is_gene.tolist() == [True, False, True]
        assert features.notes == (f"Ignored features without gene names (1): `{name}`.",)

    @pytest.mark.parametrize("gene", [
        "HLA-A", "HLA-DRB1", "IGHV3-30-3", "IGHV1-69-2", "IGHG1", "IGHM", "BIN1", "BIN3", "PEAK1", "PEAK3", "ADTRP", "PROTOR",
        "AB13", "NKX2-1", "KRTAP5-1",
        "RP11-34P13.7", "AC000123.1", "SNORD115-23", "Y_RNA", "5S_rRNA", "7SK", "CITED2", "TAGLN", "SIRPG", "HTRA1", "X-inactive",
        "MT-ND1", "CD3D.1", "TBCE-1",
        "ENSG00000167286.12", "CMTM1", "ANTXR1", "H2-Aa", "ERCC1", "GTF2H2C_2", "TRBV7-9", "Hist1h1b", "Igha", "ATAC2", "T",
        "chrna1", "C1orf112", "MAF1", "MAP2K1.1", "PEAK1-AS1", "BIN2", "BIN1-AS1", "CD3D__chr11", "CHRNA1-AS1", "CRE1",
    ])  # fmt: skip
    def test_of_genes(self, gene):
        features = find_features(frame(["CD3D", gene]))
        assert features.is_gene.all()
        assert features.notes == ()

    def test_of_all_genes_of_blood(self):
        assert find_features(frame(SYMBOLS)).is_gene.all()

    @pytest.mark.parametrize(
        "write",
        [
            "chr1:{1}-{2}",
            "chr1-{1}-{2}",
            "2:{1}-{2}",
            "GRCh38_chr1:{1}-{2}",
            "chr1_{1}_{2}",
            "chr1:{1}",
            "peak{0}",
            "Peak_{0}",
            "bin{0}",
        ],
    )
    @pytest.mark.parametrize("column", ["nearest_gene", "gene"])
    def test_peaks_with_their_nearest_gene_are_refused(self, write, column):
        var = frame([write.format(i, 1000 * i, 1000 * i + 500) for i in range(1, 100)], **{column: SYMBOLS[:99]})
        with pytest.raises(InputValueError, match="^No feature is gene expression: the index of `var` holds"):
            MODEL.match(var)

    def test_numbered_peaks_beside_genes_are_left_out(self):
        peaks = [f"peak{i}" for i in range(1, 100)]
        match = MODEL.match(frame([*SYMBOLS, "BIN1", *peaks], gene=[*SYMBOLS, "BIN1", *SYMBOLS[:99]]))
        assert (match.n_matched, match.n_summed, match.n_ignored) == (N, 0, 99)

    @pytest.mark.parametrize("column", ["nearest_gene", "closestGene", "nearest gene symbol"])
    def test_the_gene_beside_a_feature_is_not_its_name(self, column):
        var = frame(map(str, range(N)), **{column: SYMBOLS})
        assert MODEL.match(var).n_matched == 0
        assert MODEL.match(var, gene_symbol_key=column).n_matched == N

    def test_peaks_beside_genes_are_left_out(self):
        peaks = [f"chr1:{1000 * i}-{1000 * i + 500}" for i in range(1, 101)]
        match = MODEL.match(frame([*SYMBOLS, *peaks], gene=[*SYMBOLS, *SYMBOLS[:100]]))
        assert (match.n_matched, match.n_summed, match.n_ignored) == (N, 0, 100)

    def test_peaks_that_a_column_tells_need_no_word(self):
        var = frame(
            [*SYMBOLS, "chr1:1000-1500", "CD4_TotalSeqB"], feature_types=["Gene Expression"] * N + ["Peaks", "Antibody Capture"]
        )
        match = MODEL.match(var)
        assert (match.n_matched, match.n_ignored, match.notes) == (N, 2, ())

    def test_a_column_that_says_gene_is_right(self):
        assert gene_expression(frame(["chr1:1000-1500", "CD4"], feature_types=["Gene Expression", "Gene Expression"])).all()


class TestRepeats:
    """Antibodies that have the names of genes, where no column says what features are."""

    @pytest.mark.parametrize("write", ["{}-1", "{}.1", "{}"])
    @pytest.mark.parametrize("at_the_end", [True, False])
    def test_a_block_of_antibodies_is_left_out(self, write, at_the_end):
        antibodies = ["IgG1", "CD45RA", *SURFACE, "CD16"]
        repeated = [write.format(name) if name in SURFACE else name for name in SYMBOLS]
        names = [*SYMBOLS, *map(write.format, antibodies)] if at_the_end else [*antibodies, *repeated]
        match = MODEL.match(frame(names))
        used = match.selection.getnnz(axis=1) > 0
        is_gene = np.arange(len(names)) < N if at_the_end else np.arange(len(names)) >= len(antibodies)
        assert (used == is_gene).all()
        assert match.n_summed == 0
        assert any("look like antibodies with gene names" in note for note in match.notes)

    def test_symbols_of_cell_ranger_that_are_there_twice_are_summed(self):
        twice = SYMBOLS[::60]
        names = [name for symbol in SYMBOLS for name in ([symbol, f"{symbol}-1"] if symbol in twice else [symbol])]
        match = MODEL.match(frame(names))
        assert (match.n_matched, match.n_summed) == (N, len(twice))

    @pytest.mark.parametrize("n_antibodies", [3, 5, 12])
    @pytest.mark.parametrize("at_the_end", [True, False])
    def test_antibodies_are_found_beside_such_symbols(self, n_antibodies, at_the_end):
        antibodies, twice = SURFACE[:n_antibodies], [name for name in SYMBOLS[50:-50:60] if name not in SURFACE]
        genes = [name for symbol in SYMBOLS for name in ([symbol, symbol] if symbol in twice else [symbol])]
        match = MODEL.match(frame([*genes, *antibodies] if at_the_end else [*antibodies, *genes]))
        used = match.selection.getnnz(axis=1) > 0
        assert used[: len(genes)].all() if at_the_end else used[n_antibodies:].all()
        assert (match.n_summed, match.n_ignored) == (len(twice), n_antibodies)

    def test_two_antibodies_are_too_few_to_tell(self):
        assert MODEL.match(frame([*SYMBOLS, *SURFACE[:2]])).n_summed == 2

    def test_pseudoautosomal_genes_are_summed(self):
        names = ["PLCXD1", "GTPBP6", "PPP2R3B", "SHOX", "CRLF2", "CSF2RA", "IL3RA", "SLC25A6", "ASMTL", "P2RY8", "CD99"]
        model = FeatureSpace(ids=("",) * (N + 11), symbols=(*SYMBOLS, *names))
        match = model.match(frame([*names, *SYMBOLS, *(f"{name}-1" for name in names), "MT-ND1"]))
        assert match.n_summed == 11

    def test_all_features_twice_are_summed(self):
        match = MODEL.match(frame([*SYMBOLS, *(f"{name}-1" for name in SYMBOLS)]))
        assert match.n_summed == N

    def test_ids_tell_genes_from_antibodies(self):
        """Cell Ranger writes its own names of antibodies where genes have Ensembl ids."""
        ids = [f"ENSG{i:011d}" for i in range(N)]
        match = MODEL.match(frame([*SYMBOLS, *(f"{name}-1" for name in SURFACE[:2])], gene_ids=[*ids, "CD4", "CD14_TotalSeqB"]))
        assert (match.n_matched, match.n_summed, match.n_ignored) == (N, 0, 2)

    def test_two_ids_of_one_symbol_are_two_genes(self):
        ids = [f"ENSG{i:011d}" for i in range(N + 2)]
        match = MODEL.match(frame([*SYMBOLS, *(f"{name}-1" for name in SURFACE[:2])], gene_ids=ids))
        assert match.n_summed == 2

    def test_a_model_does_not_learn_antibodies(self):
        with pytest.warns(SctabWarning, match="look like antibodies"):
            space = FeatureSpace.from_var(frame([*SYMBOLS, *(f"{name}-1" for name in SURFACE)]))
        assert len(space) == N


def test_repeated_names_with_a_number_stay_genes():
    """Three genes that occur twice do not make six numbered bins."""
    names = [*SYMBOLS, "BIN1", "BIN2", "BIN3"] * 2
    assert find_features(frame(names)).is_gene.all()
