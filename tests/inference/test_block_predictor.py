"""From stored values to probabilities: in one pass, in any number of threads, in blocks of any size."""

import pickle
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy import sparse
from tests.reference import make_reference

from sctab import SettingError
from sctab.data import Content, MatrixContent, Normalization, normalise
from sctab.data._covariates import with_covariates
from sctab.data._query import InputRecipe
from sctab.inference import Evaluation, decide, predict_cells
from sctab.io._rows import ahead
from sctab.model import SCTAB, DeepEnsemble, LinearClassifier, XGBoostClassifier


@pytest.fixture(scope="module")
def model():
    reference = make_reference()
    SCTAB.setup_anndata(reference, "cell_type")
    model = SCTAB(reference)
    model.train(calibrate=False, max_epochs=5, batch_size=16, accelerator="cpu", enable_progress_bar=False)
    return model


@pytest.fixture(scope="module")
def query(model):
    return model.predictor.open_query(make_reference(300, seed=7))


def whole_evaluation(model, query):
    return Evaluation.join(list(model.predictor.block_predictor().predict_blocks(query.recipe, query.read(query.ranges()))))


matrices = st.builds(
    lambda seed, n_obs, n_vars, density, dtype: sparse.random(
        n_obs, n_vars, density=density, format="csr", random_state=seed, data_rvs=lambda n: np.arange(n) % 9
    ).astype(dtype),
    seed=st.integers(0, 1000),
    n_obs=st.integers(1, 12),
    n_vars=st.integers(1, 1500),
    density=st.sampled_from([0.0, 0.02, 0.5]),
    dtype=st.sampled_from([np.float32, np.float64, np.int32, np.uint16]),
)


class TestInputRecipe:
    @given(
        block=matrices,
        seed=st.integers(0, 1000),
        n_genes=st.integers(1, 1300),
        n_categories=st.integers(0, 3),
        log_base=st.sampled_from([None, np.e, 2.0]),
        normalization=st.builds(Normalization, st.sampled_from([1e4, 1e6]), st.booleans()),
    )
    def test_it_aligns_normalises_and_adds_covariates(self, block, seed, n_genes, n_categories, log_base, normalization):
        """In any order of genes, with missing genes, several features of one gene, and values that are stored zeros."""
        rng = np.random.default_rng(seed)
        n_obs, n_vars = block.shape
        positions = rng.integers(-1, n_genes, size=n_vars).astype(np.int32)
        known = sparse.csr_matrix(rng.integers(0, 2, size=(n_obs, n_categories)).astype(np.float32))
        content = MatrixContent(Content.COUNTS if log_base is None else Content.LOG1P, log_base)

        selected = np.flatnonzero(positions >= 0)
        selection = sparse.csr_matrix((np.ones(len(selected)), (selected, positions[selected])), shape=(n_vars, n_genes))
        counts = sparse.csr_matrix(content.to_linear(block).astype(np.float64) @ selection)
        expected = with_covariates(normalise(counts, normalization), known).toarray()

        start, stop = sorted(rng.integers(0, n_obs + 1, size=2))
        got, is_measured = InputRecipe(content, positions, n_genes, normalization).apply(block, known, slice(start, stop))
        np.testing.assert_allclose(got.toarray(), expected[start:stop], rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(is_measured, counts[start:stop].sum(axis=1).A1 > 0)
        assert got.dtype == np.float32

    def test_the_block_is_not_changed(self, query):
        (block, known), *_ = query.read([(0, 50)])
        before = block.copy()
        query.recipe.apply(block, known, slice(0, 50))
        assert (block != before).nnz == 0


class TestThreads:
    def test_their_number_changes_nothing(self, model, query):
        block_predictor = model.predictor.block_predictor()
        before = torch.get_num_threads()
        outcomes = []
        try:
            for n_threads in (1, 2, 5):
                torch.set_num_threads(n_threads)
                parts = list(block_predictor.predict_blocks(query.recipe, query.read(query.ranges(70)), batch_size=16))
                assert torch.get_num_threads() == n_threads
                outcomes.append(np.concatenate([part.logits for part in parts]))
        finally:
            torch.set_num_threads(before)
        for outcome in outcomes:
            np.testing.assert_array_equal(outcome, outcomes[0])

    def test_new_threads_of_others_are_as_they_were(self, model, query):
        predict_cells(model.predictor, None, query)
        found = []
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert found == [torch.get_num_threads()]

    def test_none_is_left_when_it_is_broken_off(self, model, query):
        before = threading.active_count()
        blocks = model.predictor.block_predictor().predict_blocks(query.recipe, query.read(query.ranges(20)))
        next(blocks)
        blocks.close()
        for thread in threading.enumerate():
            if thread.name.startswith("sctab-"):
                thread.join()
        assert threading.active_count() == before

    def test_a_thread_that_the_system_refuses_is_an_error(self, model, query, monkeypatch):
        """Those that have begun do not wait for it."""
        before, start = torch.get_num_threads(), threading.Thread.start

        def start_one(thread):
            if thread.name == "sctab-predict_1":
                raise RuntimeError("can't start new thread")
            start(thread)

        torch.set_num_threads(3)
        monkeypatch.setattr(threading.Thread, "start", start_one)
        try:
            with pytest.raises(RuntimeError, match="can't start new thread"):
                predict_cells(model.predictor, None, query)
        finally:
            torch.set_num_threads(before)

    def test_a_reader_is_not_waited_for_when_its_items_are_no_longer_wanted(self):
        """The garbage collector may close it in a thread that holds what the reader waits for."""
        lock = threading.Lock()

        def items():
            yield 1
            with lock:
                yield 2

        with lock:
            found = ahead(items())
            assert next(found) == 1
            closing = threading.Thread(target=found.close, daemon=True)
            closing.start()
            closing.join(timeout=60)
            assert not closing.is_alive()

    def test_an_error_of_the_reader_comes_through(self):
        def fails():
            yield 1
            raise OSError("gone")

        items = ahead(fails())
        assert next(items) == 1
        with pytest.raises(OSError, match="gone"):
            next(items)


@given(block_size=st.integers(1, 310), batch_size=st.integers(1, 400))
def test_blocks_and_batches_change_nothing(model, query, block_size, batch_size):
    whole = whole_evaluation(model, query)
    parts = list(
        model.predictor.block_predictor().predict_blocks(query.recipe, query.read(query.ranges(block_size)), batch_size=batch_size)
    )
    np.testing.assert_allclose(np.concatenate([part.logits for part in parts]), whole.logits, rtol=0, atol=1e-4)


def test_members_of_an_ensemble_stand_side_by_side(model, query):
    ensemble = DeepEnsemble.from_members([model, model, model])
    one, all_of_them = whole_evaluation(model, query), whole_evaluation(ensemble, query)
    np.testing.assert_array_equal(all_of_them.logits, np.tile(one.logits, (1, 3, 1)))
    np.testing.assert_array_equal(all_of_them.latent, np.tile(one.latent, 3))
    assert decide(all_of_them).mutual_information.max() < 1e-5


def test_an_evaluator_can_be_sent_and_put_elsewhere(model, query):
    block_predictor = pickle.loads(pickle.dumps(model.predictor.block_predictor(device="cpu")))
    (block,) = query.read([(0, 100)])
    got = block_predictor.predict_block(query.recipe, block, batch_size=30)
    np.testing.assert_allclose(got.logits, whole_evaluation(model, query).logits[:100], rtol=0, atol=1e-4)
    assert len(pickle.dumps(block_predictor)) < 4 * sum(tensor.nbytes for tensor in model.module.state_dict().values())


def test_a_class_without_a_sparse_form_has_no_other_precision():
    reference = make_reference()
    XGBoostClassifier.setup_anndata(reference, "cell_type")
    trees = XGBoostClassifier(reference)
    trees.train(calibrate=False, max_epochs=3, accelerator="cpu", enable_progress_bar=False)
    with pytest.raises(SettingError, match="cannot be evaluated with `precision='bfloat16'`, only with `'float32'`"):
        trees.predictor.block_predictor(precision="bfloat16")


def test_a_linear_model_has_no_latent():
    reference = make_reference()
    LinearClassifier.setup_anndata(reference, "cell_type")
    linear = LinearClassifier(reference)
    linear.train(calibrate=False, max_epochs=3, accelerator="cpu", enable_progress_bar=False)
    assert whole_evaluation(linear, linear.predictor.open_query(make_reference(20))).latent is None
