from pathlib import Path

import pytest
import torch

_ORACLE = Path(__file__).parents[3] / "shared" / "oracle" / "sctab_checkpoint"


@pytest.fixture(scope="session")
def oracle_path():
    """Numbers of the published implementation."""
    if not _ORACLE.is_dir():
        pytest.skip("the numbers of the published implementation are not beside this checkout (../shared/oracle)")
    return _ORACLE


@pytest.fixture
def one_thread():
    """Sums in one order: torch adds up the statistics of a batch thread by thread, which moves them by some 1e-5."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)
