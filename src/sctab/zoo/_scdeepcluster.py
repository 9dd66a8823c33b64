"""Weights of the published scDeepCluster, read and written under its names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from sctab.errors import InputValueError, ModelFormatError, ModelNotFoundError, listing
from sctab.io import as_path, check_free, written_beside
from sctab.zoo._published_model import check_tensor
from sctab.zoo._untrusted import read_tensors, sha256

_PUBLISHED = {"latent": "_enc_mu", "mean": "_dec_mean.0", "dispersion": "_dec_disp.0", "dropout": "_dec_pi.0"}
"""Published names of layers that are called differently here."""
_CENTROIDS = "mu"
_STATES = ("ae_state_dict", "state_dict")
"""Keys of the weights in `AE_weights.pth.tar` and in `FTcheckpoint_N.pth.tar`."""
_LAYER = re.compile(r"(encoder|decoder)\.(\d+)\.weight")
_NUMPY = re.compile(r"numpy\.(ndarray|dtype|_?core\.multiarray\.(_reconstruct|scalar))|(builtins|__builtin__)\.bytes")
"""Names that a file needs for its NumPy arrays: labels and clusters, which are not read."""
_PROVIDE = "`AE_weights.pth.tar` or `FTcheckpoint_N.pth.tar`, which the published scDeepCluster writes"
_ANOTHER = f"Provide {_PROVIDE}."


@dataclass(frozen=True)
class PublishedAutoencoder:
    """Weights of the published scDeepCluster, under the names of :class:`sctab.nn.ZINBAutoencoder`, and what their shapes say."""

    weights: Mapping[str, Tensor] = field(repr=False)
    """Weights of the autoencoder, float32, such as `encoder.0.weight`, `(256, n_genes + n_batches)`."""
    n_genes: int
    """Genes, in the order of the data that the weights were learned from."""
    n_batches: int
    """Batches; 0 where there are none."""
    n_latent: int
    """Dimensions of the latent representation."""
    encoder: tuple[int, ...]
    """Widths of the hidden layers of the encoder; those of the decoder are the same, in reverse."""
    centroids: Tensor | None = field(repr=False)
    """Centroids of the clusters, `(n_clusters, n_latent)`; `None` after pretraining alone."""
    epoch: int | None
    """Epoch of the clustering, counted from 1; `None` after pretraining alone."""
    source: str
    """Name of the file."""
    sha256: str
    """Hash of the file."""

    def require(self, *, n_genes: int | None = None, n_batches: int | None = None) -> None:
        """Refuse data that the weights are not for, by its numbers of genes and of batches.

        Raises
        ------
        ModelFormatError
            If one of them differs.
        """
        for what, given, found in (("genes", n_genes, self.n_genes), ("batches", n_batches, self.n_batches)):
            if given is not None and given != found:
                raise ModelFormatError(
                    f"`{self.source}`: the weights are for {found:,} {what}, and the data has {given:,}. {_FIX[what]}"
                )


def import_scdeepcluster(
    path: str | PathLike[str], *, n_genes: int | None = None, n_batches: int | None = None
) -> PublishedAutoencoder:
    """Weights that the published scDeepCluster has written; see :doc:`/clustering`.

    Nothing that the file holds is run. Tensors and plain values are made of it; its NumPy arrays, which are labels and clusters of the
    cells, are not read.

    Parameters
    ----------
    path
        `AE_weights.pth.tar`, the autoencoder after pretraining, or `FTcheckpoint_N.pth.tar`, the network while it clusters.
    n_genes
        Number of genes of the data that the weights are for; by default any.
    n_batches
        Number of its batches; by default any.

    Returns
    -------
    The weights under the names of this package, the sizes of the network, and the centroids where the file has them.

    Raises
    ------
    ModelNotFoundError
        If the file does not exist.
    ModelFormatError
        If the file is damaged or another one, if it names what may run code, if a weight is NaN or infinite, or if the weights are for
        another number of genes or batches.

    Examples
    --------
    >>> import sctab
    >>> published = sctab.zoo.import_scdeepcluster("AE_weights.pth.tar", n_genes=adata.n_vars)  # doctest: +SKIP
    >>> model.load_pretrained(published.weights)  # doctest: +SKIP
    >>> model.train(pretrain_epochs=0)  # doctest: +SKIP

    References
    ----------
    Tian et al. (2019), Clustering single-cell RNA-seq data with a model-based deep learning approach.
    """
    file = as_path(path)
    if not file.exists():
        raise ModelNotFoundError(f"`{file}` not found. Check the path.")
    content = read_tensors(file, name=file.name, stand_ins=_stand_in, provide=_PROVIDE)
    state = _state_of(content, file.name)
    published = _describe(state, content, name=file.name, digest=sha256(file))
    published.require(n_genes=n_genes, n_batches=n_batches)
    return published


_FIX = {
    "genes": "Provide the data that they were learned from, with the same genes in the same order; the published program leaves out "
    "genes and cells without a count, and selects genes if its options say so.",
    "batches": "Provide the data that they were learned from, with its batches.",
}


def export_scdeepcluster(weights: Mapping[str, Tensor], path: str | PathLike[str], *, overwrite: bool = False) -> None:
    """Write the weights of an autoencoder so that the published scDeepCluster reads them, as its `--ae_weights`.

    Parameters
    ----------
    weights
        Weights by the names of :class:`sctab.nn.ZINBAutoencoder`. Those that the published network does not have after pretraining, the
        centroids and what standardises the input, are left out.
    path
        File to write, such as `AE_weights.pth.tar`.
    overwrite
        Replace an existing file.

    Raises
    ------
    InputValueError
        If weights of the autoencoder are missing.
    OutputExistsError, OutputError
        If `path` already exists or cannot be written.

    Examples
    --------
    >>> import sctab
    >>> sctab.zoo.export_scdeepcluster(model.module.state_dict(), "AE_weights.pth.tar")  # doctest: +SKIP
    """
    target = as_path(path)
    check_free(target, overwrite=overwrite)
    state = {_published_name(key): value.detach().cpu().clone() for key, value in weights.items() if _is_layer(key)}
    needed = {f"{_published_name(layer)}.weight" for layer in ("encoder.0", "decoder.0", *_PUBLISHED)}
    if missing := sorted(needed - set(state)):
        raise InputValueError(
            f"`weights` must be those of a `ZINBAutoencoder`, and lacks {listing(missing)}. Provide its `state_dict`."
        )
    with written_beside(target, overwrite=overwrite, kind="file") as beside:
        torch.save({"ae_state_dict": state, "optimizer_state_dict": {}}, beside)


def _stand_in(name: str) -> type | None:
    """A class that takes anything and keeps nothing, for what makes a NumPy array."""
    module, _, last = name.rpartition(".")
    if not _NUMPY.fullmatch(name):
        return None
    return type(last, (), {"__module__": module, "__init__": _takes, "__setstate__": _takes, "__slots__": ()})


def _takes(_: Any, *__: Any) -> None:
    """Take anything."""


def _state_of(content: Any, name: str) -> dict[str, Tensor]:
    """The weights by their published names; a file of :func:`torch.save` may have nothing but these."""
    content = content if isinstance(content, dict) else {}
    state: Any = next((content[key] for key in _STATES if key in content), content)
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelFormatError(f"`{name}` has no weights of scDeepCluster in `ae_state_dict` or `state_dict`. {_ANOTHER}")
    needed = {f"{_published_name(layer)}.weight" for layer in ("encoder.0", "decoder.0", *_PUBLISHED)}
    if missing := sorted(needed - set(state)):
        raise ModelFormatError(f"`{name}` has no weights of scDeepCluster: it lacks {listing(missing)}. {_ANOTHER}")
    return {str(key): value for key, value in state.items()}


def _describe(state: Mapping[str, Tensor], content: Any, *, name: str, digest: str) -> PublishedAutoencoder:
    encoder, decoder = (_widths(state, part, name) for part in ("encoder", "decoder"))
    n_latent, n_genes = _rows(state, "_enc_mu", name), _rows(state, "_dec_mean.0", name)
    n_batches = _columns(state, "decoder.0", name) - n_latent
    if decoder != encoder[::-1]:
        raise ModelFormatError(
            f"`{name}`: the decoder must have the widths of the encoder in reverse, {encoder[::-1]}, and has {decoder}. {_ANOTHER}"
        )
    if min(n_latent, n_genes, *encoder) < 1 or n_batches < 0 or _columns(state, "encoder.0", name) != n_genes + n_batches:
        raise ModelFormatError(
            f"`{name}`: the weights do not belong together: the encoder has {_columns(state, 'encoder.0', name):,} inputs, and the decoder "
            f"{n_genes:,} genes and {n_batches} more inputs than the {n_latent} latent dimensions. {_ANOTHER}"
        )
    shapes = _shapes(encoder, n_genes=n_genes, n_batches=n_batches, n_latent=n_latent)
    expected = {_published_name(key): shape for key, shape in shapes.items()}
    if missing := sorted(set(expected) - set(state)):
        raise ModelFormatError(f"`{name}` lacks the weights {listing(missing)}. {_ANOTHER}")
    if unknown := sorted(set(state) - set(expected) - {_CENTROIDS}):
        raise ModelFormatError(f"`{name}` has the weights {listing(unknown)}, which scDeepCluster does not have. {_ANOTHER}")
    weights = {key: _checked(state, _published_name(key), shape, name) for key, shape in shapes.items()}
    centroids = state.get(_CENTROIDS)
    n_clusters = centroids.shape[0] if centroids is not None and centroids.ndim == 2 else 0
    epoch = content.get("epoch")
    return PublishedAutoencoder(
        weights=weights,
        n_genes=n_genes,
        n_batches=n_batches,
        n_latent=n_latent,
        encoder=encoder,
        centroids=None if centroids is None else _checked(state, _CENTROIDS, (max(n_clusters, 1), n_latent), name),
        epoch=epoch if isinstance(epoch, int) else None,
        source=name,
        sha256=digest,
    )


def _shapes(encoder: tuple[int, ...], *, n_genes: int, n_batches: int, n_latent: int) -> dict[str, tuple[int, ...]]:
    """Shapes of all weights by our names."""
    layers: dict[str, tuple[int, int]] = {}
    for part, widths in (
        ("encoder", (n_genes + n_batches, *encoder)),
        ("decoder", (n_latent + n_batches, *encoder[::-1])),
    ):
        layers |= {f"{part}.{2 * i}": (after, before) for i, (before, after) in enumerate(pairwise(widths))}
    layers |= {"latent": (n_latent, encoder[-1])} | dict.fromkeys(("mean", "dispersion", "dropout"), (n_genes, encoder[0]))
    return {f"{layer}.{what}": shape[:n] for layer, shape in layers.items() for what, n in (("weight", 2), ("bias", 1))}


def _checked(state: Mapping[str, Tensor], key: str, shape: tuple[int, ...], name: str) -> Tensor:
    return check_tensor(state[key], torch.empty(shape, device="meta"), f"`{key}` of `{name}`").detach().clone()


def _widths(state: Mapping[str, Tensor], part: str, name: str) -> tuple[int, ...]:
    numbers = sorted(int(found[2]) for key in state if (found := _LAYER.fullmatch(key)) and found[1] == part)
    return tuple(_rows(state, f"{part}.{number}", name) for number in numbers)


def _rows(state: Mapping[str, Tensor], layer: str, name: str) -> int:
    return _shape(state, layer, name)[0]


def _columns(state: Mapping[str, Tensor], layer: str, name: str) -> int:
    return _shape(state, layer, name)[1]


def _shape(state: Mapping[str, Tensor], layer: str, name: str) -> tuple[int, int]:
    weight = state[f"{layer}.weight"]
    if weight.ndim != 2:
        raise ModelFormatError(
            f"`{layer}.weight` of `{name}` must have two dimensions, and has the shape {tuple(weight.shape)}. {_ANOTHER}"
        )
    return int(weight.shape[0]), int(weight.shape[1])


def _is_layer(key: str) -> bool:
    """Return whether a weight is one of the published network before it clusters."""
    return key.split(".")[0] in {"encoder", "decoder", *_PUBLISHED}


def _published_name(key: str) -> str:
    first, _, rest = key.partition(".")
    return ".".join(filter(None, (_PUBLISHED.get(first, first), rest)))
