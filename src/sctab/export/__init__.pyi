from ._write import write as write

__all__ = ["write"]
