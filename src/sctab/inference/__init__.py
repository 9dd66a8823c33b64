"""Naming the cells of files, block by block: here or on a cluster, with a journal to go on from."""

from sctab.corpus._data_file import DataFile, base_name, explains_damage, find_data_files, is_url, read_data_file
from sctab.corpus._workers import client_in_use
from sctab.inference._engine import Engine
from sctab.inference._files import FileAnnotation, name_cells
from sctab.inference._journal import Journal, Part, as_part
from sctab.inference._local import engine_for, evaluate_cells

__all__ = [
    "DataFile",
    "Engine",
    "FileAnnotation",
    "Journal",
    "Part",
    "as_part",
    "base_name",
    "client_in_use",
    "engine_for",
    "evaluate_cells",
    "explains_damage",
    "find_data_files",
    "is_url",
    "name_cells",
    "read_data_file",
]
