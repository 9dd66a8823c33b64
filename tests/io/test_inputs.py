"""Folders of runs, of samples, and patterns."""

import pytest
from tests.formats import write_loom, write_market, write_ten_x, write_ten_x_v2

from sctab import DataFileError
from sctab.io import DataFile, find_data_files


def ten_x(query, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_ten_x(query[:9], path)


@pytest.mark.parametrize("given", ["run", "run/outs"])
def test_a_run_of_cell_ranger(query, tmp_path, given):
    outs = tmp_path / "run/outs"
    ten_x(query, outs / "raw_feature_bc_matrix.h5")
    ten_x(query, outs / "molecule_info.h5")
    assert find_data_files([tmp_path / given]) == [str(outs / "raw_feature_bc_matrix.h5")]
    write_market(query[:9], outs / "filtered_feature_bc_matrix")
    assert find_data_files([tmp_path / given]) == [str(outs / "filtered_feature_bc_matrix")]
    ten_x(query, outs / "filtered_feature_bc_matrix.h5")
    assert find_data_files([tmp_path / given]) == [str(outs / "filtered_feature_bc_matrix.h5")]


def test_a_run_of_version_2(query, tmp_path):
    write_market(query[:9], tmp_path / "outs/filtered_gene_bc_matrices/GRCh38", layout="v2", compressed=False)
    assert find_data_files([tmp_path]) == [str(tmp_path / "outs/filtered_gene_bc_matrices/GRCh38")]
    write_ten_x_v2({"GRCh38": query[:9]}, tmp_path / "outs/filtered_gene_bc_matrices_h5.h5")
    assert find_data_files([tmp_path]) == [str(tmp_path / "outs/filtered_gene_bc_matrices_h5.h5")]


def test_samples_of_one_run(query, tmp_path):
    one, two = (tmp_path / f"outs/per_sample_outs/{name}/count/sample_filtered_feature_bc_matrix.h5" for name in ("one", "two"))
    ten_x(query, one)
    assert find_data_files([tmp_path / "outs"]) == [str(one)]
    assert find_data_files([tmp_path / "outs/per_sample_outs/one"]) == [str(one)]
    ten_x(query, two)
    with pytest.raises(
        DataFileError, match="outs` holds several matrices: `.*one/count/.*`, `.*two/count/.*`. Provide one of them"
    ):
        find_data_files([tmp_path / "outs"])
    assert find_data_files([tmp_path / "outs/per_sample_outs/*/count/*.h5"]) == [str(one), str(two)]


@pytest.mark.parametrize("given", ["Solo.out", "Solo.out/Gene", "Solo.out/Gene/filtered", "."])
def test_starsolo(query, tmp_path, given):
    for name in ("filtered", "raw"):
        write_market(query[:9], tmp_path / "Solo.out/Gene" / name, layout="star", compressed=False)
    assert find_data_files([tmp_path / given]) == [str(tmp_path / "Solo.out/Gene/filtered")]


def test_alevin(query, tmp_path):
    write_market(query[:9], tmp_path / "quant/alevin", layout="alevin", compressed=False)
    assert find_data_files([tmp_path / "quant"]) == [str(tmp_path / "quant/alevin")]


def test_folders_of_samples(query, tmp_path):
    for name in ("a", "b"):
        write_market(query[:9], tmp_path / name)
    with pytest.raises(DataFileError, match="holds no file in the formats.*, but `.*/a`, `.*/b` do. Provide these"):
        find_data_files([tmp_path])
    assert find_data_files([f"{tmp_path}/*"]) == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert find_data_files([f"{tmp_path}/*/*.mtx.gz"]) == [str(tmp_path / name / "matrix.mtx.gz") for name in ("a", "b")]


def test_files_of_several_formats(query, tmp_path):
    query[:9].write_h5ad(tmp_path / "a.h5ad")
    ten_x(query, tmp_path / "b.h5")
    write_loom(query[:9], tmp_path / "c.loom")
    (tmp_path / "d.csv").write_text("a,b")
    assert find_data_files([tmp_path]) == [str(tmp_path / name) for name in ("a.h5ad", "b.h5", "c.loom")]


def test_the_filtered_matrix_beside_one_of_all_barcodes(query, tmp_path):
    raw = ten_x(query, tmp_path / "raw_feature_bc_matrix.h5")
    assert DataFile(raw).filtered == ""
    filtered = ten_x(query, tmp_path / "filtered_feature_bc_matrix.h5")
    assert DataFile(raw).filtered == filtered.name
    assert DataFile(filtered).filtered == ""
