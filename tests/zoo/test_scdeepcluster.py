"""Weights in the files of the published scDeepCluster: nothing in them is run, and what is written is what the published network loads."""

import os
import zipfile
from collections import OrderedDict
from itertools import pairwise

import numpy as np
import pytest
import torch
from tests.published import lightning_checkpoint, published_mlp
from torch import nn

from sctab import InputValueError, ModelFormatError, ModelNotFoundError, OutputExistsError
from sctab.zoo import export_scdeepcluster, import_scdeepcluster

N_GENES, N_LATENT, N_CLUSTERS = 30, 4, 3
OURS = {"_enc_mu": "latent", "_dec_mean.0": "mean", "_dec_disp.0": "dispersion", "_dec_pi.0": "dropout"}


class Published(nn.Module):
    """Layers under the names of the published network."""

    def __init__(self, n_genes=N_GENES, n_batches=0, widths=(8, 6), decoder=None, *, clusters=False):
        super().__init__()

        def layers(sizes):
            return nn.Sequential(*(layer for before, after in pairwise(sizes) for layer in (nn.Linear(before, after), nn.ReLU())))

        decoder = widths[::-1] if decoder is None else decoder
        self.encoder = layers([n_genes + n_batches, *widths])
        self.decoder = layers([N_LATENT + n_batches, *decoder])
        self._enc_mu = nn.Linear(widths[-1], N_LATENT)
        self._dec_mean = nn.Sequential(nn.Linear(decoder[-1], n_genes), nn.Identity())
        self._dec_disp = nn.Sequential(nn.Linear(decoder[-1], n_genes), nn.Identity())
        self._dec_pi = nn.Sequential(nn.Linear(decoder[-1], n_genes), nn.Sigmoid())
        if clusters:
            self.mu = nn.Parameter(torch.randn(N_CLUSTERS, N_LATENT))


def pretrained(network):
    optimiser = torch.optim.Adam(network.parameters(), amsgrad=True)
    sum(weight.sum() for weight in network.parameters()).backward()
    optimiser.step()
    return {"ae_state_dict": network.state_dict(), "optimizer_state_dict": optimiser.state_dict()}


def checkpoint(network, y=None):
    clusters = np.arange(20) % N_CLUSTERS
    state = {"epoch": 11, "state_dict": network.state_dict(), "mu": network.mu}
    return state | {"y_pred": clusters, "y_pred_last": clusters.astype(np.int32), "y": y}


def save(content, path, **options):
    torch.save(content, path, **options)
    return path


def our_name(key):
    layer, _, last = key.rpartition(".")
    return f"{OURS.get(layer, layer)}.{last}" if layer else "centroids"


def same_weights(found, network):
    expected = {our_name(key): value for key, value in network.state_dict().items() if key != "mu"}
    assert set(found) == set(expected)
    for key, value in found.items():
        assert value.dtype == torch.float32
        assert not value.requires_grad
        torch.testing.assert_close(value, expected[key].float(), rtol=0, atol=0)


@pytest.mark.parametrize("n_batches", [0, 2])
@pytest.mark.parametrize("widths", [(8, 6), (7,), (9, 8, 6)])
def test_after_pretraining(tmp_path, n_batches, widths):
    network = Published(n_batches=n_batches, widths=widths)
    path = save(pretrained(network), tmp_path / "AE_weights.pth.tar")
    found = import_scdeepcluster(path, n_genes=N_GENES, n_batches=n_batches)
    same_weights(found.weights, network)
    assert (found.n_genes, found.n_batches, found.n_latent, found.encoder) == (N_GENES, n_batches, N_LATENT, widths)
    assert (found.centroids, found.epoch, found.source) == (None, None, "AE_weights.pth.tar")


@pytest.mark.parametrize(
    "y",
    [
        None,
        np.arange(20.0),
        np.array([b"T cell", b"B"] * 10),
        np.array(["T cell", "B"] * 10, dtype=object),
        np.arange(20).reshape(4, 5)[:, ::2],
        np.float64(3),
        np.array([], dtype=bool),
    ],
)
def test_while_it_clusters(tmp_path, y):
    """NumPy arrays of labels and clusters are not read."""
    network = Published(clusters=True)
    before = set(torch.serialization.get_safe_globals())
    found = import_scdeepcluster(save(checkpoint(network, y), tmp_path / "FTcheckpoint_11.pth.tar"))
    same_weights(found.weights, network)
    torch.testing.assert_close(found.centroids, network.mu.detach(), rtol=0, atol=0)
    assert found.epoch == 11
    assert set(torch.serialization.get_safe_globals()) == before


def test_names_of_numpy_1(tmp_path):
    """Files of older NumPy name `numpy.core`, which is nothing that is looked up."""
    path = save(checkpoint(Published(clusters=True), np.arange(3)), tmp_path / "new.pth.tar")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "old.pth.tar", "w") as target:
        for part in source.infolist():
            content = source.read(part)
            target.writestr(part, content.replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray"))
    assert import_scdeepcluster(tmp_path / "old.pth.tar").n_genes == N_GENES


def test_weights_alone_and_half_precision(tmp_path):
    network = Published()
    found = import_scdeepcluster(save(network.state_dict(), tmp_path / "model.pt"))
    same_weights(found.weights, network)
    found = import_scdeepcluster(save(network.half().state_dict(), tmp_path / "half.pt"))
    same_weights(found.weights, network)


@pytest.mark.parametrize("n_batches", [0, 3])
def test_what_is_written_is_what_the_published_network_loads(tmp_path, n_batches):
    network, again = Published(n_batches=n_batches), Published(n_batches=n_batches)
    ours = {our_name(key): value for key, value in network.state_dict().items()}
    more = {"centroids": torch.zeros(2, N_LATENT), "input_mean": torch.zeros(N_GENES), "input_std": torch.ones(N_GENES)}
    export_scdeepcluster(ours | more, tmp_path / "AE_weights.pth.tar")
    again.load_state_dict(torch.load(tmp_path / "AE_weights.pth.tar", weights_only=True)["ae_state_dict"])
    same_weights(ours, again)
    same_weights(import_scdeepcluster(tmp_path / "AE_weights.pth.tar").weights, network)
    with pytest.raises(OutputExistsError):
        export_scdeepcluster(ours, tmp_path / "AE_weights.pth.tar")
    export_scdeepcluster(ours, tmp_path / "AE_weights.pth.tar", overwrite=True)


def test_other_weights_are_not_written(tmp_path):
    with pytest.raises(InputValueError, match="must be those of a `ZINBAutoencoder`, and lacks `_dec_disp.0.weight`"):
        export_scdeepcluster({"encoder.0.weight": torch.zeros(3, 2)}, tmp_path / "new.pth.tar")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"n_genes": 2000}, "the weights are for 30 genes, and the data has 2,000. Provide the data that they were learned from"),
        ({"n_batches": 1}, "the weights are for 2 batches, and the data has 1"),
    ],
)
def test_data_that_the_weights_are_not_for(tmp_path, sizes, says):
    path = save(pretrained(Published(n_batches=2)), tmp_path / "AE_weights.pth.tar")
    with pytest.raises(ModelFormatError, match=says):
        import_scdeepcluster(path, **sizes)


class Opens:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class CallsNumpy:
    def __reduce__(self):
        return np.fromfile, ("/etc/hostname",)


def changed(network, **weights):
    state = OrderedDict(network.state_dict())
    for key, value in weights.items():
        key = key.replace("__", ".")
        if value is None:
            del state[key]
        else:
            state[key] = value
    return {"ae_state_dict": state}


class TestRefused:
    @pytest.mark.parametrize("place", ["epoch", "y", "mu", "more"])
    def test_nothing_is_run(self, tmp_path, place):
        trap = tmp_path / "it_was_run"
        path = save(checkpoint(Published(clusters=True)) | {place: [Opens(trap)]}, tmp_path / "a.pth.tar")
        with pytest.raises(ModelFormatError, match=r"`a.pth.tar` names `\w+\.mkdir`, .* nothing of it was run"):
            import_scdeepcluster(path)
        assert not trap.exists()

    def test_no_other_function_of_numpy(self, tmp_path):
        path = save(checkpoint(Published(clusters=True)) | {"y": CallsNumpy()}, tmp_path / "a.pth.tar")
        with pytest.raises(ModelFormatError, match=r"names `numpy\.\w*\.?fromfile`|names `numpy\.fromfile`"):
            import_scdeepcluster(path)

    def test_an_array_of_objects_runs_nothing(self, tmp_path):
        trap = tmp_path / "it_was_run"
        path = save(checkpoint(Published(clusters=True), np.array([Opens(trap)], dtype=object)), tmp_path / "a.pth.tar")
        with pytest.raises(ModelFormatError, match="nothing of it was run"):
            import_scdeepcluster(path)
        assert not trap.exists()

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            ([1, 2], "has no weights of scDeepCluster in `ae_state_dict` or `state_dict`. Provide `AE_weights.pth.tar`"),
            ({"ae_state_dict": {}}, "has no weights of scDeepCluster"),
            ({"state_dict": {"a": 3}}, "has no weights of scDeepCluster"),
            ({"state_dict": nn.Linear(2, 3).state_dict()}, "it lacks `_dec_disp.0.weight`"),
        ],
    )
    def test_other_files(self, tmp_path, content, says):
        with pytest.raises(ModelFormatError, match=says):
            import_scdeepcluster(save(content, tmp_path / "a.pth.tar"))

    @pytest.mark.parametrize(
        ("weights", "says"),
        [
            ({"encoder__2__bias": None}, "lacks the weights `encoder.2.bias`"),
            ({"more__weight": torch.zeros(2, 2)}, "has the weights `more.weight`, which scDeepCluster does not have"),
            (
                {"encoder__2__bias": torch.zeros(99)},
                r"`encoder.2.bias` of `a.pth.tar` is of shape \(99,\), and \(6,\) was expected",
            ),
            ({"_dec_pi__0__bias": torch.full((N_GENES,), torch.nan)}, "holds NaN or infinite numbers"),
            ({"_dec_pi__0__bias": torch.zeros(N_GENES, dtype=torch.int64)}, "is not an ordinary array"),
            ({"_dec_pi__0__weight": torch.zeros(1, 1).expand(N_GENES, 8)}, "is not an ordinary array"),
            ({"_enc_mu__weight": torch.zeros(6)}, r"`_enc_mu.weight` of `a.pth.tar` must have two dimensions"),
            ({"encoder__0__weight": torch.zeros(8, 999)}, "the encoder has 999 inputs, and the decoder 30 genes and 0 more inputs"),
            ({"decoder__0__weight": torch.zeros(6, 1)}, "do not belong together"),
            ({"mu": torch.zeros(3, 99)}, r"`mu` of `a.pth.tar` is of shape \(3, 99\), and \(3, 4\)"),
            ({"mu": torch.zeros(4)}, "`mu` of `a.pth.tar` is of shape"),
        ],
    )
    def test_weights_that_do_not_belong_together(self, tmp_path, weights, says):
        with pytest.raises(ModelFormatError, match=says):
            import_scdeepcluster(save(changed(Published(), **weights), tmp_path / "a.pth.tar"))

    def test_another_decoder(self, tmp_path):
        with pytest.raises(ModelFormatError, match=r"the widths of the encoder in reverse, \(6, 8\), and has \(5, 8\)"):
            import_scdeepcluster(save(pretrained(Published(decoder=(5, 8))), tmp_path / "a.pth.tar"))

    def test_files_that_are_not_in_the_zip_format(self, tmp_path):
        with pytest.raises(ModelNotFoundError, match="not found. Check the path"):
            import_scdeepcluster(tmp_path / "nothing.pth.tar")
        old = save(pretrained(Published()), tmp_path / "old.pth.tar", _use_new_zipfile_serialization=False)
        with pytest.raises(ModelFormatError, match="zip format of PyTorch. Provide `AE_weights.pth.tar` or"):
            import_scdeepcluster(old)
        path = save(pretrained(Published()), tmp_path / "cut.pth.tar")
        path.write_bytes(path.read_bytes()[:-500])
        with pytest.raises(ModelFormatError, match="may be truncated"):
            import_scdeepcluster(path)

    def test_a_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ModelFormatError, match="cannot be read"):
            import_scdeepcluster(tmp_path / "pipe")

    def test_a_checkpoint_of_another_program(self, tmp_path):
        path = save(lightning_checkpoint(*published_mlp()) | {"hyper_parameters": {}}, tmp_path / "a.ckpt")
        with pytest.raises(ModelFormatError):
            import_scdeepcluster(path)
