"""Outputs of `sctab cluster`: data, model, weights, and the text files of the published program."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

import sctab
import sctab.inference
import sctab.io
import sctab.metrics
from sctab.cli._files import check_suffix, write_data
from sctab.cli._reporting import out
from sctab.errors import SettingError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from sctab.model import SCDeepCluster

_FINISHED = "outputs.json"
"""Note in a run directory on the outputs that its run has written."""


@dataclass(frozen=True)
class ClusterFiles:
    """Places of the outputs; those that are not requested are `None`."""

    output: Path | None = None
    save_model: Path | None = None
    ae_weight_file: Path | None = None
    final_latent_file: Path | None = None
    predict_label_file: Path | None = None

    @property
    def places(self) -> list[Path]:
        """Outputs that are requested."""
        return [place for place in vars(self).values() if place is not None]

    def check(self, *, overwrite: bool) -> None:
        """Refuse outputs that could not be written, before any work is done.

        Raises
        ------
        SettingError
            If there is none.
        DataFileError
            If `output` has another suffix than those that are written.
        OutputExistsError, OutputError
            If one exists, or must not be replaced.
        """
        if not self.places:
            raise SettingError("Nothing would be written. Provide `--output clustered.h5ad`.")
        if self.output is not None:
            check_suffix(self.output)
        for place in self.places:
            if place == self.save_model:
                sctab.inference.require_replaceable(place, overwrite=overwrite)
            else:
                sctab.io.check_free(place, overwrite=overwrite)

    def write(
        self, adata: AnnData, model: SCDeepCluster, pretrained: Mapping[str, Any], key_added: str, *, overwrite: bool
    ) -> None:
        """Write all outputs beside their places, then move them there.

        Raises
        ------
        OutputExistsError, OutputError
            If one exists or cannot be written.
        """
        import numpy as np  # here, since help loads nothing

        with ExitStack() as stack:
            beside = {
                place: stack.enter_context(
                    sctab.io.written_beside(place, overwrite=overwrite, kind="model" if place == self.save_model else None)
                )
                for place in self.places
            }
            if self.output is not None:
                write_data(adata, beside[self.output], target=self.output)
            if self.save_model is not None:
                model.save(beside[self.save_model])
            if self.ae_weight_file is not None:
                sctab.zoo.export_scdeepcluster(pretrained, beside[self.ae_weight_file])
            if self.final_latent_file is not None:
                is_missing = adata.obs[key_added].isna().to_numpy()
                latent = np.where(is_missing[:, None], np.nan, adata.obsm[f"X_{key_added}"])
                np.savetxt(beside[self.final_latent_file], latent, fmt="%.9g", delimiter=",")
            if self.predict_label_file is not None:
                np.savetxt(beside[self.predict_label_file], as_integers(adata.obs[key_added]), fmt="%d")


class Finished:
    """Note in a run directory on the outputs of a finished run, by which the same run knows that there is nothing to do.

    Parameters
    ----------
    directory
        The run directory; without one, nothing is noted.
    inputs
        Files that are read.
    settings
        All that decides the outputs besides.
    """

    def __init__(self, directory: Path | None, inputs: Iterable[Path], settings: Mapping[str, Any]) -> None:
        self._place = None if directory is None else directory / _FINISHED
        values = [_states(inputs), {key: repr(value) for key, value in settings.items()}]
        self._run = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def has(self, outputs: Sequence[Path]) -> bool:
        """Return whether the same run has written all outputs, and they are as it has written them."""
        if self._place is None:
            return False
        with suppress(OSError, ValueError):
            note = sctab.io.strict_json.read(self._place)
            return bool(note == json.loads(json.dumps({"run": self._run, "outputs": _states(outputs)})))
        return False

    def keep(self, outputs: Sequence[Path]) -> None:
        """Note down that the outputs are written."""
        if self._place is not None and self._place.parent.is_dir():
            with sctab.io.written_beside(self._place, overwrite=True) as beside:
                beside.write_text(json.dumps({"run": self._run, "outputs": _states(outputs)}), encoding="utf-8")


def as_integers(clusters: pd.Series) -> NDArray[np.int64]:
    """Clusters as integers, `(n_obs,)`, with -1 for a cell without one.

    Examples
    --------
    >>> import pandas as pd
    >>> as_integers(pd.Series(["1", None, "0"], dtype="category"))
    array([ 1, -1,  0])
    """
    import pandas as pd  # here, since help loads nothing

    found = pd.to_numeric(clusters.astype(object), errors="coerce")
    return found.fillna(-1).to_numpy().astype("int64")


def run_directory(outputs: Sequence[Path], *, resumes: bool) -> Path | None:
    """A directory beside the first output: that of a run that is resumed, or a new one."""
    if not outputs:
        return None
    path = outputs[0].with_name(f"{outputs[0].name}.run")
    if resumes or not path.exists():
        return path
    return next(name for i in count(1) if not (name := path.with_name(f"{path.name}-{i}")).exists())


def report_clusters(adata: AnnData, key_added: str, labels_key: str | None) -> None:
    """Print the sizes of the clusters, and how they agree with known labels."""
    clusters = adata.obs[key_added]
    table = Table("cluster", "cells", box=None)
    sizes = clusters.value_counts(sort=False)
    for name in sorted(sizes.index, key=int):
        table.add_row(str(name), f"{sizes[name]:,}")
    out.print(table)
    n_without = int(clusters.isna().sum())
    have = "cell has" if n_without == 1 else "cells have"
    rest = f" {n_without:,} {have} no count in the genes that are used, and no cluster." if n_without else ""
    out.print(f"Found {int((sizes > 0).sum())} clusters of {len(clusters) - n_without:,} cells.{rest}", soft_wrap=True)
    if labels_key is None:
        return
    scores = sctab.metrics.cluster_scores(*(adata.obs[key].to_numpy(dtype=object) for key in (labels_key, key_added)))
    told = ", ".join(f"{name} {scores[key]:.4f}" for key, name in (("nmi", "NMI"), ("ari", "ARI"), ("accuracy", "accuracy")))
    out.print(f"Agreement with `{labels_key}`: {told}.", soft_wrap=True)


def _states(places: Iterable[Path]) -> dict[str, Any]:
    """Sizes and times of the last write of files, and of all files in directories."""
    found: dict[str, Any] = {}
    for place in places:
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        found[str(place.absolute())] = [
            [str(file.relative_to(place)), file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.is_file()
        ]
    return found
