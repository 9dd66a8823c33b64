from ._check import check as check, check_file as check_file
from ._check_result import QueryCheck as QueryCheck
from ._distil import distil as distil
from ._merge import merge as merge
from ._sketch import sketch as sketch
from ._split import split as split
from ._subsample import subsample as subsample

__all__ = ["check", "distil", "merge", "sketch", "split", "subsample"]
