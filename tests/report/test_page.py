"""The page in a real browser: it renders, sorts and filters, reports no error and asks for nothing."""

import re
import shutil
import subprocess

import pandas as pd
import pytest
from tests.annotated import annotated

import sctab.report

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
DRIVER = """
const log = [];
const shown = (table) => [...document.querySelectorAll(`#${table} tbody tr`)].filter((row) => !row.hidden);
const first = (table) => shown(table).map((row) => row.cells[0].dataset.value ?? row.cells[0].textContent);
window.addEventListener("securitypolicyviolation", (e) => log.push("violation " + e.violatedDirective));
const heads = document.querySelectorAll("#table-types th button");
log.push("rows " + first("table-types").length);
heads[0].click(); log.push("up " + first("table-types")[0]);
heads[0].click(); log.push("down " + first("table-types")[0]);
heads[1].click(); log.push("cells " + first("table-types")[0]);
heads[1].click(); log.push("fewest " + first("table-types")[0]);
const field = document.querySelector("input[data-table=table-types]");
field.value = "monocyte"; field.dispatchEvent(new Event("input")); log.push("found " + first("table-types").join("|"));
const review = [...document.querySelectorAll("#table-review th button")];
if (review.length) {
  review[3].click(); log.push("most " + first("table-review")[0]);
  review[3].click(); log.push("least " + first("table-review")[0]);
  log.push("clusters " + first("table-groups").join("|"));
}
log.push("status " + document.querySelector("[data-count=table-types]").textContent);
log.push("sort " + document.querySelectorAll("#table-types th")[1].getAttribute("aria-sort"));
log.push("requests " + performance.getEntriesByType("resource").filter((e) => !e.name.startsWith("data:")).length);
log.push("drawings " + [...document.querySelectorAll("svg.drawing")].filter((e) => e.getBoundingClientRect().height > 40).length);
log.push("wide " + (document.documentElement.scrollWidth > window.innerWidth + 1));
document.title = "LOG " + log.join(" ; ");
"""


def browse(path, width=1280):
    """The page after its scripts and those of the driver, and what the browser logged."""
    with_driver = path.with_name("driven.html")
    text = path.read_text(encoding="utf-8")
    import base64
    import hashlib

    digest = base64.b64encode(hashlib.sha256(DRIVER.encode()).digest()).decode()
    text = text.replace("script-src ", f"script-src 'sha256-{digest}' ").replace("</body>", f"<script>{DRIVER}</script></body>")
    with_driver.write_text(text, encoding="utf-8")
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr"]
    command += ["--v=0", "--virtual-time-budget=3000", f"--window-size={width},900", f"--user-data-dir={path.parent / 'profile'}"]
    done = subprocess.run([*command, "--dump-dom", with_driver.as_uri()], capture_output=True, text=True, timeout=300, check=False)
    title = re.search(r"<title>LOG (.*?)</title>", done.stdout)
    assert title, done.stderr[-2000:]
    return title[1].split(" ; "), [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(BROWSER is None, reason="no chromium to open the page with")
def test_in_a_browser(tmp_path):
    path = sctab.report.write(annotated(), tmp_path / "report.html", labels_key="authors")
    log, console = browse(path)
    assert log == [
        "rows 4",
        "up B cell",
        "down natural killer cell",
        "cells CD4-positive, alpha-beta T cell",
        "fewest natural killer cell",
        "found CD14-positive monocyte",
        "status 1 of 4 rows",
        "sort ascending",
        "requests 0",
        "drawings 6",
        "wide false",
    ]
    assert console == []


@pytest.mark.skipif(BROWSER is None, reason="no chromium to open the page with")
def test_a_review_in_a_browser(tmp_path):
    adata = annotated()
    cells = pd.DataFrame(
        {
            "cell": ["<b>one</b>", "two"],
            "given": ["B cell", "T cell"],
            "suggested": ["T cell", "B cell"],
            "margin": [0.9, 0.4],
            "position": [0, 1],
            "genes_for": ["CD3D, CD3E", "CD79A"],
        }
    )
    facts = {"labels_key": "authors", "evidence": "model `pbmc`", "n_reviewed": 20, "n_suspect": 2, "n_wrong": 2.0}
    groups = pd.DataFrame({"group": ["7", "3"], "given": ["B cell", "T cell"], "margin": [0.2, -0.8]})
    adata.uns["sctab_review"] = {**facts, "cells": cells, "groups_table": groups}
    adata.write_h5ad(tmp_path / "reviewed.h5ad")
    path = sctab.report.write(tmp_path / "reviewed.h5ad", tmp_path / "report.html")
    log, console = browse(path)
    assert "most &lt;b&gt;one&lt;/b&gt;" in log
    assert "least two" in log
    assert "clusters 7|3" in log
    assert "wide false" in log
    assert console == []
    assert "2 are suspect" in path.read_text(encoding="utf-8")


@pytest.mark.skipif(BROWSER is None, reason="no chromium to open the page with")
def test_on_a_phone_with_names_that_are_markup(tmp_path):
    adata = annotated(names=("B cell", "CD14-positive monocyte", "<script>alert(1)</script>", "x" * 200))
    log, console = browse(sctab.report.write(adata, tmp_path / "report.html"), width=390)
    assert "wide false" in log
    assert "requests 0" in log
    assert "rows 4" in log
    assert console == []


def test_the_script_is_the_one_that_is_allowed(tmp_path):
    import base64
    import hashlib

    text = sctab.report.write(annotated(), tmp_path / "report.html").read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
