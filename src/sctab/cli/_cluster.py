"""`sctab cluster`: cells without labels, with the options of the published scDeepCluster as well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import sctab
import sctab.io
import sctab.train
from sctab.cli._clustered import ClusterFiles, Finished, report_clusters, run_directory
from sctab.cli._commands import Command
from sctab.cli._files import read_data
from sctab.cli._loading import without_garbage_collection
from sctab.cli._options import CountsLayer, Debug, Modality, Overwrite
from sctab.cli._reporting import ends_on_signals, err, out, reports_errors
from sctab.errors import DataFileError, SettingError, listing
from sctab.keys import DEFAULT_CLUSTERS_KEY, check_key_added

if TYPE_CHECKING:
    from anndata import AnnData

    from sctab.model import SCDeepCluster
    from sctab.zoo import PublishedAutoencoder

_LABELS, _BATCHES = "Y", "batch"
"""Columns of `obs` with what a file of the published program has in `Y` and `B`."""
_PUBLISHED_SUFFIXES = (".h5", ".hdf5")
_PUBLISHED_OUTPUTS = {"final_latent_file": Path("final_latent_file.txt"), "predict_label_file": Path("pred_labels.txt")}
"""Outputs of the published program, where no other ones are requested."""
_DEVICES = {"cuda": "gpu"}
"""Accelerators by the names that the published program has for them."""


class ClusterCommand(Command):
    """A command whose options may be spelled with underscores, as those of the published program."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options."""
        known = {name for parameter in self.get_params(ctx) for name in (*parameter.opts, *parameter.secondary_opts)}
        return super().parse_args(ctx, [_with_dashes(each, known) for each in args])


def _with_dashes(argument: str, known: set[str]) -> str:
    """An option in the spelling of this program; anything else as it is."""
    name, equals, value = argument.partition("=")
    dashed = name.replace("_", "-")
    return dashed + equals + value if name.startswith("--") and dashed in known else argument


@reports_errors
@ends_on_signals
def cluster(
    data: Annotated[
        Path | None,
        typer.Argument(help="Cells to cluster, with counts: `.h5ad`, `.zarr`, 10x `.h5`, the `.h5` of scDeepCluster, …"),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Data with the clusters to write, `.h5ad` or `.zarr`.")] = None,
    data_file: Annotated[Path | None, typer.Option(help="The cells, as the published program calls them.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Model whose clusters the cells are assigned to; by default one is trained.")
    ] = None,
    layer: CountsLayer = None,
    modality: Modality = None,
    batch_key: Annotated[
        str | None, typer.Option(help="Column of `obs` with batches; by default those in `B` of a file of scDeepCluster.")
    ] = None,
    labels_key: Annotated[
        str | None,
        typer.Option(
            help="Column of `obs` with known labels, to compare with; by default those in `Y` of a file of scDeepCluster."
        ),
    ] = None,
    n_clusters: Annotated[int, typer.Option(help="Number of clusters; 0 estimates it.")] = 0,
    n_top_genes: Annotated[
        int, typer.Option("--n-top-genes", "--select-genes", help="Number of genes to select; 0 uses all genes with a count.")
    ] = 0,
    ae_weights: Annotated[
        Path | None,
        typer.Option(help="Weights of the published program to start from, instead of a pretraining, and clusters if it has them."),
    ] = None,
    n_latent: Annotated[int | None, typer.Option(help="Size of the latent; 32, or that of `--ae-weights`.")] = None,
    sigma: Annotated[float, typer.Option(help="Standard deviation of the noise on the input of the autoencoder.")] = 2.5,
    gamma: Annotated[float, typer.Option(help="Weight of the clustering loss.")] = 1.0,
    published: Annotated[
        bool, typer.Option("--published", help="Weigh the clustering loss as the published code does, by `--gamma` squared.")
    ] = False,
    pretrain_epochs: Annotated[int, typer.Option(help="Passes that train the autoencoder before there are clusters.")] = 300,
    max_epochs: Annotated[
        int, typer.Option("--max-epochs", "--maxiter", help="Maximum number of passes that train the clusters.")
    ] = 2000,
    batch_size: Annotated[int, typer.Option(help="Cells per step.")] = 256,
    update_interval: Annotated[int, typer.Option(help="Passes between two updates of the clusters.")] = 1,
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", "--tol", help="Fraction of the cells: the training stops when fewer change their cluster."),
    ] = 0.001,
    n_neighbors: Annotated[
        int, typer.Option("--n-neighbors", "--knn", help="Neighbours in the graph that estimates the number of clusters.")
    ] = 20,
    resolution: Annotated[float, typer.Option(help="Resolution of that graph; larger values give more clusters.")] = 0.8,
    community: Annotated[str, typer.Option(help="Algorithm on that graph: `louvain` or `leiden`.")] = "louvain",
    n_init: Annotated[int, typer.Option(help="Random starts of the autoencoder; the best is clustered.")] = 1,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Random seed.")] = 0,
    precision: Annotated[str, typer.Option(help="Precision of training: `32-true` or `64-true`.")] = "32-true",
    accelerator: Annotated[
        str, typer.Option("--accelerator", "--device", help="Device to compute on: `auto`, `cpu`, `gpu` (`cuda`) or `mps`.")
    ] = "auto",
    run_dir: Annotated[
        Path | None,
        typer.Option(
            "--run-dir", "--save-dir", help="Directory for curves and checkpoints; by default the name of the output with `.run`."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted training from its run directory.")] = False,
    save_model: Annotated[Path | None, typer.Option(help="Directory to write the model to, for other cells.")] = None,
    ae_weight_file: Annotated[
        Path | None, typer.Option(help="File to write the pretrained weights to, which the published program reads.")
    ] = None,
    final_latent_file: Annotated[
        Path | None, typer.Option(help="Text file to write the latent to: a line per cell, comma separated.")
    ] = None,
    predict_label_file: Annotated[
        Path | None, typer.Option(help="Text file to write the clusters to: an integer per cell.")
    ] = None,
    key_added: Annotated[str, typer.Option(help="Name of the column of `obs` with the clusters.")] = DEFAULT_CLUSTERS_KEY,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Cluster cells without labels by scDeepCluster (Tian et al. 2019).

    The options of the published program are understood as well, with dashes or underscores. With `--data-file` and no other output, its
    two text files are written: `final_latent_file.txt` and `pred_labels.txt`.

    **Examples**

    `sctab cluster filtered_feature_bc_matrix.h5 --output clustered.h5ad`

    `sctab cluster query.h5ad --layer counts --n-clusters 4 --labels-key cell_type --output clustered.h5ad --save-model my-clusters`

    `sctab cluster --data_file data.h5 --n_clusters 0 --final_latent_file latent.txt --predict_label_file labels.txt`

    `sctab cluster --data-file data.h5 --ae-weights AE_weights.pth.tar --output clustered.h5ad`
    """
    if (data is None) == (data_file is None):
        raise SettingError("Provide the cells once, as an argument or with `--data-file`.")
    check_key_added(key_added, labels_key=labels_key, batch_key=batch_key)
    path: Any = data or data_file
    files = ClusterFiles(output, save_model, ae_weight_file, final_latent_file, predict_label_file)
    if data_file is not None and not files.places:
        files = ClusterFiles(**_PUBLISHED_OUTPUTS)
    for what, place in {"": path, "--ae-weights ": ae_weights, "--model ": model}.items():
        if place is not None and not place.exists():
            raise DataFileError(f"`{what}{place}` not found. Check the path.")
    of_model = {"n_clusters": n_clusters, "n_top_genes": n_top_genes or None, "sigma": sigma, "gamma": gamma}
    of_model |= {} if n_latent is None else {"n_latent": n_latent}
    of_training = {
        "pretrain_epochs": pretrain_epochs,
        "max_epochs": max_epochs,
        "update_interval": update_interval,
        "tolerance": tolerance,
        "batch_size": batch_size,
        "n_neighbors": n_neighbors,
        "resolution": resolution,
        "community": community,
        "n_init": n_init,
        "seed": seed,
        "precision": precision,
        "published": published,
    }
    of_a_training = {"--n-clusters": n_clusters, "--n-top-genes": n_top_genes, "--batch-key": batch_key, "--ae-weights": ae_weights}
    of_a_training |= {"--run-dir": run_dir, "--resume": resume}
    if model is not None and (refused := [name for name, value in of_a_training.items() if value]):
        raise SettingError(
            f"{listing(refused)} cannot be set with `--model`, to whose clusters the cells are assigned. Omit one of them."
        )
    if ae_weight_file is not None and (ae_weights is not None or model is not None):
        raise SettingError("`--ae-weight-file` writes weights of a pretraining, and there is none. Omit it.")
    directory = None if model is not None else run_dir or run_directory(files.places, resumes=resume)
    finished = Finished(
        directory,
        [path, *([ae_weights] if ae_weights is not None else [])],
        of_model | of_training | {"layer": layer, "batch_key": batch_key, "labels_key": labels_key, "key_added": key_added},
    )
    if resume and finished.has(files.places):
        are = "is" if len(files.places) == 1 else "are"
        out.print(f"{listing(map(str, files.places))} {are} finished, by the same run: there is nothing to do.", soft_wrap=True)
        return
    files.check(overwrite=overwrite)
    sctab.io.check_apart(
        [*files.places, *([] if directory is None else [directory])],
        [place for place in (path, ae_weights, model) if place is not None],
    )
    with without_garbage_collection():
        weights = None if ae_weights is None else sctab.zoo.import_scdeepcluster(ae_weights)
    adata = read_data(path, modality)
    if path.suffix.lower() in _PUBLISHED_SUFFIXES and set(adata.obs) <= {_LABELS, _BATCHES}:
        labels_key = labels_key or next((key for key in (_LABELS,) if key in adata.obs), None)
        batch_key = batch_key or next((key for key in (_BATCHES,) if key in adata.obs), None)
    keys = {"layer": layer, "batch_key": batch_key, "labels_key": labels_key}
    pretrained: dict[str, Any] = {}
    if model is None:
        try:
            used, pretrained = _train(
                adata,
                keys,
                of_model,
                of_training,
                weights,
                run_dir=directory,
                resume=resume,
                accelerator=_DEVICES.get(accelerator.split(":")[0], accelerator),
                keeps_pretrained=ae_weight_file is not None,
            )
        except KeyboardInterrupt as stopped:
            stopped.add_note(f"The state of the training is in `{directory}`: run the same command with `--resume` to continue.")
            raise
    else:
        used = sctab.model.SCDeepCluster.load(model, accelerator=_DEVICES.get(accelerator.split(":")[0], accelerator))
    sctab.tl.cluster(adata, used, layer=layer if model is not None else layer or "X", labels_key=labels_key, key_added=key_added)
    files.write(adata, used, pretrained, key_added, overwrite=overwrite)
    finished.keep(files.places)
    report_clusters(adata, key_added, labels_key)
    if directory is not None:
        out.print(f"Wrote the curves to `{directory}`.", soft_wrap=True)
    for place in files.places:
        out.print(f"Wrote `{place}`.", soft_wrap=True)


def _train(
    adata: AnnData,
    keys: dict[str, Any],
    of_model: dict[str, Any],
    of_training: dict[str, Any],
    weights: PublishedAutoencoder | None,
    *,
    run_dir: Path | None,
    resume: bool,
    accelerator: str,
    keeps_pretrained: bool,
) -> tuple[SCDeepCluster, dict[str, Any]]:
    """A trained model, and the weights that it had before it clustered, where these are requested."""
    cells = sctab.train.UnlabeledAnnData.of(adata, **keys)
    if weights is not None:
        of_model = of_model | {"encoder": weights.encoder, "n_latent": of_model.get("n_latent", weights.n_latent)}
    found = sctab.model.SCDeepCluster.of_cells(cells, **of_model)
    options: dict[str, Any] = {"accelerator": accelerator, "resume": resume}
    err.print(f"Clustering {adata.n_obs:,} cells by {len(found.spec.features):,} genes.")
    if weights is not None:
        weights.require(n_genes=len(found.spec.features), n_batches=len(found.spec.category_names))
        found.load_pretrained(weights.weights, centroids=weights.centroids)
        of_training = of_training | {"pretrain_epochs": 0}
    if not keeps_pretrained:
        found.train(**of_training, **options, run_dir=run_dir)
        return found, {}
    places = [None, None] if run_dir is None else [run_dir / "pretraining", run_dir / "clustering"]
    found.train(**of_training | {"max_epochs": 0}, **options, run_dir=places[0])
    pretrained = {name: tensor.detach().cpu().clone() for name, tensor in found.module.state_dict().items()}
    found.train(**of_training | {"pretrain_epochs": 0}, **options, run_dir=places[1])
    return found, pretrained
