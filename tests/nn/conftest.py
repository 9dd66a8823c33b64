import pytest
import torch


@pytest.fixture
def one_thread():
    """Sums in one order: torch adds up the statistics of a batch thread by thread, which moves them by some 1e-5."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)
