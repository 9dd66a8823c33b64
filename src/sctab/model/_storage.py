"""Descriptions of stored models, under the name that scripts of earlier versions import."""

from sctab.inference import read_spec

__all__ = ["read_spec"]
