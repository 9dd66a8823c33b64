"""A model of some genes of human."""

import pytest
from tests.genes import IDS, SYMBOLS

from sctab.data import FeatureSpace


@pytest.fixture(scope="module")
def human():
    return FeatureSpace(ids=tuple(IDS), symbols=tuple(SYMBOLS))
