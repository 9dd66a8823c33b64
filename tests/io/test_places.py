"""Places of a user on a machine."""

import pytest

from sctab import SettingError
from sctab.io import cache_dir, config_file, is_offline


def test_variables_choose_places(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SCTAB_CACHE", "~/cache")
    monkeypatch.setenv("SCTAB_CONFIG", "~/config.toml")
    assert cache_dir() == tmp_path / "cache"
    assert config_file() == tmp_path / "config.toml"
    monkeypatch.setenv("SCTAB_CACHE", "")
    monkeypatch.delenv("SCTAB_CONFIG")
    assert cache_dir().name == "sctab"
    assert config_file().name == "config.toml"


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("yes", True), ("0", False), ("", False), (None, False)])
def test_offline(monkeypatch, value, expected):
    monkeypatch.delenv("SCTAB_OFFLINE", raising=False)
    if value is not None:
        monkeypatch.setenv("SCTAB_OFFLINE", value)
    assert is_offline() is expected
    assert is_offline(not expected) is not expected


def test_offline_must_be_yes_or_no(monkeypatch):
    monkeypatch.setenv("SCTAB_OFFLINE", "maybe")
    with pytest.raises(SettingError, match="`SCTAB_OFFLINE` must be `1` or `0`, and is `maybe`"):
        is_offline()


@pytest.mark.parametrize("place", ["~nobody-has-this-name/x", "~nobody-has-this-name"])
def test_home_directories_that_are_not_known(monkeypatch, place):
    monkeypatch.setenv("SCTAB_CACHE", place)
    monkeypatch.setenv("SCTAB_CONFIG", place)
    with pytest.raises(SettingError, match=r"is not known. Set the environment variable `SCTAB_CACHE` to a whole path\.$"):
        cache_dir()
    with pytest.raises(SettingError, match="`SCTAB_CONFIG`"):
        config_file()


def test_a_user_without_a_home_directory(monkeypatch):
    monkeypatch.delenv("SCTAB_CACHE", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_: "~nobody-has-this-name/sctab")
    with pytest.raises(SettingError, match="`~nobody-has-this-name/sctab` is in a home directory that is not known"):
        cache_dir()
