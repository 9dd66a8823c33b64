"""How the documentation is built: `sphinx-build -W --keep-going -b html docs docs/_build/html`."""

from __future__ import annotations

import shutil
from html import escape
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.ext.napoleon import NumpyDocstring
from sphinx.util import logging

HERE = Path(__file__).parent
logger = logging.getLogger(__name__)

project = "sctab"
author = "The sctab developers"
copyright = author
release = version = version_of("sctab")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.extlinks",
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

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # tests run the notebooks

html_theme = "furo"
html_title = "sctab"
html_static_path = ["_static"]
html_css_files = ["sctab.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_math_renderer = "mathml"
templates_path: list[str] = []


def copy_tutorials() -> None:
    """Bring the notebooks, which lie beside this directory, to where Sphinx looks for pages."""
    target = HERE / "generated"
    target.mkdir(exist_ok=True)
    for notebook in sorted((HERE.parent / "tutorials").glob("*.ipynb")):
        shutil.copyfile(notebook, target / notebook.name)


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


def setup(app: Any) -> None:
    """Register what this file adds to Sphinx."""
    copy_tutorials()
    # Types are in the annotations: the first line of an attribute is a sentence, with or without a colon in it.
    NumpyDocstring._parse_attribute_docstring = lambda self: list(self._lines)
    app.add_html_math_renderer("mathml", inline_renderers=(visit_math, None), block_renderers=(visit_math_block, None))
