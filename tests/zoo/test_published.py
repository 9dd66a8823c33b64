"""Published checkpoints as models: they predict what networks that are not ours predict, and nothing in them is run."""

import copy
import errno
import json
import os
import shutil
import tarfile
import tracemalloc
import zipfile
from collections import Counter
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from anndata import AnnData
from hypothesis import given, settings, strategies as st
from scipy import sparse
from scipy.stats import spearmanr
from tests.published import (
    LABELS,
    N_GENES,
    hyper_parameters,
    lightning_checkpoint,
    published_linear,
    published_mlp,
    published_tabnet,
    write_tables,
)

import sctab
from sctab import (
    DataFileError,
    GeneOverlapError,
    ModelFormatError,
    ModelNotFoundError,
    OutputError,
    OutputExistsError,
    SctabWarning,
)
from sctab.data import Normalization, normalise
from sctab.model import DeepEnsemble, load_model
from sctab.zoo import import_checkpoint, load
from sctab.zoo._published_files import read_hyperparameters
from sctab.zoo._published_importance import importance_of_weights

BEST = "val_f1_macro_epoch=41_val_f1_macro=0.847.ckpt"


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return write_tables(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def cells():
    """Counts over the model's genes, in another order, with Ensembl ids."""
    rng = np.random.default_rng(1)
    order = rng.permutation(N_GENES)
    counts = rng.poisson(2.0, size=(30, N_GENES)).astype(np.float32)
    adata = AnnData(sparse.csr_matrix(counts[:, order]), var=pd.DataFrame(index=[f"ENSG{i:011d}" for i in order]))
    adata.uns["expression"] = normalise(sparse.csr_matrix(counts), Normalization()).toarray()
    return adata


def save(content, path, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path, **kwargs)
    return path


def stored(path, make=published_tabnet, **kwargs):
    """A checkpoint file, and the network in it."""
    network, hyperparameters = make(**kwargs)
    return save(lightning_checkpoint(network, hyperparameters), path), network


def probabilities(network, expression, dtype=torch.float32):
    with torch.inference_mode():
        output = network(torch.from_numpy(expression).to(dtype))
    return (output[0] if isinstance(output, tuple) else output).softmax(dim=1).numpy()


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def refuses(path, tables, message, error=ModelFormatError, **kwargs):
    """Refused with nothing left behind, neither a model nor the folders above it."""
    before = files(path.parent)
    with pytest.raises(error, match=message):
        import_checkpoint(path, output=path.parent / "new" / "model", **tables | kwargs)
    assert files(path.parent) == before


class TestWhatIsPredicted:
    @given(
        n_steps=st.integers(1, 3),
        layers=st.tuples(st.integers(0, 2), st.integers(0, 2)).filter(any),
        mask_type=st.sampled_from(["entmax", "sparsemax"]),
        gamma=st.sampled_from([1.0, 1.3, 2.0]),
        seed=st.integers(0, 2**16),
    )
    @settings(max_examples=20)
    def test_every_tabnet(self, n_steps, layers, mask_type, gamma, seed, tables, cells, tmp_path_factory):
        path, network = stored(
            tmp_path_factory.getbasetemp() / "tabnet.ckpt",
            n_steps=n_steps,
            n_shared=layers[0],
            n_independent=layers[1],
            mask_type=mask_type,
            gamma=gamma,
            seed=seed,
        )
        model = import_checkpoint(path, **tables)
        assert type(model) is sctab.model.SCTAB
        predicted = model.predict(cells, soft=True)
        expected = probabilities(network, cells.uns["expression"])
        np.testing.assert_allclose(probabilities(model.module, cells.uns["expression"]), expected, rtol=0, atol=1e-5)
        # Random weights amplify rounding: further by twice what the published network is away from the exact numbers itself.
        exact = probabilities(copy.deepcopy(model.module).double(), cells.uns["expression"], torch.float64)
        rounding = np.abs(expected - exact).max()
        np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-5 + 2 * rounding)

    @pytest.mark.parametrize("n_hidden", [1, 8])
    def test_every_perceptron(self, n_hidden, tables, cells, tmp_path):
        path, network = stored(tmp_path / "mlp.ckpt", published_mlp, n_hidden=n_hidden)
        model = import_checkpoint(path, **tables)
        assert type(model) is sctab.model.MLPClassifier
        assert model.spec.architecture == {"n_layers": n_hidden, "n_hidden": 7, "dropout": 0.1}
        expected = probabilities(network, cells.uns["expression"])
        np.testing.assert_allclose(model.predict(cells, soft=True), expected, rtol=0, atol=1e-5)

    def test_a_linear_model(self, tables, cells, tmp_path):
        path, network = stored(tmp_path / "linear.ckpt", published_linear)
        model = import_checkpoint(path, **tables)
        assert type(model) is sctab.model.LinearClassifier
        expected = probabilities(network, cells.uns["expression"])
        np.testing.assert_allclose(model.predict(cells, soft=True), expected, rtol=0, atol=1e-5)
        assert model.get_coefficients().shape == (4, N_GENES)

    @pytest.mark.parametrize("make", [published_tabnet, published_linear, published_mlp])
    @pytest.mark.parametrize("shape", [(N_GENES,), (1, N_GENES)])
    def test_means_of_older_checkpoints_are_subtracted(self, make, shape, tables, cells, tmp_path):
        torch.manual_seed(0)
        network, hyperparameters = make()
        means = torch.rand(N_GENES)
        path = save(lightning_checkpoint(network, hyperparameters, feature_means=means.view(shape)), tmp_path / "old.ckpt")
        expected = probabilities(network, cells.uns["expression"] - means.numpy())
        np.testing.assert_allclose(import_checkpoint(path, **tables).predict(cells, soft=True), expected, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
    def test_other_precisions(self, dtype, tables, cells, tmp_path):
        network, hyperparameters = published_linear()
        path = save(lightning_checkpoint(network.to(dtype), hyperparameters), tmp_path / "other.ckpt")
        model = import_checkpoint(path, **tables)
        assert {tensor.dtype for tensor in model.module.parameters()} == {torch.float32}
        expected = probabilities(network.float(), cells.uns["expression"])
        np.testing.assert_allclose(model.predict(cells, soft=True), expected, rtol=0, atol=1e-5)

    def test_files_of_pytorch_2_0(self, tables, cells, tmp_path):
        """They lack the parts of the zip that newer versions added, and are not aligned as these are."""
        path, network = stored(tmp_path / "new.ckpt")
        new = {".format_version", ".storage_alignment", "byteorder", ".data/serialization_id"}
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "old.ckpt", "w") as target:
            for part in source.infolist():
                if part.filename.partition("/")[2] not in new:
                    target.writestr(zipfile.ZipInfo(part.filename), source.read(part))
        model = import_checkpoint(tmp_path / "old.ckpt", **tables)
        expected = probabilities(network, cells.uns["expression"])
        np.testing.assert_allclose(model.predict(cells, soft=True), expected, rtol=0, atol=1e-5)


class TestTheModel:
    @pytest.fixture
    def model(self, tables, tmp_path):
        return import_checkpoint(stored(tmp_path / BEST)[0], output=tmp_path / "model", **tables)

    def test_it_is_an_ordinary_model(self, model, cells, tmp_path):
        assert files(tmp_path / "model") == ["model.json", "model.safetensors"]
        loaded = load_model(tmp_path / "model", accelerator="cpu")
        pd.testing.assert_frame_equal(loaded.predict(cells, soft=True), model.predict(cells, soft=True))
        sctab.tl.annotate(cells, loaded)
        assert set(cells.obs["sctab_label"]) <= set(LABELS)
        assert cells.uns["sctab"]["model"]["sha256"] == model.sha256
        assert model.name == loaded.name == "model"

    def test_labels_have_ids(self, model):
        assert model.spec.labels.names == LABELS
        assert model.spec.labels.ids == ("CL:0000236", "CL:0000084", "CL:0000576", "CL:0000623")
        assert model.spec.labels.ontology_version.startswith("v20")

    def test_it_says_where_it_comes_from(self, model, tmp_path):
        training = json.loads((tmp_path / "model" / "model.json").read_text())["training"]
        assert training["published"] is True
        assert (training["source"], training["epoch"]) == (BEST, 41)
        assert len(training["sha256"]) == 64
        assert training["hyperparameters"]["optimizer"] == "torch.optim.adamw.AdamW"
        assert training["hyperparameters"]["lr_scheduler_kwargs"]["step_size"] == 1
        assert BEST in model.spec.description

    def test_there_is_no_history_to_show(self, model, tmp_path):
        for source in (model, tmp_path / "model"):
            with pytest.raises(sctab.NotTrainedError, match="no history"):
                sctab.get.training(source)

    def test_more_can_be_learned(self, model, cells):
        query = AnnData(
            cells.X.copy(), obs=pd.DataFrame({"type": ["B cell", "platelet"] * 15}, index=cells.obs_names), var=cells.var
        )
        tuned = sctab.model.SCTAB.load_query_data(query, model, labels_key="type")
        tuned.train(calibrate=False, max_epochs=1, accelerator="cpu", enable_progress_bar=False, train_size=1.0, batch_size=8)
        assert tuned.spec.labels.names == (*LABELS, "platelet")
        assert "published" not in tuned.spec.training

    def test_labels_that_the_ontology_does_not_know_are_noted(self, tables, tmp_path):
        path, _ = stored(tmp_path / BEST)
        (tmp_path / "labels.csv").write_text("label\nB cell\nmucosal invariant T cell\nmonocyte\nNA\n")
        with pytest.warns(SctabWarning) as notes:
            model = import_checkpoint(path, **tables | {"labels": tmp_path / "labels.csv"})
        assert model.spec.labels.names[3] == "NA"
        assert model.spec.labels.ids[3] is None
        assert any(
            "1 of 4 labels is not in the Cell Ontology" in str(note.message) and "`NA`" in str(note.message) for note in notes
        )

    def test_genes_from_a_text_table(self, tables, cells, tmp_path):
        path, _ = stored(tmp_path / BEST)
        pd.read_parquet(tables["genes"])[["feature_id"]].to_csv(tmp_path / "genes.tsv", sep="\t", index=False)
        model = import_checkpoint(path, **tables | {"genes": tmp_path / "genes.tsv"})
        assert model.spec.features.symbols == ("",) * N_GENES
        assert model.predictor.open_query(cells).match.n_matched == N_GENES


class TestImportance:
    def test_the_genes_of_a_first_layer_that_does_not_see_them_count_nothing(self, tables, cells, tmp_path):
        network, hyperparameters = published_linear()
        with torch.no_grad():
            network.weight[:, 4:] = 7  # the same for every class
        path = save(lightning_checkpoint(network, hyperparameters), tmp_path / "linear.ckpt")
        model = import_checkpoint(path, **tables)
        assert model.gene_importance.sum() == pytest.approx(1)
        assert model.gene_importance[4:].max() < 1e-6
        seen = cells[:, [name in {f"ENSG{i:011d}" for i in range(4)} for name in cells.var_names]].copy()
        assert model.predictor.open_query(seen, min_gene_coverage=0.99).match.coverage == pytest.approx(1)
        unseen = cells[:, [name not in set(seen.var_names) for name in cells.var_names]].copy()
        with pytest.raises(GeneOverlapError, match="0.0% of total importance"):
            model.predictor.open_query(unseen, min_gene_coverage=0.1)

    def test_another_species_is_refused(self, tables, tmp_path):
        model = import_checkpoint(stored(tmp_path / BEST)[0], **tables)
        mouse = AnnData(
            np.ones((3, N_GENES), dtype=np.float32), var=pd.DataFrame(index=[f"ENSMUSG{i:011d}" for i in range(N_GENES)])
        )
        with pytest.raises(GeneOverlapError, match="looks like mouse and the model is human"):
            sctab.tl.annotate(mouse, model)

    def test_it_is_close_to_what_is_measured_on_data(self):
        """Of the packaged model the importance was measured on the cells that it learned from."""
        pbmc = load("pbmc")
        told = importance_of_weights(pbmc.module.state_dict())
        assert spearmanr(told, pbmc.gene_importance)[0] > 0.8
        assert np.minimum(told, pbmc.gene_importance).sum() > 0.75

    def test_where_nothing_is_told_all_genes_matter_alike(self):
        weights = {"classifier.weight": torch.ones(3, 5), "classifier.bias": torch.zeros(3)}
        np.testing.assert_allclose(importance_of_weights(weights), np.full(5, 0.2))


class Opens:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class Evaluates:
    def __reduce__(self):
        return eval, ("1 + 1",)


class TestMalice:
    @pytest.mark.parametrize("place", ["hyper_parameters", "state_dict", "callbacks", "whole"])
    def test_nothing_is_run(self, place, tables, tmp_path):
        network, hyperparameters = published_tabnet()
        content = lightning_checkpoint(network, hyperparameters)
        trap = tmp_path / "it_was_run"
        if place == "whole":
            content = Opens(trap)
        else:
            content[place]["deep"] = [{"inner": (1, Opens(trap))}]
        refuses(save(content, tmp_path / "bad.ckpt"), tables, r"names `\w+\.mkdir`, .* nothing of it was run")
        assert not trap.exists()

    def test_what_runs_code_is_named(self, tables, tmp_path):
        content = lightning_checkpoint(*published_tabnet()) | {"a": Evaluates(), "b": Counter(a=1), "c": np.float64(1)}
        refuses(save(content, tmp_path / "bad.ckpt"), tables, r"names `builtins.eval`, .*numpy")

    def test_an_optimiser_is_not_made(self, tables, tmp_path):
        """A class of `torch.optim` may be named, and not called."""

        class Calls:
            def __reduce__(self):
                return torch.optim.SGD, ([torch.zeros(1, requires_grad=True)], 0.1)

        content = lightning_checkpoint(*published_tabnet()) | {"a": Calls()}
        refuses(save(content, tmp_path / "bad.ckpt"), tables, "cannot be read as a checkpoint")

    @pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.lr_scheduler.CosineAnnealingLR])
    def test_any_optimiser_may_be_named(self, optimizer, tables, tmp_path):
        before = set(torch.serialization.get_safe_globals())
        network, hyperparameters = published_tabnet()
        path = save(lightning_checkpoint(network, hyperparameters | {"optimizer": optimizer}), tmp_path / BEST)
        named = import_checkpoint(path, **tables).spec.training["hyperparameters"]["optimizer"]
        assert named == f"{optimizer.__module__}.{optimizer.__qualname__}"
        assert set(torch.serialization.get_safe_globals()) == before

    def test_the_old_format_is_refused(self, tables, tmp_path):
        content = lightning_checkpoint(*published_tabnet())
        refuses(save(content, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False), tables, "zip format of PyTorch")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", r"is not a checkpoint in the zip format of PyTorch, it is empty\. Provide"),
            (b"\x80\x04}\x94.", r"is not a checkpoint in the zip format of PyTorch\. Provide a `\.ckpt` .* may run code\.$"),
            (b"junk", r"is not a checkpoint in the zip format of PyTorch\. Provide"),
        ],
    )
    def test_what_is_no_checkpoint_is_not_to_be_downloaded_again(self, content, message, tables, tmp_path):
        (tmp_path / "other.ckpt").write_bytes(content)
        refuses(tmp_path / "other.ckpt", tables, message)

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
    def test_truncated(self, share, tables, tmp_path):
        path, _ = stored(tmp_path / "cut.ckpt")
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        refuses(path, tables, "may be truncated; download it again")

    def test_one_changed_byte(self, tables, tmp_path):
        path, _ = stored(tmp_path / "changed.ckpt")
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        refuses(path, tables, "is damaged")

    def test_a_compressed_part_is_refused_before_it_is_read(self, tables, tmp_path):
        """A small file that grows: PyTorch never compresses."""
        path = tmp_path / "bomb.ckpt"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("bomb/data.pkl", bytes(50_000_000))
        tracemalloc.start()
        refuses(path, tables, "is damaged, or was not written by PyTorch")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
        tracemalloc.stop()

    def test_a_part_that_is_too_large_is_refused_before_it_is_read(self, tables, tmp_path, monkeypatch):
        """Python objects of a large pickle take many times its size in memory."""
        assert sctab.zoo._untrusted._LARGEST_PICKLE == 64 * 2**20
        path, _ = stored(tmp_path / "large.ckpt")
        with zipfile.ZipFile(path) as archive:
            (size,) = (part.file_size for part in archive.infolist() if part.filename.endswith(".pkl"))
        monkeypatch.setattr(sctab.zoo._untrusted, "_LARGEST_PICKLE", size)
        import_checkpoint(path, **tables)
        monkeypatch.setattr(sctab.zoo._untrusted, "_LARGEST_PICKLE", size - 1)
        monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it must not be read"))
        refuses(path, tables, "`large.ckpt` is damaged, or was not written by PyTorch")

    @pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir()])
    def test_what_is_no_file_is_not_waited_for(self, make, tables, tmp_path):
        checkpoint, _ = stored(tmp_path / BEST)
        (tmp_path / "odd").mkdir()
        for name, options, message in (
            ("odd/a.ckpt", {}, r"`a\.ckpt` cannot be read \((it is not a regular file|Is a directory)\)|has no checkpoint"),
            ("odd/b.yaml", {"hparams": tmp_path / "odd/b.yaml"}, r"b\.yaml` cannot be read \((it is not a regular|Is a directory)"),
            ("odd/genes.csv", {"genes": tmp_path / "odd/genes.csv"}, r"genes\.csv` is not a regular file\. Check the path"),
            ("odd/labels.parquet", {"labels": tmp_path / "odd/labels.parquet"}, r"labels\.parquet` is not a regular file"),
        ):
            make(tmp_path / name)
            path = tmp_path / name if not options else checkpoint
            refuses(path, tables, message, (ModelFormatError, DataFileError), **options)

    @pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
    def test_compiled_code_is_not_loaded(self, tables, tmp_path):
        """TorchScript is a zip too, and has code."""
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "script.ckpt")
        refuses(tmp_path / "script.ckpt", tables, "`script.ckpt` is damaged, or was not written by PyTorch")

    def test_a_tensor_that_is_larger_than_the_file(self, tables, tmp_path):
        network, hyperparameters = published_linear()
        content = lightning_checkpoint(network, hyperparameters)
        content["state_dict"]["classifier.weight"] = torch.zeros(1).expand(len(LABELS), N_GENES)
        refuses(save(content, tmp_path / "wide.ckpt"), tables, "`classifier.weight` of .* is not an ordinary array")

    def test_a_network_that_is_larger_than_memory(self, tables, tmp_path):
        """A wide last layer would ask for a first layer of petabytes; the missing weights are seen before any is made."""
        content = lightning_checkpoint(*published_tabnet(n_shared=0, n_independent=1))
        content["state_dict"]["classifier.final_mapping.weight"] = torch.zeros(1).expand(len(LABELS), 10**9)
        content["hyper_parameters"] = {"mask_type": "entmax"}
        refuses(save(content, tmp_path / "wide.ckpt"), tables, "is of shape")

    def test_yaml_makes_no_objects(self, tables, tmp_path):
        stored(tmp_path / "run" / BEST)
        trap = tmp_path / "it_was_run"
        text = (
            f"optimizer: !!python/name:torch.optim.adamw.AdamW ''\nwhat: !!python/object/apply:os.mkdir ['{trap}']\n"
            "other: !!python/object/new:os.system [a]\nn_d: 6\n"
        )
        (tmp_path / "run" / "hparams.yaml").write_text(text)
        known = import_checkpoint(tmp_path / "run", **tables).spec.training["hyperparameters"]
        assert not trap.exists()
        assert (known["optimizer"], known["what"]) == ("torch.optim.adamw.AdamW", "os.mkdir")

    def test_yaml_merges_nothing(self, tables, tmp_path):
        """Merge keys double what there is with every line: thirty lines would be a thousand million entries."""
        lines = ["a0: &a0 {x: 1}"]
        lines += [f"a{i}: &a{i}\n  y{i}: 1\n  <<: [{', '.join([f'*a{i - 1}'] * 8)}]" for i in range(1, 30)]
        path, _ = stored(tmp_path / BEST)
        (tmp_path / "hparams.yaml").write_text("\n".join([*lines, "n_d: 6", ""]))
        tracemalloc.start()
        read = read_hyperparameters((tmp_path / "hparams.yaml").read_bytes(), name="hparams.yaml")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
        tracemalloc.stop()
        assert (read["n_d"], read["a29"]) == (6, {"y29": 1})
        assert import_checkpoint(path, hparams=tmp_path / "hparams.yaml", **tables).spec.architecture["n_d"] == 6

    @pytest.mark.parametrize(
        "text", ["n_d: [1", "- 1", "", "[" * 2000, "a: " + "b" * 70_000, "a: !!int ''", "a: !!bool no!", "a: !!timestamp now"]
    )
    def test_yaml_that_is_nonsense(self, text, tables, tmp_path):
        path, _ = stored(tmp_path / BEST)
        (tmp_path / "hparams.yaml").write_text(text)
        refuses(path, tables, "hparams.yaml", hparams=tmp_path / "hparams.yaml")


class TestWhatBelongsTogether:
    def test_hyperparameters_that_differ(self, tables, tmp_path):
        path, _ = stored(tmp_path / BEST)
        other = hyper_parameters(published_tabnet()[1]) | {"gamma": 1.5}
        (tmp_path / "hparams.yaml").write_text(yaml.dump(other))
        refuses(
            path,
            tables,
            r"`gamma` of .* is 1\.3 by its own hyperparameters, 1\.5 by `hparams\.yaml`",
            hparams=tmp_path / "hparams.yaml",
        )

    def test_hyperparameters_of_another_size(self, tables, tmp_path):
        network, hyperparameters = published_mlp()
        path = save(lightning_checkpoint(network, hyperparameters | {"hidden_size": 9}), tmp_path / BEST)
        refuses(path, tables, r"`hidden_size` of .* is 7 by its weights, 9 by its own hyperparameters")

    @pytest.mark.parametrize(("key", "n_steps"), [("mask_type", 1), ("gamma", 2)])
    def test_what_decides_must_be_known(self, key, n_steps, tables, tmp_path):
        network, hyperparameters = published_tabnet(n_steps=n_steps)
        del hyperparameters[key]
        path = save(lightning_checkpoint(network, hyperparameters), tmp_path / BEST)
        refuses(path, tables, f"does not say `{key}` of its network")
        (tmp_path / "hparams.yaml").write_text(yaml.dump({key: published_tabnet()[1][key]}))
        import_checkpoint(path, hparams=tmp_path / "hparams.yaml", **tables)

    def test_what_decides_nothing_may_be_unknown(self, tables, cells, tmp_path):
        network, _ = published_tabnet(gamma=2.0)
        content = lightning_checkpoint(network, {}) | {"hyper_parameters": {"mask_type": "entmax"}}
        model = import_checkpoint(save(content, tmp_path / BEST), **tables)
        expected = probabilities(network, cells.uns["expression"])
        np.testing.assert_allclose(model.predict(cells, soft=True), expected, rtol=0, atol=1e-5)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("mask_type", "softmax"),
            ("gamma", "much"),
            ("gamma", float("nan")),
            pytest.param("gamma", 10**400, id="huge"),
            ("momentum", True),
        ],
    )
    def test_hyperparameters_that_make_no_sense(self, key, value, tables, tmp_path):
        network, hyperparameters = published_tabnet()
        path = save(lightning_checkpoint(network, hyperparameters | {key: value}), tmp_path / BEST)
        refuses(path, tables, f"`{key}=.* is invalid")

    def test_dropout_that_makes_no_sense(self, tables, tmp_path):
        network, hyperparameters = published_mlp()
        path = save(lightning_checkpoint(network, hyperparameters | {"dropout": 1.5}), tmp_path / BEST)
        refuses(path, tables, "`dropout=1.5` must be")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda w: w.pop("classifier.encoder.initial_bn.weight"), r"lacks weights of its network.*`input_norm\.weight`"),
            (
                lambda w: w.update({"classifier.encoder.embedder": torch.ones(1)}),
                r"`classifier\.encoder\.embedder` is not a parameter",
            ),
            (lambda w: w.update({"classifier.encoder.initial_bn.other": torch.ones(1)}), r"`input_norm\.other`"),
            (lambda w: w["classifier.final_mapping.weight"].fill_(float("nan")), "NaN or infinite"),
            (lambda w: w.update({"classifier.encoder.initial_bn.weight": torch.ones(N_GENES).long()}), "not an ordinary array"),
            (lambda w: w.update({"classifier.encoder.initial_bn.bias": torch.ones(3)}), r"of shape \(3,\), and \(40,\)"),
            (lambda w: w.update({"classifier.encoder.initial_bn.num_batches_tracked": torch.ones(3)}), r"of shape \(3,\)"),
            (lambda w: w.update({"feature_means": torch.ones(3)}), "`feature_means` of .* is of shape"),
            (
                lambda w: w.update({"classifier.encoder.initial_bn.weight": torch.ones(N_GENES, dtype=torch.complex64)}),
                r"not an ordinary array of torch\.float32 \(torch\.complex64",
            ),
            (
                lambda w: w.update({"classifier.encoder.initial_bn.weight": torch.full((N_GENES,), 1e300, dtype=torch.float64)}),
                "NaN or infinite",
            ),
            (lambda w: w.update({1: torch.ones(1)}), "has no `state_dict` of tensors"),
            (lambda w: w.update({"classifier.a": "text"}), "has no `state_dict` of tensors"),
            (lambda w: w.clear(), r"does not hold a published scTab network: `classifier\.final_mapping\.weight` is missing"),
        ],
    )
    def test_weights_that_are_wrong(self, change, message, tables, tmp_path):
        content = lightning_checkpoint(*published_tabnet())
        change(content["state_dict"])
        refuses(save(content, tmp_path / "wrong.ckpt"), tables, message)

    @pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
    def test_a_sparse_tensor(self, tables, tmp_path):
        content = lightning_checkpoint(*published_tabnet())
        content["state_dict"]["classifier.encoder.initial_bn.weight"] = torch.ones(N_GENES).to_sparse()
        message = r"`input_norm\.weight` of .* is not an ordinary array of torch\.float32 \(torch\.float32, torch\.sparse_coo\)"
        refuses(save(content, tmp_path / "sparse.ckpt"), tables, message)

    def test_hyperparameters_that_are_no_mapping_are_none(self, tables, tmp_path):
        content = lightning_checkpoint(*published_tabnet()) | {"hyper_parameters": ["entmax"], "epoch": "last"}
        refuses(save(content, tmp_path / "list.ckpt"), tables, "does not say `mask_type` of its network")

    def test_a_file_of_something_else(self, tables, tmp_path):
        refuses(save([torch.ones(3)], tmp_path / "list.ckpt"), tables, "is not a Lightning checkpoint")

    @pytest.mark.parametrize(("table", "name"), [("genes", "genes"), ("labels", "labels")])
    def test_tables_of_another_length(self, table, name, tables, tmp_path):
        path, _ = stored(tmp_path / BEST)
        pd.read_parquet(tables[table]).iloc[1:].to_parquet(tmp_path / "short.parquet")
        refuses(path, tables, f"has weights for .* {name}, and .* were given", **{table: tmp_path / "short.parquet"})

    @pytest.mark.parametrize(
        ("table", "rows", "message"),
        [
            ("genes", "feature_id\n" + "ENSG00000000001\n" * N_GENES, "only 1 different genes"),
            ("genes", "feature_id\n" + "\n".join(str(i) for i in range(N_GENES)), "`feature_id` must hold Ensembl ids"),
            ("labels", "label\na\nb\nb\nc\n", "has labels twice: `b`"),
            ("labels", 'label\na\n" "\nb\nc\n', "has no label in 1 of 4 rows"),
        ],
    )
    def test_tables_that_are_wrong(self, table, rows, message, tables, tmp_path):
        path, _ = stored(tmp_path / BEST)
        (tmp_path / "table.csv").write_text(rows)
        refuses(path, tables, message, **{table: tmp_path / "table.csv"})

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("there.txt", b"label\na\n", "neither `.parquet` nor `.csv` nor `.tsv`"),
            ("there.parquet", b"junk", "cannot be read as .parquet"),
            ("there.csv", b"name\na\n", "has no column `label`. Available: `name`"),
            (None, b"", "not found"),
        ],
    )
    def test_tables_that_cannot_be_read(self, name, content, message, tables, tmp_path):
        path, _ = stored(tmp_path / BEST)
        table = tmp_path / (name or "absent.parquet")
        if name:
            table.write_bytes(content)
        refuses(path, tables, message, DataFileError, labels=table)

    def test_files_that_are_not_there(self, tables, tmp_path):
        refuses(tmp_path / "absent.ckpt", tables, "not found", ModelNotFoundError)
        refuses(stored(tmp_path / BEST)[0], tables, "cannot be read", DataFileError, hparams=tmp_path / "hparams.yaml")

    def test_nothing_is_overwritten_unless_asked(self, tables, tmp_path):
        path, _ = stored(tmp_path / BEST)
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "mine.txt").touch()
        for overwrite in (False, True):
            with pytest.raises(OutputExistsError):
                import_checkpoint(path, output=tmp_path / "model", overwrite=overwrite, **tables)
        assert files(tmp_path / "model") == ["mine.txt"]
        import_checkpoint(path, output=tmp_path / "other", **tables)
        import_checkpoint(path, output=tmp_path / "other", overwrite=True, **tables)


def make_runs(root, *, n_runs=3):
    """Folders as in the published archive: several checkpoints per run, and another model beside."""
    networks = []
    for i in range(n_runs):
        run = root / "scTab-checkpoints" / "scTab" / f"run{i}"
        stored(run / "val_f1_macro_epoch=3_val_f1_macro=0.800.ckpt", seed=100 + i)
        networks.append(stored(run / BEST, seed=i)[1])
        stored(run / "val_loss_epoch=44_val_loss=0.3.ckpt", seed=200 + i)
        (run / "hparams.yaml").write_text(yaml.dump(hyper_parameters(published_tabnet()[1])))
    stored(root / "scTab-checkpoints" / "linear" / "run0" / "checkpoints" / BEST, published_linear)
    return networks


def pack(root, path, extra=()):
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        archive.add(root / "scTab-checkpoints", "scTab-checkpoints")
        for member, content in extra:
            member.size = len(content)
            archive.addfile(member, BytesIO(content))
    return path


class TestArchives:
    @pytest.mark.parametrize("name", ["runs.tar", "runs.tar.gz"])
    def test_runs_become_an_ensemble(self, name, tables, cells, tmp_path):
        networks = make_runs(tmp_path / "source")
        path = pack(tmp_path / "source", tmp_path / name)
        model = import_checkpoint(path, folder="scTab", output=tmp_path / "deep" / "model", **tables)
        assert isinstance(model, DeepEnsemble)
        assert sorted(member.spec.training["source"] for member in model.members) == [
            f"scTab-checkpoints/scTab/run{i}/{BEST}" for i in range(3)
        ]
        expected = np.mean([probabilities(network, cells.uns["expression"]) for network in networks], axis=0)
        np.testing.assert_allclose(model.predict(cells, soft=True), expected, rtol=0, atol=1e-5)
        loaded = load_model(tmp_path / "deep" / "model", accelerator="cpu")
        np.testing.assert_allclose(loaded.predict(cells, soft=True), expected, rtol=0, atol=1e-5)
        assert files(tmp_path / "deep")[0] == "model"
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []

    def test_one_run_becomes_a_model(self, tables, tmp_path):
        make_runs(tmp_path, n_runs=1)
        path = pack(tmp_path, tmp_path / "runs.tar.gz")
        assert type(import_checkpoint(path, folder="linear", **tables)) is sctab.model.LinearClassifier
        assert type(import_checkpoint(path, folder="scTab-checkpoints/scTab/run0", **tables)) is sctab.model.SCTAB
        assert type(import_checkpoint(tmp_path / "scTab-checkpoints" / "scTab" / "run0", **tables)) is sctab.model.SCTAB

    def test_a_folder_of_runs_becomes_an_ensemble(self, tables, tmp_path):
        make_runs(tmp_path, n_runs=2)
        assert len(import_checkpoint(tmp_path / "scTab-checkpoints" / "scTab", **tables).members) == 2

    def test_several_models_are_refused(self, tables, tmp_path):
        make_runs(tmp_path / "source", n_runs=1)
        path = pack(tmp_path / "source", tmp_path / "runs.tar")
        refuses(
            path,
            tables,
            r"runs of 2 models, in `scTab-checkpoints/linear`, `scTab-checkpoints/scTab`\. Choose one of these, or one run in it, "
            r"with `folder=…`\.$",
        )
        refuses(path, tables, "has no checkpoint in `mlp`. There are runs in: `scTab-checkpoints/linear/run0`", folder="mlp")

    def test_one_bad_run_and_nothing_is_written(self, tables, tmp_path):
        make_runs(tmp_path / "source", n_runs=2)
        save([1], tmp_path / "source" / "scTab-checkpoints" / "scTab" / "run1" / BEST)
        refuses(pack(tmp_path / "source", tmp_path / "runs.tar"), tables, "is not a Lightning checkpoint", folder="scTab")

    def test_a_full_disk(self, tables, tmp_path, monkeypatch):
        make_runs(tmp_path / "source", n_runs=1)
        path = pack(tmp_path / "source", tmp_path / "runs.tar")

        def full(**_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(sctab.zoo._published_runs.tempfile, "TemporaryDirectory", full)
        refuses(path, tables, "could not be copied to .*: No space left on device", OutputError, folder="scTab")

    def test_hyperparameters_in_the_archive_must_agree(self, tables, tmp_path):
        make_runs(tmp_path / "source", n_runs=1)
        run = tmp_path / "source" / "scTab-checkpoints" / "scTab" / "run0"
        (run / "hparams.yaml").write_text("n_d: 7\n")
        refuses(pack(tmp_path / "source", tmp_path / "runs.tar"), tables, "`n_d` of .* is 6 by its weights", folder="scTab")
        (run / "hparams.yaml").write_text("n_d: 6 # " + "x" * 70_000)
        refuses(pack(tmp_path / "source", tmp_path / "runs.tar"), tables, "it is not a `hparams.yaml`", folder="scTab")

    @pytest.mark.parametrize("name", ["runs.tar", "runs.tar.gz", "runs.tar.xz"])
    def test_a_truncated_or_wrong_archive(self, name, tables, tmp_path):
        make_runs(tmp_path / "source", n_runs=2)
        path = pack(tmp_path / "source", tmp_path / name)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 3])
        refuses(path, tables, r"runs\..* cannot be read to its end: .*; download it again|has no checkpoint", folder="scTab")
        for part, it_is in ((b"", ", it is empty"), (b"junk" * 1000, "")):
            path.write_bytes(part)
            one_sentence = (
                rf"^`[^`]*` is neither a checkpoint \(`\.ckpt`\) nor a tar or zip archive{it_is}\. Provide a checkpoint, [^.\n]*\.$"
            )
            refuses(path, tables, one_sentence, folder="scTab")

    def test_members_that_lead_elsewhere_are_not_looked_at(self, tables, tmp_path):
        make_runs(tmp_path / "source", n_runs=1)
        outside, _ = stored(tmp_path / "outside.ckpt", published_mlp)
        better = "val_f1_macro_epoch=50_val_f1_macro=0.99.ckpt"
        members = []
        for name, kind, target in (
            (f"scTab-checkpoints/scTab/run0/{better}", tarfile.SYMTYPE, str(outside)),
            (f"scTab-checkpoints/scTab/run1/{better}", tarfile.LNKTYPE, str(outside)),
            (f"scTab-checkpoints/scTab/run2/{better}", tarfile.CHRTYPE, ""),
            (f"scTab-checkpoints/scTab/run2/{better}", tarfile.FIFOTYPE, ""),
            (f"scTab-checkpoints/scTab/run2/{better}", tarfile.DIRTYPE, ""),
            (f"{tmp_path}/absolute/{better}", tarfile.REGTYPE, ""),
            (f"scTab-checkpoints/scTab/run0/../run3/{better}", tarfile.REGTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            members.append((member, outside.read_bytes() if kind == tarfile.REGTYPE else b""))
        holes = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.realsize": str(2**50),
            "GNU.sparse.name": f"scTab/{better}",
        }
        member = tarfile.TarInfo("scTab-checkpoints/scTab/run0/holes.ckpt")  # a petabyte, of which nothing is in the archive
        member.pax_headers = holes
        members.append((member, b"0\n".ljust(512, b"\0")))
        before = files(tmp_path / "source")
        model = import_checkpoint(pack(tmp_path / "source", tmp_path / "runs.tar", members), folder="scTab", **tables)
        assert model.spec.training["source"] == f"scTab-checkpoints/scTab/run0/{BEST}"
        assert files(tmp_path / "source") == before
        assert not (tmp_path / "absolute").exists()

    @pytest.mark.parametrize("name", ["runs.tar", "runs.tar.gz"])
    def test_memory_and_disk_hold_one_checkpoint_at_a_time(self, name, tables, tmp_path, monkeypatch):
        make_runs(tmp_path / "source")
        root = tmp_path / "source" / "scTab-checkpoints"
        (root / "scTab" / "run0" / "large.bin").write_bytes(bytes(60_000_000))
        path = pack(tmp_path / "source", tmp_path / name)
        shutil.rmtree(tmp_path / "source")
        seen = []
        read = sctab.zoo._published.read_checkpoint

        def counting(copy, **kwargs):
            seen.append([file.stat().st_size for file in tmp_path.rglob("*.ckpt")])
            return read(copy, **kwargs)

        monkeypatch.setattr(sctab.zoo._published, "read_checkpoint", counting)
        tracemalloc.start()
        import_checkpoint(path, folder="scTab", output=tmp_path / "model", **tables)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert [len(sizes) for sizes in seen] == [1, 1, 1]
        assert peak < 20_000_000
