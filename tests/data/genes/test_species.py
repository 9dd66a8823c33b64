"""Species of genes, by ids, symbols and their case."""

import pytest
from tests.genes import IDS, N_GENES, NUMBERS, SYMBOLS, frame

from sctab import GeneOverlapError
from sctab.data import FeatureSpace, Species, guess_species

MOUSE_SYMBOLS = [symbol.capitalize() for symbol in SYMBOLS]

MOUSE_IDS = [f"ENSMUSG{i:011d}" for i in range(N_GENES)]

RAT_IDS = [f"ENSRNOG{i:011d}" for i in range(N_GENES)]

MACAQUE_IDS = [f"ENSMMUG{i:011d}" for i in range(N_GENES)]


@pytest.fixture(scope="module")
def mouse():
    return FeatureSpace(ids=tuple(MOUSE_IDS), symbols=tuple(MOUSE_SYMBOLS))


class TestSpecies:
    @pytest.mark.parametrize(
        "var",
        [
            frame(MOUSE_SYMBOLS),
            frame(MOUSE_IDS),
            frame(MOUSE_IDS, gene_symbol=MOUSE_SYMBOLS),
            frame(NUMBERS, feature_name=MOUSE_SYMBOLS),
            frame([f"mm10___{symbol}" for symbol in MOUSE_SYMBOLS]),
            frame([*MOUSE_SYMBOLS, *SYMBOLS[:9]]),  # the nine genes that made every cell a thymocyte
        ],
    )
    @pytest.mark.parametrize("ids", [IDS, [""] * N_GENES])
    def test_mouse_is_refused_by_a_human_model(self, var, ids):
        match = FeatureSpace(ids=tuple(ids), symbols=tuple(SYMBOLS)).match(var)
        assert match.query_species.name == "mouse"
        with pytest.raises(
            GeneOverlapError,
            match=r"^The data looks like mouse and the model is human: \d+ of 24 model genes were found .* \([\d.]+% .*orthologs",
        ):
            match.require(0.0)

    @pytest.mark.parametrize("var", [frame(SYMBOLS), frame(IDS), frame(IDS, gene_symbol=SYMBOLS)])
    def test_human_is_refused_by_a_mouse_model(self, mouse, var):
        with pytest.raises(GeneOverlapError, match="^The data looks like human and the model is mouse: "):
            mouse.match(var).require(0.0)

    @pytest.mark.parametrize(
        ("ids", "name"),
        [
            (RAT_IDS, "rat"),
            (MACAQUE_IDS, "rhesus macaque"),
            ([f"ENSDARG{i:011d}" for i in range(30)], "zebrafish"),
            ([f"WBGene{i:08d}" for i in range(30)], "worm"),
            ([f"FBgn{i:07d}" for i in range(30)], "fly"),
        ],
    )
    def test_ids_of_others_are_refused_by_name(self, human, ids, name):
        with pytest.raises(GeneOverlapError, match=f"^The data looks like {name} and the model is human: 0 of 24 model genes"):
            human.match(frame(ids)).require(0.0)

    @pytest.mark.parametrize("var", [frame(SYMBOLS), frame(SYMBOLS, gene_ids=IDS)])
    def test_symbols_alone_do_not_tell_macaque_from_human(self, human, var):
        match = human.match(var)
        assert match.n_matched == N_GENES
        match.require(0.9)

    def test_mouse_symbols_are_not_human_ones_in_another_case(self, human):
        assert human.match(frame(MOUSE_SYMBOLS)).n_matched <= 1  # `C1orf112` is written alike

    def test_two_genomes_in_one_experiment(self, human):
        """The human genes are used, and those of the mouse cells are not added to them."""
        names = [f"GRCh38_{symbol}" for symbol in SYMBOLS] + [f"mm10___{symbol}" for symbol in MOUSE_SYMBOLS]
        match = human.match(frame(names))
        assert match.n_matched == N_GENES
        assert match.selection[N_GENES:].nnz == 0

    @pytest.mark.parametrize("write", ["{}", "mm10___{}", "GRCm39_{}"])
    def test_mouse_symbols_behind_a_genome_match_a_mouse_model(self, mouse, write):
        assert mouse.match(frame([write.format(symbol) for symbol in MOUSE_SYMBOLS])).n_matched == N_GENES

    def test_mouse_symbols_in_lower_case_match_a_mouse_model(self, mouse):
        assert mouse.match(frame(map(str.lower, MOUSE_SYMBOLS))).n_matched == N_GENES

    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            (SYMBOLS, Species("human", is_certain=False)),
            (MOUSE_SYMBOLS, Species("mouse", is_certain=False)),
            (IDS, Species("human", is_certain=True)),
            ([f"{gene}.12" for gene in MOUSE_IDS], Species("mouse", is_certain=True)),
            ([f"hg19_{gene}" for gene in IDS], Species("human", is_certain=True)),
            ([*IDS, *MOUSE_IDS], None),
            (SYMBOLS[:10], None),
            (NUMBERS, None),
            ([""] * 30, None),
            ([], None),
        ],
    )
    def test_guess(self, names, expected):
        assert guess_species(names) == expected

    @pytest.mark.parametrize(
        ("one", "other", "contradiction"),
        [
            (("mouse", True), ("rat", True), True),
            (("mouse", False), ("rat", True), False),
            (("human", False), ("rhesus macaque", True), False),
            (("human", True), ("rhesus macaque", True), True),
            (("human", False), ("mouse", False), True),
            (("human", False), ("zebrafish", True), True),
            (("mouse", False), ("fly", True), True),
            (("human", True), ("human", False), False),
        ],
    )
    def test_contradiction_goes_both_ways(self, one, other, contradiction):
        one, other = (Species(name, is_certain=is_certain) for name, is_certain in (one, other))
        assert one.contradicts(other) is contradiction
        assert other.contradicts(one) is contradiction
