"""Ontologies from files of every kind, and from a server."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sctab import DataFileError, SettingError
from sctab.io import _download
from sctab.ontology import CellOntology
from sctab.ontology._sources import OBO_FOUNDRY

pytestmark = pytest.mark.filterwarnings("ignore:unsound encoding:UnicodeWarning")
"""Pronto warns where a file is too short for it to be sure of UTF-8."""

PURL = "http://purl.obolibrary.org/obo/"
TERMS = [  # id, name, exact synonyms, parents, replaced by, to consider
    ("CL:0000000", "cell", [], [], None, []),
    ("CL:0000738", "leukocyte", ["white blood cell"], ["CL:0000000"], None, []),
    ("CL:0000084", "T cell", ["T-lymphocyte"], ["CL:0000738"], None, []),
    ("CL:0000003", "obsolete native cell", [], [], "CL:0000000", []),
    ("CL:0000004", "obsolete cell by organism", [], [], None, ["CL:0000000", "CL:0000084"]),
    ("UBERON:0000001", "organ", [], [], None, []),
]


def as_obo():
    lines = ["format-version: 1.2", "data-version: releases/2024-01-01", "ontology: cl"]
    for term, name, synonyms, parents, replaced_by, consider in TERMS:
        lines += ["", "[Term]", f"id: {term}", f"name: {name}"]
        lines += [f'synonym: "{synonym}" EXACT []' for synonym in synonyms] + [f"is_a: {parent}" for parent in parents]
        lines += ["is_obsolete: true"] if name.startswith("obsolete") else []
        lines += [f"replaced_by: {replaced_by}"] if replaced_by else []
        lines += [f"consider: {term}" for term in consider]
    return "\n".join([*lines, ""])


def as_owl():
    namespaces = {
        "obo": PURL,
        "owl": "http://www.w3.org/2002/07/owl#",
        "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
        "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
        "oboInOwl": "http://www.geneontology.org/formats/oboInOwl#",
    }
    opening = " ".join(f'xmlns:{name}="{address}"' for name, address in namespaces.items())
    lines = [f'<?xml version="1.0"?><rdf:RDF {opening}>', f'<owl:Ontology rdf:about="{PURL}cl.owl">']
    lines += [f'<owl:versionIRI rdf:resource="{PURL}cl/releases/2024-01-01/cl.owl"/></owl:Ontology>']
    for term, name, synonyms, parents, replaced_by, consider in TERMS:
        lines += [f'<owl:Class rdf:about="{_iri(term)}"><oboInOwl:id>{term}</oboInOwl:id><rdfs:label>{name}</rdfs:label>']
        lines += [f"<oboInOwl:hasExactSynonym>{synonym}</oboInOwl:hasExactSynonym>" for synonym in synonyms]
        lines += [f'<rdfs:subClassOf rdf:resource="{_iri(parent)}"/>' for parent in parents]
        if name.startswith("obsolete"):
            lines += ['<owl:deprecated rdf:datatype="http://www.w3.org/2001/XMLSchema#boolean">true</owl:deprecated>']
        lines += [f'<obo:IAO_0100001 rdf:resource="{_iri(replaced_by)}"/>'] if replaced_by else []
        lines += [f"<oboInOwl:consider>{term}</oboInOwl:consider>" for term in consider] + ["</owl:Class>"]
    return "".join([*lines, "</rdf:RDF>"])


def as_json():
    nodes, edges = [], []
    for term, name, synonyms, parents, replaced_by, _ in TERMS:
        meta = {"synonyms": [{"pred": "hasExactSynonym", "val": synonym} for synonym in synonyms]}
        if name.startswith("obsolete"):
            values = [{"pred": f"{PURL}IAO_0100001", "val": _iri(replaced_by)}] if replaced_by else []
            meta |= {"deprecated": True, "basicPropertyValues": values}
        nodes.append({"id": _iri(term), "type": "CLASS", "lbl": name, "meta": meta})
        edges += [{"sub": _iri(term), "pred": "is_a", "obj": _iri(parent)} for parent in parents]
    meta = {"version": f"{PURL}cl/releases/2024-01-01/cl.json"}
    return json.dumps({"graphs": [{"id": f"{PURL}cl.json", "meta": meta, "nodes": nodes, "edges": edges}]})


def _iri(term):
    return PURL + term.replace(":", "_")


WRITERS = {"obo": as_obo, "owl": as_owl, "json": as_json}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_says_the_same(tmp_path, suffix):
    path = tmp_path / f"cl.{suffix}"
    path.write_text(WRITERS[suffix](), encoding="utf-8")
    ontology = CellOntology.from_file(path)
    assert "releases/2024-01-01" in ontology.version
    assert ontology.resolve("T cell") == ("CL:0000084", "")
    assert ontology.resolve("T-lymphocyte").term == "CL:0000084"
    assert ontology.synonyms("CL:0000738") == ("white blood cell",)
    assert ontology.ancestors("CL:0000084") == {"CL:0000738", "CL:0000000"}
    assert ontology.descendants("CL:0000000") == {"CL:0000738", "CL:0000084"}
    assert ontology.depth("CL:0000084") == 2
    assert ontology.replacement("CL:0000003") == "CL:0000000"
    assert ontology.resolve("cell by organism").term is None
    assert ontology.find("organ") is None


@pytest.mark.parametrize("suffix", ["obo", "owl"])
def test_suggestions_are_read(tmp_path, suffix):
    path = tmp_path / f"cl.{suffix}"
    path.write_text(WRITERS[suffix](), encoding="utf-8")
    note = CellOntology.from_file(path).resolve("cell by organism").note
    assert note.endswith("without a replacement; consider `cell` (`CL:0000000`), `T cell` (`CL:0000084`).")


class TestRefusals:
    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(DataFileError, match=r"cl\.obo` not found\. Provide the path of an `\.obo`, `\.owl` or `\.json` file"):
            CellOntology.from_file(tmp_path / "cl.obo")

    def test_a_directory(self, tmp_path):
        with pytest.raises(DataFileError, match="not found"):
            CellOntology.from_file(tmp_path)

    @pytest.mark.parametrize(
        "content", [b"", b"garbage\n", b"\x89PNG\r\n\x1a\n\x00\x00", as_obo().replace("is_a: CL:0000738", "is_a: CL:1 ! ").encode()]
    )
    def test_a_file_that_is_no_ontology(self, tmp_path, content):
        path = tmp_path / "broken.obo"
        path.write_bytes(content)
        with pytest.raises(DataFileError, match=r"broken\.obo` cannot be read as the Cell Ontology"):
            CellOntology.from_file(path)

    @pytest.mark.parametrize(
        ("name", "content"),
        [("table.csv", "a,b\n1,2\n"), ("other.json", '{"a": 1}'), ("go.obo", "[Term]\nid: GO:1\nname: growth\n")],
    )
    def test_it_says_what_to_give(self, tmp_path, name, content):
        (tmp_path / name).write_text(content, encoding="utf-8")
        with pytest.raises(DataFileError, match=r"Provide the Cell Ontology as `\.obo`, .* or use `CellOntology\.embedded\(\)`\.$"):
            CellOntology.from_file(tmp_path / name)

    def test_kinds_that_go_in_a_circle(self, tmp_path):
        path = tmp_path / "circle.obo"
        path.write_text(as_obo().replace("name: cell\n", "name: cell\nis_a: CL:0000084\n"), encoding="utf-8")
        with pytest.raises(DataFileError, match=r"`CL:0000084`.* are kinds of themselves"):
            CellOntology.from_file(path)


@pytest.fixture
def server():
    """A server on this computer; what it gives can be changed, and it counts how often it is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.path)
            if self.server.leads_to is not None:
                self.send_response(302)
                self.send_header("Location", self.server.leads_to)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = self.server.pages.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(self.server.says or len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.pages, running.asked, running.says, running.leads_to = {"/cl.obo": as_obo().encode()}, [], None, None
        running.address = f"http://127.0.0.1:{running.server_port}/{{name}}.obo"
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


class TestOboFoundry:
    @pytest.fixture(autouse=True)
    def quickly(self, monkeypatch):
        monkeypatch.setattr(_download, "_FIRST_PAUSE", 0.01)

    @pytest.fixture
    def get(self, server, tmp_path):
        return lambda name="cl", **options: CellOntology.from_obo_foundry(
            name, cache_dir=tmp_path / "cache", address=server.address, **options
        )

    def test_it_is_downloaded_once(self, get, server, tmp_path):
        assert get().find("leukocyte") == "CL:0000738"
        server.pages.clear()
        assert get().find("leukocyte") == "CL:0000738"
        assert server.asked == ["/cl.obo"]
        assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["cl.obo", "cl.obo.sha256"]

    def test_refreshing_gives_what_is_new(self, get, server):
        get()
        server.pages["/cl.obo"] = as_obo().replace("2024-01-01", "2025-01-01").encode()
        assert get().version == "releases/2024-01-01"
        assert get(refresh=True).version == "releases/2025-01-01"
        assert get().version == "releases/2025-01-01"

    @pytest.mark.parametrize(
        ("content", "says"), [(None, None), (b"<html>Sorry</html>", None), (b"", None), (as_obo().encode()[:300], 9999)]
    )
    def test_what_cannot_be_used_replaces_nothing(self, get, server, tmp_path, content, says):
        get()
        server.pages["/cl.obo"], server.says = content, says
        with pytest.raises(DataFileError, match=r"could not be downloaded and read: .*\. Omit `refresh` to use `.*cl\.obo`"):
            get(refresh=True)
        assert (tmp_path / "cache" / "cl.obo").read_text(encoding="utf-8") == as_obo()
        assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["cl.obo", "cl.obo.sha256"]

    def test_without_network_and_cache(self, server, tmp_path):
        address = server.address.replace(str(server.server_port), "1")
        with pytest.raises(
            DataFileError,
            match=r"read: the server refuses the connection\. Check .*\. Without a network, use `CellOntology\.embedded",
        ):
            CellOntology.from_obo_foundry(cache_dir=tmp_path, address=address)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", ["../cl", "CL", "", "cl.obo"])
    def test_names_that_are_none(self, get, name):
        with pytest.raises(SettingError, match="is not an OBO Foundry name"):
            get(name)

    @pytest.mark.parametrize(
        "address", ["http://purl.obolibrary.org/obo/{name}.obo", "ftp://example.org/{name}", "file:///etc/{name}"]
    )
    def test_only_https(self, tmp_path, address):
        with pytest.raises(SettingError, match="is not read over https.*Provide an `https://` address"):
            CellOntology.from_obo_foundry(cache_dir=tmp_path, address=address)
        assert list(tmp_path.iterdir()) == []

    def test_the_default_is_https(self):
        assert OBO_FOUNDRY.startswith("https://")

    def test_being_led_away_from_https(self, server, tmp_path):
        server.leads_to = "http://example.org/cl.obo"
        with pytest.raises(DataFileError, match="leads to `http://example.org/cl.obo`, which is not read over https"):
            CellOntology.from_obo_foundry(cache_dir=tmp_path, address=server.address)
        assert list(tmp_path.iterdir()) == []

    def test_a_file_in_the_cache_that_was_changed(self, get, tmp_path):
        get()
        stored = (tmp_path / "cache" / "cl.obo.sha256").read_text()
        assert stored == f"{hashlib.sha256(as_obo().encode()).hexdigest()}  cl.obo\n"
        path = tmp_path / "cache" / "cl.obo"
        path.write_text(path.read_text().replace("T cell", "B cell"))
        with pytest.raises(DataFileError, match=r"is not what was downloaded.*`refresh=True`"):
            get()
        assert get(refresh=True).find("T cell") == "CL:0000084"

    def test_a_hash_that_is_known(self, get):
        expected = hashlib.sha256(as_obo().encode()).hexdigest()
        assert get(sha256=expected).find("leukocyte") == "CL:0000738"
        assert get(sha256=expected).find("leukocyte") == "CL:0000738"
        with pytest.raises(DataFileError, match="is not what was downloaded"):
            get(sha256="0" * 64)
        with pytest.raises(DataFileError, match=f"its SHA-256 is `{expected}` and not"):
            get(sha256="0" * 64, refresh=True)
