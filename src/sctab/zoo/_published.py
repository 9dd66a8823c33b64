"""Published checkpoints of scTab as models."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from sctab.inference import require_replaceable
from sctab.io import as_path
from sctab.model import CellTypeClassifier, DeepEnsemble
from sctab.ontology import CellOntology, LabelSpace
from sctab.train import warn_about_ids
from sctab.zoo._published_files import read_checkpoint, read_genes, read_hyperparameters, read_labels, read_small
from sctab.zoo._published_model import Identity, build_model
from sctab.zoo._published_runs import Run, Source, find_runs, open_source


def import_checkpoint(
    checkpoint: str | PathLike[str],
    *,
    genes: str | PathLike[str],
    labels: str | PathLike[str],
    hparams: str | PathLike[str] | None = None,
    folder: str | None = None,
    output: str | PathLike[str] | None = None,
    overwrite: bool = False,
    description: str | None = None,
    ontology: CellOntology | None = None,
) -> CellTypeClassifier | DeepEnsemble:
    """A published checkpoint of scTab as a model, or several runs as an ensemble; see :doc:`/published`.

    Nothing that the files hold is run. The published TabNet becomes a :class:`~sctab.model.SCTAB`, the linear model a
    :class:`~sctab.model.LinearClassifier` and the perceptron an :class:`~sctab.model.MLPClassifier`, which predict what the published
    code predicts from the same counts.

    Parameters
    ----------
    checkpoint
        A Lightning checkpoint (`.ckpt`), the folder of a run, or a folder or tar archive with several runs of a model. The
        checkpoint of each run with the highest validation macro F1 in its name is imported. An archive is read member by member, never
        unpacked.
    genes
        `var.parquet`, the genes in the order of the model: columns `feature_id` and `feature_name`. `.csv` and `.tsv` are read as well.
    labels
        `cell_type.parquet`, the labels in the order of the model's outputs: column `label`. `.csv` and `.tsv` are read as well.
    hparams
        `hparams.yaml` of the run. By default the one in the folder of the run, if it is there; a checkpoint has a copy of its own, and
        the two must agree.
    folder
        Take only the runs in this folder, where there are several models.
    output
        Model directory to write; by default nothing is written.
    overwrite
        Replace an existing model.
    description
        One line on what the model is for; by default where it comes from.
    ontology
        Gives the labels their ids; by default the newest release that is embedded.

    Returns
    -------
    The model, or a :class:`~sctab.model.DeepEnsemble` of several runs. `spec.training` says which file each was made of.

    Raises
    ------
    ModelNotFoundError, DataFileError
        If a file does not exist, or if genes or labels cannot be read.
    ModelFormatError
        If a file is damaged or names what may run code, or if the files do not belong together.
    OutputExistsError, OutputError
        If `output` already exists or cannot be written.

    Examples
    --------
    >>> import sctab
    >>> ensemble = sctab.zoo.import_checkpoint(  # doctest: +SKIP
    ...     "scTab-checkpoints.tar.gz",
    ...     folder="scTab",
    ...     genes="var.parquet",
    ...     labels="cell_type.parquet",
    ...     output="published",
    ... )
    >>> sctab.tl.annotate(adata, ensemble)  # doctest: +SKIP
    """
    checkpoint, target = as_path(checkpoint), None if output is None else as_path(output)
    if target is not None:
        require_replaceable(target, overwrite=overwrite)
    identity = Identity(
        genes=read_genes(genes),
        labels=LabelSpace.from_names(read_labels(labels), CellOntology.embedded() if ontology is None else ontology),
        description=f"Published checkpoint, imported from {checkpoint.name}" if description is None else description,
    )
    given = None if hparams is None else read_hyperparameters(read_small(as_path(hparams)), name=str(hparams))
    with open_source(checkpoint, workplace=None if target is None else _nearest_folder(target)) as source:
        members = [
            _import_run(source, run, given, identity) for run in find_runs(source.names, folder=folder, where=str(checkpoint))
        ]
    model = members[0] if len(members) == 1 else DeepEnsemble.from_members(members)
    model.name = checkpoint.stem if target is None else target.name
    warn_about_ids(identity.labels)
    if target is not None:
        model.save(target, overwrite=overwrite)
    return model


def _import_run(source: Source, run: Run, given: Mapping[str, Any] | None, identity: Identity) -> CellTypeClassifier:
    if given is None:
        given = {} if run.hparams is None else read_hyperparameters(source.read(run.hparams), name=run.hparams)
    with source.file(run.checkpoint) as path:
        return build_model(read_checkpoint(path, name=run.checkpoint), given, identity, name=run.checkpoint)


def _nearest_folder(path: Path) -> Path:
    """The nearest existing parent folder of a path: no folder is created before everything has been read."""
    return next(folder for folder in path.absolute().parents if folder.is_dir())
