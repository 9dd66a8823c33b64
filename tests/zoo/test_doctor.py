"""Checks of a machine, each on a machine that is made to be wrong in that way."""

import os
import sys

import pytest

from sctab.zoo import _doctor as doctor, check_machine


def named(findings, name):
    (found,) = [each for each in findings if each.name == name]
    return found


def test_this_machine():
    findings = check_machine()
    names = [finding.name for finding in findings]
    assert len(set(names)) == len(names)
    assert {"version", "libraries", "device", "threads", "cache", "file locks", "certificates", "text", "extra xgboost"} <= set(
        names
    )
    assert [finding.problem for finding in findings if finding.name in {"version", "libraries", "file locks"}] == ["", "", ""]
    assert named(findings, "extra xgboost").value == "installed"


class TestLibraries:
    def test_one_that_is_missing_and_one_that_is_old(self, monkeypatch):
        real = doctor._version_of
        versions = {"torch": "2.1.0", "zarr": None}
        monkeypatch.setattr(doctor, "_version_of", lambda name: versions.get(name, real(name)))
        count, *problems = doctor._libraries()
        assert [each.name for each in problems] == ["torch", "zarr"]
        assert (
            problems[0].problem
            == "`sctab` needs torch 2.6 or newer, and version 2.1.0 is installed. Run `pip install 'torch>=2.6'`."
        )
        assert "and it is not installed" in problems[1].problem
        total = int(count.value.split(" of ")[1].split()[0])
        assert count.value.startswith(f"{total - 2} of")

    @pytest.mark.parametrize(
        ("version", "least", "older"),
        [("2.1", "2.10", True), ("2.10", "2.1", False), ("3", "3.0.0", False), ("1.0rc1", "1.0", False), ("0.9.post1", "1", True)],
    )
    def test_versions_are_compared_by_number(self, version, least, older):
        assert doctor._is_older(version, least) == older

    def test_extras(self, monkeypatch):
        real = doctor._version_of
        versions = {"xgboost": None, "optuna": "1.0"}
        monkeypatch.setattr(doctor, "_version_of", lambda name: versions.get(name, real(name)))
        found = list(doctor._extras())
        assert named(found, "extra xgboost").value == "not installed (xgboost); `pip install 'sctab[xgboost]'`"
        assert named(found, "extra xgboost").problem == ""
        assert named(found, "extra tune").problem == "optuna is too old. Run `pip install -U 'sctab[tune]'`."


class TestLoading:
    def test_a_process_that_dies(self):
        crash = doctor._probe([sys.executable, "-c", "import os; os.abort()"])
        (found,) = doctor._loaded(crash)
        assert "cannot be loaded: the process ended with the exit code" in found.problem

    def test_a_program_that_is_missing(self, tmp_path):
        (found,) = doctor._loaded(doctor._probe([str(tmp_path / "python")]))
        assert "No such file" in found.problem

    def test_a_library_that_is_broken(self):
        (found,) = doctor._loaded({"problems": {"torch": "OSError: libcudart.so.12: cannot open"}})
        assert found.problem.startswith("`import torch` fails: OSError: libcudart.so.12: cannot open. Install it again")

    def test_a_gpu_that_pytorch_does_not_find(self, monkeypatch):
        monkeypatch.setattr(doctor.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
        loaded = {"problems": {}, "threads": 1, "cuda": [], "built_for_cuda": None, "mps": False}
        device = named(doctor._loaded(loaded), "device")
        assert device.value == "CPU"
        assert "which was built for CPUs, finds no GPU" in device.problem
        assert named(doctor._loaded(loaded | {"cuda": ["H100"]}), "device") == doctor.Finding(name="device", value="H100")

    def test_too_many_threads(self, monkeypatch):
        monkeypatch.setattr(doctor, "_n_usable", lambda: 2)
        loaded = {"problems": {}, "threads": 64, "cuda": [], "built_for_cuda": None, "mps": True}
        findings = list(doctor._loaded(loaded))
        assert "Set `OMP_NUM_THREADS=2`" in named(findings, "threads").problem
        assert named(findings, "device").value == "Apple GPU (MPS)"


class TestPlaces:
    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions bind no administrator")
    def test_a_cache_that_cannot_be_written(self, tmp_path):
        tmp_path.chmod(0o500)
        assert "Set `SCTAB_CACHE` to a directory that can be written" in doctor._place("cache", tmp_path, "", "SCTAB_CACHE").problem

    def test_a_cache_that_is_a_file(self, tmp_path):
        (tmp_path / "cache").write_text("")
        assert "cannot be written" in doctor._place("cache", tmp_path / "cache", "", "SCTAB_CACHE").problem

    def test_a_full_disk(self, tmp_path, monkeypatch):
        usage = doctor.shutil.disk_usage(tmp_path)
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage._replace(free=5_000_000))
        assert "has 5 MB of free space" in doctor._place("cache", tmp_path / "not" / "made", "", "SCTAB_CACHE").problem
        assert not (tmp_path / "not").exists()

    def test_locks_without_effect(self, tmp_path, monkeypatch):
        class NoLock(doctor.FileLock):
            def _acquire(self):
                self._context.lock_file_fd = os.open(self.lock_file, os.O_RDWR | os.O_CREAT)

        assert doctor._locks(tmp_path).value == "work"
        monkeypatch.setattr(doctor, "FileLock", NoLock)
        assert "have no effect. Downloads of several processes" in doctor._locks(tmp_path).problem

    def test_locks_that_fail(self, tmp_path, monkeypatch):
        def refuse(*args, **kwargs):
            raise NotImplementedError("FileSystem does not appear to support flock")

        monkeypatch.setattr(doctor, "FileLock", refuse)
        assert "cannot be locked: FileSystem does not appear to support flock" in doctor._locks(tmp_path).problem
        assert list(tmp_path.iterdir()) == []


class TestNetwork:
    def test_proxies_without_passwords(self, monkeypatch):
        monkeypatch.setenv("https_proxy", "http://me:secret@proxy.example:3128")
        found = named(doctor._network({}), "proxies")
        assert "proxy.example:3128" in found.value
        assert "secret" not in found.value

    def test_certificates_that_are_missing(self, tmp_path):
        found = named(doctor._network({"SSL_CERT_FILE": str(tmp_path / "ca.pem")}), "certificates")
        assert "does not exist: no server will be trusted" in found.problem

    def test_offline(self):
        assert named(doctor._network({"SCTAB_OFFLINE": "1"}), "offline").value == "SCTAB_OFFLINE=1"

    def test_a_configuration_that_cannot_be_read(self, tmp_path, monkeypatch):
        monkeypatch.setenv("SCTAB_CONFIG", str(tmp_path / "config.toml"))
        monkeypatch.setenv("SCTAB_ZOO", "https://me:secret@example.org/models.json")
        assert doctor._indices().value == "packaged, https://example.org/models.json"
        assert doctor._indices().problem == ""
        (tmp_path / "config.toml").write_text("[zoo")
        assert "cannot be read" in doctor._indices().problem


def test_encodings():
    assert doctor._text("utf-8", "UTF-8", "utf-8").problem == ""
    found = doctor._text("cp1252", "cp1252", "utf-8")
    assert found.problem.startswith("The encoding of terminal and text files is not UTF-8")
    assert found.value == "terminal cp1252, text files cp1252, file names utf-8"
