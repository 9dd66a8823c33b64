"""Names as authors write them, and the terms that they lead to."""

import pytest

AUTHORS = {
    "CL:0000236": "B|B cells|B-cells|B-cell|Bcells|b_cell|CD19+ B",
    "CL:0000624": "CD4 T cells|CD4+ T cells|CD4+ T|CD4-T|T cell CD4+|CD4pos T cells",
    "CL:0000625": "CD8 T cells|CD8+ T|CD8_T",
    "CL:0000895": "Naive CD4 T|CD4 Naive|CD4+/CD45RA+/CD25- Naive T",
    "CL:0000897": "Memory CD4 T|CD4+/CD45RO+ Memory",
    "CL:0000815": "Treg|Tregs|T reg|T_regs|regulatory T cells",
    "CL:0000798": "gdT|γδ T cells|gamma delta T|gamma-delta T cells|gd T",
    "CL:0000623": "NK|NK cells|NK-cell|CD56+ NK",
    "CL:0000451": "DC|DCs|Dendritic|Dendritic cells",
    "CL:0000784": "pDC|pDCs|plasmacytoid DC",
    "CL:0001054": "CD14+ Monocytes|CD14+ Mono|CD14 Mono|Monocytes (CD14+)",
    "CL:0002396": "FCGR3A+ Monocytes|FCGR3A+ Mono|CD16 Mono",
    "CL:0000576": "monocytes|Monocytes|Mono",
    "CL:0000556": "Megakaryocytes",
    "CL:0000233": "Platelet|Platelets",
    "CL:0000232": "RBC|RBCs|Erythrocytes",
    "CL:0000169": "beta cell|Beta cells|β-cell",
    "CL:0000171": "alpha cell|alpha cells|α cells",
    "CL:0002062": "AT1|Type I pneumocytes|alveolar type 1",
    "CL:0002063": "AT2|Type II pneumocytes|AT2 cells",
    "CL:0002453": "OPC|OPCs|oligodendrocyte precursor cells",
    "CL:0000129": "Microglia|microglial cells",
    "CL:0000679": "Excitatory neurons",
    "CL:0000636": "Müller glia",
    "CL:0000192": "Smooth muscle|smooth muscle cells|SMC",
    "CL:0000860": "Classical monocytes",
    "CL:0000066": "Epithelial",
    "CL:0000899": "Th17",
    "CL:0008001": "HSPC|hematopoietic stem and progenitor cells",
}
"""What authors write for some terms."""

UNCERTAIN = "DC1|DC2|type 2 DC|mDC|EC|MC|SC|AC|PC|LC|delta cell|D cell|P cell|K cell|C cell|crypt cell|VIP|LP|GM|IC|FS|HSC"
UNCERTAIN += "|Purkinje|Lymphoid|Sst Chodl|D2-striosome"

CODES = "T1|Ex2|B3|0|7|12.5|c12|cluster_3|leiden 4|B/T|T/NK|NK/T cells|HSCs/MPPs|B/plasma|B and T cells|Mono & Mac"


class TestWhatAuthorsWrite:
    @pytest.mark.parametrize(("term", "names"), AUTHORS.items())
    def test_it_is_found_and_told(self, ontology, term, names):
        for name in names.split("|"):
            found = ontology.resolve(name)
            assert (name, found.term) == (name, term)
            if name.lower().replace("_", " ") != ontology.name(term).lower():
                assert found.note.startswith(f"`{name}` is read as `{ontology.name(term)}` (`{term}`), ")

    @pytest.mark.parametrize("name", UNCERTAIN.split("|"))
    def test_what_may_mean_several_types_gets_no_id(self, ontology, name):
        for spelling in (name, name.lower(), f"{name}s"):
            assert ontology.resolve(spelling).term is None
            assert ontology.find(spelling) is None
        assert "or another type, and gets no id by itself" in ontology.resolve(name).note

    @pytest.mark.parametrize("name", CODES.split("|"))
    def test_codes_and_mixtures_get_no_id(self, ontology, name):
        assert ontology.resolve(name) == (None, "")
        assert ontology.resolve("T_NK cells").term is None

    def test_no_name_of_the_ontology_leads_elsewhere(self, ontology, parser):
        terms = [term for term in parser.cxg_schema.ontology("CL") if not parser.is_term_deprecated(term)]
        told = set()
        for term in terms:
            name = parser.get_term_label(term)
            found = ontology.resolve(name)
            assert found.term == term
            if found.note:
                told.add(name)
            assert ontology.resolve(f"{name}s").term in (term, None)
        # names that authors give to another type as well
        assert told == {"Purkinje cell", "parietal cell", "club cell", "basket cell", "tip cell", "cap cell", "sheath cell"}

    @pytest.mark.parametrize(
        ("name", "contexts", "term", "may_mean"),
        [
            ("Purkinje cell", (), "CL:0000121", "Purkinje myocyte"),
            ("purkinje_cells", (), "CL:0000121", "Purkinje myocyte"),
            ("Purkinje cell", {"brain"}, "CL:0000121", ""),
            ("Purkinje cell", {"heart"}, "CL:0002068", "Purkinje cell"),
            ("Purkinje cell", {"heart", "brain"}, "CL:0000121", "Purkinje myocyte"),
            ("CL:0000121", {"heart"}, "CL:0000121", ""),
            ("club cell", {"prostate"}, "CL:4032000", "club cell"),
            ("basophil", (), "CL:0000767", ""),
            ("basophil", {"pituitary"}, "CL:0000639", "basophil"),
            ("basophil", {"pituitary", "blood"}, "CL:0000767", "basophil cell of pars distalis of adenohypophysis"),
            ("tip cell", {"brain"}, "CL:0000423", "endothelial tip cell"),
        ],
    )
    def test_names_of_a_term_that_authors_give_to_another_type(self, ontology, name, contexts, term, may_mean):
        found = ontology.resolve(name, contexts=contexts)
        note = f"`{name}` is read as `{ontology.name(term)}` (`{term}`), but may mean `{may_mean}` (`{ontology.find(may_mean)}`)."
        assert found == (term, note if may_mean else "")

    def test_exact_synonyms_are_told_and_few_lead_elsewhere(self, ontology, parser):
        elsewhere = set()
        for term in [term for term in parser.cxg_schema.ontology("CL") if not parser.is_term_deprecated(term)]:
            for synonym in parser.get_term_synonyms(term):
                found = ontology.resolve(synonym)
                is_own = found.term is not None and ontology.name(found.term).lower() == synonym.lower().replace("_", " ")
                assert found.note or is_own
                if found.term not in (term, None):
                    elsewhere.add((synonym, found.term))
        assert elsewhere == {
            ("alpha cell", "CL:0000171"),  # that of the pancreas, which the ontology calls a pancreatic A cell
            ("CD16+ monocyte", "CL:0002396"),
            ("substantia nigra dopaminergic neuron", "CL:4042025"),  # the name of one term and a synonym of another
        }

    def test_the_nearest_names_are_suggested(self, ontology):
        note = ontology.resolve("mature eosinofil").note
        assert note.startswith("`mature eosinofil` is not known; the nearest names are `mature eosinophil` (`CL:0000041`), ")
        assert ontology.nearest("xyzzy") == ()
        assert len(ontology.nearest("monocyte derived", n=2)) == 2

    @pytest.mark.parametrize(
        ("name", "nearest"),
        [
            ("TA", "transit amplifying cell"),
            ("TA cells", "transit amplifying cell"),
            ("gcb", "germinal center B cell"),
            ("DCT", "kidney distal convoluted tubule epithelial cell"),
            ("SM", "smooth muscle cell"),
            ("L cell", "type L enteroendocrine cell"),
            ("umbrella cell", "umbrella cell of urothelium"),
            ("stellate", "stellate neuron"),
        ],
    )
    def test_short_names_are_words_or_initials(self, ontology, name, nearest):
        assert nearest in map(ontology.name, ontology.nearest(name))

    @pytest.mark.parametrize("name", ["MuG", "gob", "Mye", "Lum", "Pan", "ICA", "", "12", "mossy cell"])
    def test_nothing_is_suggested_by_chance(self, ontology, name):
        assert ontology.nearest(name) == ()

    @pytest.mark.parametrize("name", ["doublets", "Unknown", "low quality", "n.d."])
    def test_nothing_is_suggested_for_no_type(self, ontology, name):
        assert ontology.resolve(name) == (None, "")
