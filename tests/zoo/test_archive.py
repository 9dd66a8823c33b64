"""Archives of a model, honest, damaged and hostile."""

import io
import os
import tarfile
import zipfile

import pytest
from tests.outputs import contents, write_ensemble, write_model
from tests.zoo_models import sha256, tar_of, zip_of

import sctab
from sctab import ModelFormatError
from sctab.model import DeepEnsemble
from sctab.zoo import _archive
from sctab.zoo._archive import is_archive, model_files, pack, unpack


@pytest.fixture
def model(tmp_path):
    write_model(tmp_path / "model")
    return tmp_path / "model"


def unpacked(archive, tmp_path):
    unpack(archive, tmp_path / "unpacked", name=str(archive))
    return tmp_path / "unpacked"


@pytest.mark.parametrize("inside", ["model", ".", "a/b/model"])
@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_tar(model, tmp_path, suffix, inside):
    mode = {"tar": "w", "tgz": "w:gz"}.get(suffix, f"w:{suffix[4:]}")
    archive = tar_of(model, tmp_path / f"a.{suffix}", mode=mode, inside=inside)
    assert is_archive(archive.name)
    assert contents(unpacked(archive, tmp_path)) == contents(model)


@pytest.mark.parametrize("inside", ["", "model/", "./model/"])
def test_zip(model, tmp_path, inside):
    assert contents(unpacked(zip_of(model, tmp_path / "a.zip", inside=inside), tmp_path)) == contents(model)


def test_an_ensemble(tmp_path):
    write_ensemble(tmp_path / "ensemble")
    archive = tar_of(tmp_path / "ensemble", tmp_path / "a.tar")
    assert contents(unpacked(archive, tmp_path)) == contents(tmp_path / "ensemble")


def test_what_does_not_belong_to_a_model_is_left_out(model, tmp_path):
    expected = contents(model)
    for name in ("model.pkl", "setup.py", ".DS_Store", "._model.json", "sub/model.safetensors"):
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_bytes(b"x")
    archive = zip_of(model, tmp_path / "a.zip")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("__MACOSX/model/._model.json", b"x")
        file.writestr("__MACOSX/model/model.json", b"x")
    assert contents(unpacked(archive, tmp_path)) == expected


def test_a_real_model_is_the_same(tmp_path):
    model_path = sctab.zoo.packaged_path("pbmc")
    archive = tmp_path / "a.tar"
    pack(model_path, archive, root="model")
    unpack(archive, tmp_path / "model", name="a")
    assert contents(tmp_path / "model") == {name: value for name, value in contents(model_path).items() if value is not None}
    assert sctab.model.load_model(tmp_path / "model").sha256 == sctab.model.load_model(model_path).sha256


def test_a_real_ensemble_is_the_same(tmp_path):
    members = [sctab.zoo.load("pbmc") for _ in range(2)]
    DeepEnsemble.from_members(members).save(tmp_path / "ensemble")
    pack(tmp_path / "ensemble", tmp_path / "a.tar", root="a")
    unpack(tmp_path / "a.tar", tmp_path / "b", name="a")
    assert contents(tmp_path / "b") == contents(tmp_path / "ensemble")


def test_the_bytes_of_an_archive_depend_on_its_content_alone(model, tmp_path):
    pack(model, tmp_path / "a.tar", root="x")
    for path in model.iterdir():
        os.utime(path, (1, 1))
        path.chmod(0o600)
    (model / "notes.txt").write_text("x")
    pack(model, tmp_path / "b.tar", root="x")
    assert sha256(tmp_path / "a.tar") == sha256(tmp_path / "b.tar")
    pack(model, tmp_path / "c.tar", root="x", replaced={"MODEL_CARD.md": b"card", "model.safetensors": b"other"})
    unpack(tmp_path / "c.tar", tmp_path / "c", name="c")
    assert (tmp_path / "c/MODEL_CARD.md").read_bytes() == b"card"
    assert (tmp_path / "c/model.safetensors").read_bytes() == b"other"
    assert [path.name for path in model_files(tmp_path / "c")] == ["MODEL_CARD.md", "model.json", "model.safetensors"]


def tar_with(path, *entries, mode="w"):
    """A tar of a model with other entries: `(TarInfo, content)`."""
    with tarfile.open(path, mode) as tar:
        for name in ("model.json", "model.safetensors"):
            entry = tarfile.TarInfo(name)
            entry.size = 2
            tar.addfile(entry, io.BytesIO(b"{}"))
        for entry, content in entries:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def special(name, kind, target=""):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry, b""


@pytest.mark.parametrize(
    "name", ["/tmp/model.json", "../model.json", "a/../../model.json", "a\\model.json", "C:model.json", "a\nb", "a\x1b[2J"]
)
def test_a_path_that_leaves_the_archive_is_refused(name, tmp_path):
    for archive in (tar_with(tmp_path / "a.tar", (tarfile.TarInfo(name), b"x")), tmp_path / "a.zip"):
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive, "w") as file:
                file.writestr("model.json", "{}")
                entry = zipfile.ZipInfo("x")
                entry.filename = entry.orig_filename = name
                file.writestr(entry, "x")
        with pytest.raises(ModelFormatError, match="cannot be trusted: the path .* may lead out of it. Nothing was unpacked"):
            unpacked(archive, tmp_path)
        assert not (tmp_path / "unpacked").exists()


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE], ids=repr
)
def test_links_and_devices_are_refused(kind, tmp_path):
    archive = tar_with(tmp_path / "a.tar", special("reference.safetensors", kind, "/etc/passwd"))
    with pytest.raises(ModelFormatError, match="`reference.safetensors` is a link, a device or another special file"):
        unpacked(archive, tmp_path)


def test_a_link_in_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        entry = zipfile.ZipInfo("model.json")
        entry.external_attr = 0o120777 << 16
        file.writestr(entry, "/etc/passwd")
    with pytest.raises(ModelFormatError, match="`model.json` is a link"):
        unpacked(tmp_path / "a.zip", tmp_path)


def test_a_file_that_is_there_twice_is_refused(tmp_path):
    archive = tar_with(tmp_path / "a.tar", (tarfile.TarInfo("MODEL.json"), b"x"))
    with pytest.raises(ModelFormatError, match="one of its files is there twice"):
        unpacked(archive, tmp_path)


def test_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(_archive, "_NO_HARM", 2**20)
    zeros = bytes(2**23)
    for mode, suffix in (("w:gz", "tar.gz"), ("w:xz", "tar.xz"), ("w:bz2", "tar.bz2")):
        archive = tar_with(tmp_path / f"a.{suffix}", (tarfile.TarInfo("reference.safetensors"), zeros), mode=mode)
        with pytest.raises(ModelFormatError, match=r"claims 8,388,608 bytes|unpacks to more|claims more"):
            unpacked(archive, tmp_path)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("model.json", zeros)
    with pytest.raises(ModelFormatError, match="`model.json` claims 8,388,608 bytes"):
        unpacked(tmp_path / "a.zip", tmp_path / "z" if (tmp_path / "z").mkdir() is None else tmp_path)


def test_a_header_that_claims_gigabytes_takes_no_memory(tmp_path):
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.XHDTYPE, 2**33
    (tmp_path / "a.tar").write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(ModelFormatError, match="one of its headers claims"):
        unpacked(tmp_path / "a.tar", tmp_path)


def test_many_entries_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(_archive, "_MOST_ENTRIES", 20)
    for archive in (
        tar_with(tmp_path / "a.tar", *((tarfile.TarInfo(f"{i}"), b"") for i in range(20))),
        tmp_path / "a.zip",
    ):
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive, "w") as file:
                for i in range(21):
                    file.writestr(f"{i}", "")
        with pytest.raises(ModelFormatError, match="more than 20 entries"):
            unpacked(archive, tmp_path)


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_a_damaged_archive_is_refused(suffix, model, tmp_path):
    (model / "model.safetensors").write_bytes(os.urandom(100_000))
    archive = tmp_path / f"a.{suffix}"
    zip_of(model, archive) if suffix == "zip" else tar_of(model, archive, mode={"tar": "w"}.get(suffix, f"w:{suffix[4:]}"))
    content = archive.read_bytes()
    for damaged in (content[: len(content) // 2], content[:20], b"", os.urandom(1000), b"<html>" * 200):
        archive.write_bytes(damaged)
        with pytest.raises(ModelFormatError, match="cannot be unpacked|holds no model|cannot be trusted"):
            unpack(archive, tmp_path / os.urandom(4).hex(), name="a")


@pytest.mark.parametrize("suffix", ["tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_a_changed_byte_is_noticed_where_the_format_has_a_checksum(suffix, model, tmp_path):
    (model / "model.safetensors").write_bytes(os.urandom(100_000))
    archive = tmp_path / f"a.{suffix}"
    zip_of(model, archive) if suffix == "zip" else tar_of(model, archive, mode=f"w:{suffix[4:]}")
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    with pytest.raises(ModelFormatError, match="cannot be unpacked"):
        unpacked(archive, tmp_path)


def test_a_zip_whose_parts_begin_elsewhere_is_refused(model, tmp_path):
    archive = zip_of(model, tmp_path / "a.zip")
    content = bytearray(archive.read_bytes())
    at = content.rindex(b"PK\x05\x06")
    content[at + 16 : at + 20] = (2**30).to_bytes(4, "little")  # the list of parts, by which their places are corrected
    archive.write_bytes(content)
    with pytest.raises(ModelFormatError, match="cannot be unpacked"):
        unpacked(archive, tmp_path)


def test_an_encrypted_zip_is_refused(model, tmp_path):
    archive = zip_of(model, tmp_path / "a.zip")
    content = bytearray(archive.read_bytes())
    at = content.rindex(b"PK\x01\x02")
    content[at + 8] |= 1
    archive.write_bytes(content)
    with pytest.raises(ModelFormatError, match="is encrypted"):
        unpacked(archive, tmp_path)


def test_an_archive_without_a_model_and_one_of_several(model, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelFormatError, match="holds no model: it has no `model.json`"):
        unpacked(tar_of(tmp_path / "empty", tmp_path / "a.tar"), tmp_path)
    (tmp_path / "two").mkdir()
    for name in "ab":
        write_model(tmp_path / "two" / name)
    with pytest.raises(ModelFormatError, match="holds 2 models: `model/a`, `model/b`. Unpack it, and provide one of them"):
        unpacked(tar_of(tmp_path / "two", tmp_path / "b.tar"), tmp_path)


def test_a_full_disk_is_an_error_of_the_system(model, tmp_path, monkeypatch):
    archive = tar_of(model, tmp_path / "a.tar")
    tmp_path.joinpath("unpacked").write_text("a file")
    with pytest.raises(FileExistsError):
        unpacked(archive, tmp_path)
