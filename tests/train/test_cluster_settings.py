import json

import numpy as np
import pytest

from sctab.errors import SettingError
from sctab.train import ClusteringSettings
from sctab.train._cluster_settings import ClusteringResult


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"pretrain_epochs": -1}, "`pretrain_epochs=-1` must be at least 0."),
        ({"update_interval": 0}, "`update_interval=0` must be at least 1."),
        ({"tolerance": 1.0}, "`tolerance=1.0` must be at least 0 and below 1."),
        ({"batch_size": 2.5}, "`batch_size=2.5` must be an integer."),
        ({"resolution": float("nan")}, "`resolution=nan` must be above 0."),
        ({"community": "walktrap"}, "`community='walktrap'` must be `louvain` or `leiden`."),
        ({"precision": "16"}, "`precision='16'` must be `32-true` or `64-true`."),
        ({"published": 1}, "`published=1` must be `True` or `False`."),
    ],
)
def test_an_invalid_setting_is_refused(setting, message):
    with pytest.raises(SettingError) as refused:
        ClusteringSettings(**setting)
    assert str(refused.value) == message


def test_the_defaults_are_those_of_the_published_program():
    settings = ClusteringSettings()
    assert (settings.pretrain_epochs, settings.max_epochs, settings.batch_size, settings.n_neighbors) == (300, 2000, 256, 20)
    assert (settings.resolution, settings.tolerance, settings.update_interval) == (0.8, 0.001, 1)


def test_a_result_can_be_written_as_json():
    result = ClusteringResult({}, 3, is_converged=True, labels=np.zeros(2, dtype=np.int64), reconstruction_losses=(0.5,))
    assert json.loads(json.dumps(result.to_json())) == {
        "n_pretrained": 3,
        "is_converged": True,
        "reconstruction_losses": [0.5],
        "n_empty": 0,
    }
