"""Work on one source or one part, done twice, and on damaged files."""

import anndata as ad
import numpy as np
import pytest
from tests.reference import make_reference
from tests.studies import make_study

from sctab.corpus import plan as plan_corpus
from sctab.corpus.building._shards import SpillWriter, read_shard
from sctab.corpus.building._stages import _moved_to, inspect_source, scatter_source, write_shard
from sctab.data import FeatureSpace
from sctab.errors import DataFileError

pytest.importorskip("annbatch")


class TestTwice:
    @pytest.fixture
    def task(self, config, tmp_path):
        """What `scatter_source` is given for the first source."""
        planned = plan_corpus(config)
        entry = config.sources[0]
        rows = np.arange(120)
        np.save(tmp_path / "places.npy", np.stack([rows, rows % 3, rows // 3]))
        (tmp_path / "spills").mkdir()
        name, content = inspect_source(entry, tmp_path / "0.json")
        return entry, tmp_path / "spills" / "0", name, content, planned.genes.features, tmp_path / "places.npy"

    def test_what_is_there_is_kept(self, task):
        scatter_source(*task)
        before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in task[1].iterdir()}
        scatter_source(*task)
        assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in task[1].iterdir()} == before
        assert [path.name for path in task[1].parent.iterdir()] == ["0"]

    def test_two_at_the_same_time(self, task, monkeypatch):
        match = FeatureSpace.match

        def second(space, *args, **kwargs):
            monkeypatch.undo()
            scatter_source(*task)  # another worker is faster
            return match(space, *args, **kwargs)

        monkeypatch.setattr(FeatureSpace, "match", second)
        scatter_source(*task)
        assert [path.name for path in task[1].parent.iterdir()] == ["0"]
        found = read_shard([(0, task[1])], 0, 10).matrix
        expected = make_study(1).X[::3]
        assert found.nnz == expected.nnz
        assert found.sum() == expected.sum()

    def test_an_attempt_that_fails_leaves_nothing(self, tmp_path):
        def attempt():
            with _moved_to(tmp_path / "c", tmp_path) as fresh:
                (fresh / "half").write_text("half")
                raise DataFileError("damaged")

        with pytest.raises(DataFileError):
            attempt()
        assert list(tmp_path.iterdir()) == []


def test_damaged_work(tmp_path):
    spills = SpillWriter(tmp_path)
    rows = make_reference(20).X
    spills.add(rows, np.zeros(20, dtype=np.int64), np.arange(20), np.arange(20))
    spills.flush()
    obs = ad.AnnData(rows).obs.assign(source=np.zeros(20, dtype=np.int32), row=np.arange(20))
    names = [f"g{i}" for i in range(60)]
    for name, dtype, value in (("columns", np.int32, 10**6), ("lengths", np.int32, -5), ("values", np.float32, None)):
        kept = (tmp_path / name).read_bytes()
        found = np.frombuffer(kept, dtype=dtype).copy()
        if value is None:
            found = found[:-3]
        else:
            found[3] = value
        (tmp_path / name).write_bytes(found.tobytes())
        with pytest.raises(DataFileError, match="The unfinished work on this corpus is damaged"):
            write_shard(tmp_path / "part", tmp_path, 0, [(0, tmp_path)], names, obs)
        (tmp_path / name).write_bytes(kept)
