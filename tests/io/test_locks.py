"""Directories in which one process works at a time."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from sctab import OutputError
from sctab.io._locks import LOCK_FILE, InUseError, held_alone, held_in_turn

HOLD = """
import sys, time
from pathlib import Path
from sctab.io._locks import held_alone
with held_alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_leaves_nothing_behind(tmp_path):
    with held_alone(tmp_path / "a/b"):
        assert (tmp_path / "a/b" / LOCK_FILE).exists()
    assert not (tmp_path / "a/b").exists()
    with held_alone(tmp_path / "run"):
        (tmp_path / "run/kept").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["kept"]


def test_another_thread_is_refused_and_the_same_is_not(tmp_path):
    refused = []

    def hold():
        try:
            with held_alone(tmp_path):
                pass
        except InUseError as error:
            refused.append(error)

    with held_alone(tmp_path):
        with held_alone(tmp_path):
            pass
        thread = threading.Thread(target=hold)
        thread.start()
        thread.join()
    assert len(refused) == 1
    hold()
    assert len(refused) == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)], ids=str)
def test_the_system_releases_it_when_a_process_is_killed(tmp_path, how):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "held\n"
            with pytest.raises(InUseError), held_alone(tmp_path):
                pass
        finally:
            other.send_signal(how)
            other.wait()
    assert (tmp_path / LOCK_FILE).exists()
    with held_alone(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_where_there_can_be_none_the_work_is_done(tmp_path):
    (tmp_path / "file").touch()
    done = []
    with held_alone(tmp_path / "file"):
        done.append(1)
    assert done
    assert (tmp_path / "file").is_file()


def test_others_wait_for_their_turn_and_not_for_ever(tmp_path):
    began, order = threading.Event(), []

    def work():
        with held_in_turn(tmp_path):
            began.set()
            time.sleep(0.3)
            order.append("first")

    thread = threading.Thread(target=work)
    thread.start()
    began.wait()
    with pytest.raises(OutputError, match=r"has been writing to `.*` for 0 s. Try again later"), held_in_turn(tmp_path, patience=0):
        pass
    with held_in_turn(tmp_path):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_errors_of_the_block_are_not_taken_for_a_held_lock(tmp_path):
    with pytest.raises(InUseError), held_in_turn(tmp_path):
        raise InUseError("of the block")
