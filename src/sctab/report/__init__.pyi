from ._write import check_outputs as check_outputs, write as write

__all__ = ["write"]
