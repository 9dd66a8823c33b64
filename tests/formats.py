"""Writers of the formats in which cells leave a core facility, laid out as their own programs write them."""

import gzip

import h5py
import numpy as np
from scipy import io, sparse


def parts_of(adata):
    """Counts, names and ids of genes, types of features, and barcodes of an AnnData."""
    ids = adata.var.get("gene_ids", adata.var_names)
    types = adata.var.get("feature_types", ["Gene Expression"] * adata.n_vars)
    counts = sparse.csr_matrix(adata.X).astype(np.int32)
    counts.sort_indices()
    return counts, *([str(name) for name in names] for names in (adata.var_names, ids, types, adata.obs_names))


def _fixed(names):
    return np.array([name.encode() for name in names])


def write_ten_x(adata, path, *, genome="GRCh38"):
    """Write as Cell Ranger 3 and later does: features by cells, CSC, 64-bit indices, gzip, strings of fixed length."""
    counts, names, ids, types, barcodes = parts_of(adata)
    with h5py.File(path, "w") as file:
        file.attrs["filetype"] = "matrix"
        group = file.create_group("matrix")
        _write_arrays(group, counts, barcodes)
        features = group.create_group("features")
        columns = {"id": ids, "name": names, "feature_type": types, "genome": [genome] * len(ids)}
        for name, values in columns.items():
            features.create_dataset(name, data=_fixed(values), compression="gzip")
        features.create_dataset("_all_tag_keys", data=_fixed(["genome"]))
    return path


def write_ten_x_v2(adatas, path):
    """Write as Cell Ranger 2 does: a group for each genome."""
    with h5py.File(path, "w") as file:
        for genome, adata in adatas.items():
            counts, names, ids, _, barcodes = parts_of(adata)
            group = file.create_group(genome)
            _write_arrays(group, counts, barcodes)
            group.create_dataset("genes", data=_fixed(ids), compression="gzip")
            group.create_dataset("gene_names", data=_fixed(names), compression="gzip")
    return path


def _write_arrays(group, counts, barcodes):
    group.create_dataset("barcodes", data=_fixed(barcodes), compression="gzip")
    group.create_dataset("data", data=counts.data, compression="gzip")
    group.create_dataset("indices", data=counts.indices.astype(np.int64), compression="gzip")
    group.create_dataset("indptr", data=counts.indptr.astype(np.int64), compression="gzip")
    group.create_dataset("shape", data=np.array(counts.shape[::-1], dtype=np.int32), compression="gzip")


def write_loom(adata, path, *, layers=(), columns=()):
    """Write as loompy 3 does: genes by cells, chunks of 64 by 64, strings of variable length."""
    counts, names, ids, _, barcodes = parts_of(adata)
    text = h5py.string_dtype()
    with h5py.File(path, "w") as file:
        file.create_group("attrs").create_dataset("LOOM_SPEC_VERSION", data="3.0.0", dtype=text)
        for name in ("row_graphs", "col_graphs", "layers"):
            file.create_group(name)
        rows, cells = file.create_group("row_attrs"), file.create_group("col_attrs")
        rows.create_dataset("Gene", data=names, dtype=text)
        rows.create_dataset("Accession", data=ids, dtype=text)
        cells.create_dataset("CellID", data=barcodes, dtype=text)
        for column in columns:
            values = adata.obs[column]
            cells.create_dataset(column, data=[str(v) for v in values] if values.dtype.kind not in "if" else values.to_numpy())
        settings = {"chunks": True, "compression": "gzip", "shuffle": False}
        file.create_dataset("matrix", data=counts.T.toarray().astype(np.float32), **settings)
        for name in layers:
            file["layers"].create_dataset(name, data=np.asarray(adata.layers[name].todense()).T, **settings)
    return path


def write_market(adata, folder, *, layout="v3", compressed=True, order="cells", comment=True):
    """Write a folder as Cell Ranger 3 (`v3`), Cell Ranger 2 (`v2`), STARsolo (`star`) or alevin-fry (`alevin`) does.

    `order` says whether the values of a cell (`cells`), of a gene (`genes`), or none of both (`none`) lie together.
    """
    counts, names, ids, types, barcodes = parts_of(adata)
    folder.mkdir(parents=True, exist_ok=True)
    by_cells = sparse.coo_matrix(counts)
    if order != "cells":
        at = np.argsort(by_cells.col, kind="stable") if order == "genes" else np.random.default_rng(0).permutation(by_cells.nnz)
        by_cells = sparse.coo_matrix((by_cells.data[at], (by_cells.row[at], by_cells.col[at])), shape=by_cells.shape)
    is_alevin = layout == "alevin"
    first, second = (by_cells.row, by_cells.col) if is_alevin else (by_cells.col, by_cells.row)
    shape = counts.shape if is_alevin else counts.shape[::-1]
    header = [
        "%%MatrixMarket matrix coordinate integer general",
        *(['%metadata_json: {"format_version": 2}'] if comment else ["%"]),
    ]
    lines = [*header, f"{shape[0]} {shape[1]} {by_cells.nnz}"]
    lines += [f"{i + 1} {j + 1} {value}" for i, j, value in zip(first, second, by_cells.data, strict=True)]
    tables = {
        "v3": {"features.tsv": zip(ids, names, types, strict=True), "barcodes.tsv": zip(barcodes, strict=True)},
        "star": {"features.tsv": zip(ids, names, types, strict=True), "barcodes.tsv": zip(barcodes, strict=True)},
        "v2": {"genes.tsv": zip(ids, names, strict=True), "barcodes.tsv": zip(barcodes, strict=True)},
        "alevin": {"quants_mat_cols.txt": zip(names, strict=True), "quants_mat_rows.txt": zip(barcodes, strict=True)},
    }[layout]
    files = {("quants_mat.mtx" if is_alevin else "matrix.mtx"): lines} | {
        name: ["\t".join(row) for row in rows] for name, rows in tables.items()
    }
    for name, content in files.items():
        text = ("\n".join(content) + "\n").encode()
        place = folder / (f"{name}.gz" if compressed else name)
        place.write_bytes(gzip.compress(text) if compressed else text)
    return folder


def write_mtx(matrix, path, **kwargs):
    """Write a matrix as SciPy does."""
    io.mmwrite(path, matrix, **kwargs)
    return path


def plant_claim(path, name, shape, dtype):
    """Replace an array of an HDF5 file by one that claims a size and holds nothing."""
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        file.create_dataset(
            name, shape=shape, dtype=dtype, chunks=tuple(min(n, 1000) if np.dtype(dtype).itemsize < 1000 else 1 for n in shape)
        )
    return path


def write_scdeepcluster(counts, path, *, labels=None, batches=None, **arrays):
    """Write as the published scDeepCluster reads: counts of cells by genes in `X`, labels in `Y`, and batches in `B`, one-hot."""
    with h5py.File(path, "w") as file:
        file.create_dataset("X", data=counts, compression="gzip")
        if labels is not None:
            file.create_dataset("Y", data=labels)
        if batches is not None:
            file.create_dataset("B", data=np.eye(max(batches) + 1)[np.asarray(batches)])
        for name, values in arrays.items():
            file.create_dataset(name, data=values)
    return path
