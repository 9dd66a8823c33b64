"""What surrounds the code agrees with it: dependencies, versions, workflows, and what is said of the package elsewhere."""

import ast
import re
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import sctab

IMPORTED_AS = {
    "cellxgene-census": "cellxgene_census",
    "cellxgene-ontology-guide": "cellxgene_ontology_guide",
    "huggingface-hub": "huggingface_hub",
    "lazy-loader": "lazy_loader",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "scvi-tools": "scvi",
    "umap-learn": "umap",
}
"""Distributions whose package has another name."""


@pytest.fixture(scope="module")
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]


def requirements(lines):
    return {requirement.name: requirement for requirement in map(Requirement, lines)}


def imported_by(path):
    """Packages that a module imports, by a statement or by `require`."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "require" and node.args:
            yield from re.findall(r"[a-z0-9_]+(?=[.'\w]*')", ast.unparse(node.args[0]))[:1]


@pytest.fixture(scope="module")
def imported(source_root):
    paths = [path for path in source_root.rglob("*.py") if not path.name.startswith("peer_")]
    return {name for path in paths for name in imported_by(path)} - set(sys.stdlib_module_names) - {"sctab"}


class TestDependencies:
    def test_what_is_imported_is_declared(self, project, imported):
        optional = [line for lines in project["optional-dependencies"].values() for line in lines]
        declared = {IMPORTED_AS.get(name, name) for name in requirements(project["dependencies"] + optional)}
        assert imported - declared == set()

    def test_what_is_declared_is_imported(self, project, imported):
        assert {name for name in requirements(project["dependencies"]) if IMPORTED_AS.get(name, name) not in imported} == set()

    def test_what_an_extra_installs_is_imported(self, project, imported):
        names = {name for lines in project["optional-dependencies"].values() for name in requirements(lines)}
        assert {name for name in names if IMPORTED_AS.get(name, name) not in imported} == set()

    def test_each_has_a_lower_bound_and_no_upper_one(self, project):
        optional = [line for lines in project["optional-dependencies"].values() for line in lines]
        operators = {
            str(line): {part.operator for part in line.specifier} for line in map(Requirement, project["dependencies"] + optional)
        }
        assert {line: found for line, found in operators.items() if found != {">="}} == {}


class TestVersion:
    def test_it_is_one(self):
        assert str(Version(sctab.__version__)) == sctab.__version__

    def test_it_follows_from_tags(self, project):
        assert "version" in project["dynamic"]
        assert "version" not in project


def workflows(repository):
    return sorted((repository / ".github" / "workflows").glob("*.yaml"))


class TestWorkflows:
    def test_actions_are_pinned_and_name_their_release(self, repository):
        lines = [line for path in workflows(repository) for line in path.read_text("utf-8").splitlines() if "uses:" in line]
        assert lines
        assert [line for line in lines if not re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)] == []

    def test_one_action_has_one_version(self, repository):
        uses = {use for path in workflows(repository) for use in re.findall(r"uses: (\S+)@(\S+)", path.read_text("utf-8"))}
        assert len(uses) == len({action for action, _ in uses})

    def test_nothing_but_publishing_may_write(self, repository):
        allowed = {}
        for path in workflows(repository):
            workflow = yaml.safe_load(path.read_text("utf-8"))
            for name, rights in [
                ("", workflow["permissions"]),
                *((n, j.get("permissions", {})) for n, j in workflow["jobs"].items()),
            ]:
                allowed |= {(path.stem, name): set(rights.items())} if rights and rights != {"contents": "read"} else {}
        assert allowed == {("release", "publish"): {("id-token", "write")}}

    def test_no_checkout_leaves_its_credentials(self, repository):
        for path in workflows(repository):
            for job in yaml.safe_load(path.read_text("utf-8"))["jobs"].values():
                for step in job["steps"]:
                    if step.get("uses", "").startswith("actions/checkout@"):
                        assert step["with"]["persist-credentials"] is False, path.name

    def test_scripts_that_they_run_are_there(self, repository):
        text = "".join(path.read_text("utf-8") for path in workflows(repository))
        scripts = set(re.findall(r"(?:\.ci|benchmarks)/[\w.]+", text))
        assert {".ci/run", ".ci/package", ".ci/lowest", ".ci/readme.py", "benchmarks/fuzz.py", "benchmarks/mutants.py"} <= scripts
        assert [script for script in scripts if not (repository / script).is_file()] == []


def test_the_gate_takes_the_command_of_the_readme(repository):
    assert len(re.findall(r"^pip install uv && uv run pytest", (repository / "README.md").read_text("utf-8"), re.MULTILINE)) == 1


def test_what_others_are_told_is_what_the_package_says(repository, project):
    listing = yaml.safe_load((repository / "meta.yaml").read_text("utf-8"))
    citation = yaml.safe_load((repository / "CITATION.cff").read_text("utf-8"))
    assert listing["name"] == listing["install"]["pypi"] == project["name"]
    assert listing["license"] == citation["license"] == project["license"]
    assert listing["project_home"] == citation["repository-code"] == project["urls"]["Source"]
    assert listing["documentation_home"] == citation["url"] == project["urls"]["Documentation"]
    assert listing["test_command"] in (repository / "README.md").read_text("utf-8")
    assert [each["doi"] for each in citation["references"]] == listing["publications"]
