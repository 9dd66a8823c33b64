"""How the documentation is built: `sphinx-build -W --keep-going -b html docs docs/_build/html`."""

from __future__ import annotations

import importlib
import inspect
import os
import runpy
import shutil
from html import escape
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import mudata
from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.ext.napoleon import NumpyDocstring
from sphinx.util import logging

HERE = Path(__file__).parent
for signed in (
    "get._proteins",
    "model._auto",
    "model._base",
    "model._described",
    "model._ensemble",
    "tl._annotate",
    "tuning._tune",
    "zoo._card",
):
    importlib.import_module(
        f"sctab.{signed}"
    ).MuData = mudata.MuData  # signatures name it, and the package imports it for them alone
logger = logging.getLogger(__name__)

project = "sctab"
author = "The sctab developers"
copyright = author
release = version = version_of("sctab")
SOURCE = "https://github.com/scverse/sctab"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.extlinks",
    "sphinx.ext.intersphinx",
    "sphinx.ext.linkcode",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxcontrib.bibtex",
    "sphinxext.opengraph",
]
exclude_patterns = ["_build"]
default_role = "literal"  # single backticks in docstrings are code
extlinks = {"doi": ("https://doi.org/%s", "doi:%s")}

# Docstrings are numpydoc. Parameters that are explained together stay together, which leaves their types to the signature. Prose in
# "Returns" stays prose; "Attributes" is a list in the text, since most of them are documented where they are defined as well.
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_attr_annotations = False
napoleon_custom_sections = ["Attributes", "Returns"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries_show_parents = "hide"

# Names of other projects become links where their inventories can be fetched.
is_online = os.environ.get("READTHEDOCS") == "True" or os.environ.get("SCTAB_DOCS_ONLINE") == "1"
intersphinx_mapping = (
    {
        "anndata": ("https://anndata.readthedocs.io/en/stable/", None),
        "matplotlib": ("https://matplotlib.org/stable/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "pandas": ("https://pandas.pydata.org/docs/", None),
        "python": ("https://docs.python.org/3/", None),
        "scanpy": ("https://scanpy.readthedocs.io/en/stable/", None),
        "scipy": ("https://docs.scipy.org/doc/scipy/", None),
        "scvi-tools": ("https://docs.scvi-tools.org/en/stable/", None),
        "torch": ("https://docs.pytorch.org/docs/stable/", None),
    }
    if is_online
    else {}
)

nitpicky = True
nitpick_ignore_regex = [
    # Names of other projects are links only where their inventories can be fetched, and some stand under private names there.
    (
        r"py:.*",
        r"(anndata|collections|lightning|matplotlib|mudata|numpy|optuna|os|pandas|pathlib|scipy|scvi|sklearn|torch|xgboost|annbatch)\..*",
    ),
    # Types in signatures, by the module that defines them, which have no page: what they offer is described where they are returned.
    (r"py:.*", r"sctab\.(\w+\.)*_\w+\..*"),
    (r"py:class", r"sctab\.errors\.(Either|Parameter)|sctab\.augmentation\.Rows"),
    # Names of types as signatures have them, and variables of types.
    (r"py:.*", r"Tensor|AnnOrMuData|SplitBy|[A-Z]"),
]

bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"
ogp_site_url = "https://sctab.readthedocs.io"
ogp_social_cards = {"enable": False}

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
nb_execution_mode = "auto"  # notebooks are stored without outputs
nb_execution_timeout = 1200  # one cell trains seven models
nb_execution_raise_on_error = True
os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")  # of tqdm, about widgets that pages cannot have

html_theme = "sphinx_book_theme"
html_title = f"sctab {version}"
html_theme_options = {
    "repository_url": SOURCE,
    "use_repository_button": True,
    "use_issues_button": True,
    "show_toc_level": 2,
    "navbar_persistent": [],  # the sidebar has the search
}
html_static_path = ["_static"]
html_css_files = ["sctab.css"]
html_extra_path = ["generated/example"]  # the live report
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_math_renderer = "mathml"
templates_path: list[str] = []


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """Address of the source of a documented object, or `None` where there is none."""
    if domain != "py" or not info["module"]:
        return None
    found: Any = importlib.import_module(info["module"])
    for name in info["fullname"].split("."):
        found = getattr(found, name, None)
    try:
        found = inspect.unwrap(found.fget if isinstance(found, property) else found)
        lines, start = inspect.getsourcelines(found)
        path = Path(inspect.getsourcefile(found) or "").relative_to(HERE.parent)
    except (TypeError, OSError, ValueError):  # a value, or an object of another package
        return None
    return f"{SOURCE}/blob/main/{path.as_posix()}#L{start}-L{start + len(lines) - 1}"


def fill_generated() -> None:
    """Copy the notebooks to where Sphinx looks for pages, write pages of what is stored elsewhere, and draw pictures."""
    target = HERE / "generated"
    target.mkdir(exist_ok=True)
    for notebook in sorted((HERE.parent / "tutorials").glob("*.ipynb")):
        shutil.copy2(notebook, target / notebook.name)
    if not (target / "thumbnail_trust.png").exists():
        runpy.run_path(str(HERE / "draw_front_page.py"))["main"](target)
    if not (target / "plot_training.png").exists():
        runpy.run_path(str(HERE / "draw_plots.py"))["main"](target)
    (target / "example").mkdir(exist_ok=True)
    if not (target / "example" / "example_report.html").exists():
        runpy.run_path(str(HERE / "write_report.py"))["main"](target / "example")
    for name in ("write_models", "write_answers"):
        runpy.run_path(str(HERE / f"{name}.py"))["main"](target)


def mathml(node: nodes.Element, *, as_block: bool) -> str:
    """Write a formula as MathML, which browsers draw without a script."""
    try:
        return tex2mathml(node.astext().replace(r"\dots", r"\ldots"), as_block=as_block)
    except MathError as error:
        logger.warning("The formula %s cannot be read: %s", node.astext(), error, location=node)
        return f"<code>{escape(node.astext())}</code>"


def visit_math(writer: Any, node: nodes.math) -> None:
    """A formula in a line."""
    writer.body.append(mathml(node, as_block=False))
    raise nodes.SkipNode


def visit_math_block(writer: Any, node: nodes.math_block) -> None:
    """A formula in a line of its own."""
    writer.body.append(f'<div class="math">{mathml(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def keep_numbers_together(_app: Any, doctree: nodes.document) -> None:
    """Keep a number and its spread in one line of a table, which scrolls where it does not fit."""
    for table in doctree.findall(nodes.table):
        for text in [*table.findall(nodes.Text)]:
            if " ± " in text or " × " in text:
                text.parent.replace(text, nodes.Text(text.replace(" ± ", "\u00a0±\u00a0").replace(" × ", "\u00a0×\u00a0")))


def setup(app: Any) -> None:
    """Register what this file adds to Sphinx."""
    app.connect("doctree-read", keep_numbers_together)
    fill_generated()
    # Types are in the annotations: the first line of an attribute is a sentence, with or without a colon in it.
    NumpyDocstring._parse_attribute_docstring = lambda self: list(self._lines)
    app.add_html_math_renderer("mathml", inline_renderers=(visit_math, None), block_renderers=(visit_math_block, None))
