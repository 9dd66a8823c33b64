"""Candidates side by side."""

import pytest
import torch

from sctab.model._crossfit import useful_jobs


@pytest.mark.parametrize(
    ("n_obs", "devices", "expected"), [(1499, "auto", 1), (1500, "auto", 3), (1500, 2, 1), (50_000, "auto", 1)]
)
def test_processes_are_started_where_they_help(n_obs, devices, expected):
    n_threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert useful_jobs(n_obs, "cpu", devices) == expected
    finally:
        torch.set_num_threads(n_threads)
