"""A journal keeps blocks, whole or not at all, and tells runs apart."""

import json
import os

import numpy as np
import pytest

from sctab import OutputError, OutputExistsError, SettingError
from sctab.inference import Journal

IDENTITY = {"model": "abc", "block_size": 10}


def part(start, stop):
    return {"codes": np.arange(start, stop, dtype=np.int32), "confidence": np.linspace(0, 1, stop - start, dtype=np.float32)}


def open_journal(path, identity=IDENTITY, *, resume=False, restart=False):
    return Journal(path, identity, resume=resume, restart=restart)


@pytest.fixture
def interrupted(tmp_path):
    """A journal whose run was interrupted after two of three blocks."""
    with pytest.raises(KeyboardInterrupt), open_journal(tmp_path / "a.parts") as journal:  # noqa: PT012
        journal.write(0, 0, 10, part(0, 10))
        journal.write(0, 20, 25, part(20, 25))
        journal.remember(0, {"matrix": "X"})
        raise KeyboardInterrupt
    return tmp_path / "a.parts"


def test_blocks_come_back_in_order_and_together(tmp_path):
    with open_journal(tmp_path / "a.parts") as journal:
        for start in (20, 0, 10):
            journal.write(3, start, start + 10, part(start, start + 10))
        assert [(start, stop) for start, stop, _ in journal.read(3, 30)] == [(0, 10), (10, 20), (20, 30)]
        assert [(start, stop) for start, stop, _ in journal.read(3, 30, at_least=15)] == [(0, 20), (20, 30)]
        (together,) = journal.read(3, 30, at_least=100)
        np.testing.assert_array_equal(together[2]["codes"], np.arange(30))
        assert journal.n_finished() == 30
        journal.remove()
    assert not (tmp_path / "a.parts").exists()


def test_an_interrupted_run_says_how_to_go_on_and_does(interrupted):
    with open_journal(interrupted, resume=True) as journal:
        assert journal.is_finished(0, 0, 10)
        assert not journal.is_finished(0, 10, 20)
        assert journal.recall(0) == {"matrix": "X"}
        assert journal.recall(1) is None
        with pytest.raises(OutputError, match=r"Cells 10 and following of file 0 are not in"):
            list(journal.read(0, 25))
        journal.write(0, 10, 20, part(10, 20))
        np.testing.assert_array_equal(np.concatenate([p["codes"] for _, _, p in journal.read(0, 25)]), np.arange(25))


def test_the_error_of_an_interrupted_run_says_where_blocks_are(tmp_path):
    with pytest.raises(ValueError, match="boom") as caught, open_journal(tmp_path / "a.parts") as journal:  # noqa: PT012
        journal.write(0, 0, 10, part(0, 10))
        raise ValueError("boom")
    assert "Finished blocks are kept in" in caught.value.__notes__[0]
    assert "`resume=True`" in caught.value.__notes__[0]


def test_nothing_is_left_of_a_run_that_finished_nothing(tmp_path):
    with pytest.raises(ValueError, match="boom"), open_journal(tmp_path / "a.parts"):
        raise ValueError("boom")
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_neither_used_nor_lost_unasked(interrupted):
    with pytest.raises(OutputExistsError, match=r"was interrupted. Resume it \(`resume=True`\), or restart"):
        open_journal(interrupted)
    assert len(list(interrupted.glob("part-*"))) == 2


def test_begin_anew(interrupted):
    with open_journal(interrupted, {"model": "other"}, restart=True) as journal:
        assert journal.n_finished() == 0
        assert journal.recall(0) is None
    assert json.loads((interrupted / "run.json").read_text())["model"] == "other"


def test_resume_wins_over_restart(interrupted):
    with open_journal(interrupted, resume=True, restart=True) as journal:
        assert journal.n_finished() == 15


def test_another_run_is_not_resumed(interrupted):
    with pytest.raises(SettingError, match=r"belongs to another annotation: `model` differ. Resume with the same"):
        open_journal(interrupted, IDENTITY | {"model": "other"}, resume=True)
    with open_journal(interrupted, resume=True) as journal:
        assert journal.n_finished() == 15


def test_damaged_blocks_do_not_count(interrupted):
    path = next(interrupted.glob("part-*-000000000010.npz"))
    content = bytearray(path.read_bytes())
    content[100] ^= 0xFF
    path.write_bytes(content)
    next(interrupted.glob("part-*-000000000025.npz")).write_bytes(b"")
    with open_journal(interrupted, resume=True) as journal:
        assert journal.n_finished() == 0


def test_every_flipped_bit_of_a_block_is_noticed_or_without_effect(tmp_path):
    whole = part(0, 10)
    with open_journal(tmp_path / "a.parts") as journal:
        journal.write(0, 0, 10, whole)
        (path,) = (tmp_path / "a.parts").glob("part-*")
        content = path.read_bytes()
        n_noticed = 0
        for flip in np.random.default_rng(0).choice(8 * len(content), size=400, replace=False):
            damaged = bytearray(content)
            damaged[flip // 8] ^= 1 << (flip % 8)
            path.write_bytes(damaged)
            try:
                ((_, _, found),) = journal.read(0, 10)
            except OutputError as error:
                assert "was damaged since it was written" in str(error)  # noqa: PT017
                n_noticed += 1
            else:
                assert {name: values.tolist() for name, values in found.items()} == {
                    name: values.tolist() for name, values in whole.items()
                }
        assert n_noticed > 200


@pytest.mark.parametrize("kind", ["bomb", "pipe", "link", "directory", "other arrays", "another length"])
def test_what_is_no_block_is_done_again(interrupted, kind):
    path = interrupted / "part-000000-000000000010-000000000020.npz"
    match kind:
        case "bomb":
            np.savez_compressed(path, codes=np.zeros(10_000_000))
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.symlink_to("/dev/zero")
        case "directory":
            path.mkdir()
        case "other arrays":
            np.savez(path, codes=np.arange(10))
        case "another length":
            path.write_bytes((interrupted / "part-000000-000000000020-000000000025.npz").read_bytes())
    with open_journal(interrupted, resume=True) as journal:
        assert journal.n_finished() == 15


@pytest.mark.parametrize("name", ["part-a.npz", "part-0-1-2.npz", "part-000000-000000000010.npz", "part--1--2--3.npz", "mine.txt"])
def test_files_of_others_are_left_alone(interrupted, name):
    (interrupted / name).write_text("mine")
    with open_journal(interrupted, restart=True) as journal:
        assert journal.n_finished() == 0
        journal.remove()
    assert [path.name for path in interrupted.iterdir()] == [name]


def test_a_damaged_description_of_the_run(interrupted):
    path = interrupted / "run.json"
    path.write_text(path.read_text().replace('"abc"', '"abd"'))
    with pytest.raises(OutputExistsError, match=r"run\.json` was damaged, or written by another version.*start again"):
        open_journal(interrupted, resume=True)
    assert len(list(interrupted.glob("part-*"))) == 2


@pytest.mark.parametrize("content", [b"", b"[]", b'{"matrix": "raw"}', b"[" * 100_000, b"\xff"])
def test_damaged_facts_of_a_file_are_found_out_again(interrupted, content):
    (interrupted / "file-000000.json").write_bytes(content)
    with open_journal(interrupted, resume=True) as journal:
        assert journal.recall(0) is None


def test_two_processes_do_not_share_it(interrupted):
    with (
        open_journal(interrupted, resume=True),
        pytest.raises(OutputExistsError, match="Another process is writing"),
    ):
        open_journal(interrupted, resume=True)


def test_something_else_is_left_alone(tmp_path):
    (tmp_path / "a.parts").mkdir()
    (tmp_path / "a.parts" / "mine.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="holds no unfinished annotation. Move it away"):
        open_journal(tmp_path / "a.parts", restart=True)
    assert (tmp_path / "a.parts" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(("had", "wanted", "n_done"), [(True, False, 15), (True, True, 15), (False, False, 15), (False, True, 0)])
def test_blocks_of_another_output_serve_too(tmp_path, had, wanted, n_done):
    """Where they are of the same run and have what is wanted."""

    def begin(name, *, probabilities, resume=False, others=(), **identity):
        identity = IDENTITY | {"probabilities": probabilities} | identity
        return Journal(tmp_path / name, identity, resume=resume, restart=False, others=[tmp_path / other for other in others])

    with pytest.raises(KeyboardInterrupt), begin("copy.parts", probabilities=had) as journal:  # noqa: PT012
        journal.write(0, 0, 10, part(0, 10))
        journal.write(0, 20, 25, part(20, 25))
        raise KeyboardInterrupt
    for options in ({"resume": True, "model": "other"}, {"resume": False}):
        with begin("new.parts", probabilities=wanted, others=["copy.parts"], **options) as journal:
            assert journal.n_finished() == 0
            journal.remove()
    with begin("table.parts", probabilities=wanted, resume=True, others=["absent.parts", "copy.parts"]) as journal:
        assert journal.n_finished() == n_done
        assert journal.has_all is (had if n_done else wanted)
        assert journal.directory.name == ("copy.parts" if n_done else "table.parts")


def test_a_directory_with_nothing_but_a_file_of_the_operating_system(tmp_path):
    (tmp_path / "a.parts").mkdir()
    (tmp_path / "a.parts" / ".DS_Store").write_text("of a window")
    with open_journal(tmp_path / "a.parts") as journal:
        assert journal.n_finished() == 0


def state(path):
    """All that is known of a path but when it was last read."""
    found = path.lstat()
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@pytest.mark.parametrize(
    "make", [lambda path: path.write_text("mine"), os.mkfifo, lambda path: path.symlink_to("nowhere")], ids=["file", "pipe", "link"]
)
@pytest.mark.parametrize("options", [{}, {"resume": True}, {"restart": True}])
def test_what_is_not_a_directory_is_left_alone(tmp_path, make, options):
    make(tmp_path / "a.parts")
    before = state(tmp_path / "a.parts")
    with pytest.raises(OutputExistsError, match=r"a\.parts` exists and is not a directory.* Move it away\."):
        open_journal(tmp_path / "a.parts", **options)
    assert state(tmp_path / "a.parts") == before


def test_no_pickle_is_read(interrupted):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(interrupted.parent / "hacked"),)

    np.savez(interrupted / "part-000000-000000000010-000000000020.npz", codes=np.array([Evil()], dtype=object))
    with open_journal(interrupted, resume=True) as journal:
        assert not journal.is_finished(0, 10, 20)
    assert not (interrupted.parent / "hacked").exists()
