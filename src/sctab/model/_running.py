"""Training by scvi-tools' runner, which leaves on a model what its users expect there: `history`, `trainer`, the split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scvi.train import TrainRunner
from torch import Tensor

from sctab.model._base import CellTypeClassifier
from sctab.train import TrainingData, TrainingResult, TrainingSettings, fit_network


def fit(
    model: CellTypeClassifier,
    data: TrainingData,
    settings: TrainingSettings,
    *,
    penalty: Callable[[Any], Tensor] | None = None,
    **options: Any,
) -> TrainingResult:
    """Train the network of a model by gradient, see :func:`sctab.train.fit_network`."""

    def run(plan: Any, batches: Any, **trainer_kwargs: Any) -> Any:
        runner = _Runner(model, plan, batches, simple_progress_bar=False, **trainer_kwargs)
        runner()
        return runner.trainer

    return fit_network(
        model.module,
        model.spec,
        data,
        settings,
        run=run,
        write_checkpoint=model.write_checkpoint,
        is_new=not model.is_trained and not model._has_pretrained_weights,
        penalty=penalty,
        **options,
    )


class _Runner(TrainRunner):
    """Trains and keeps the history also of a training that ended early; scvi-tools' prints a line on every exception."""

    def _run_training_core(self) -> None:
        try:
            self.trainer.fit(self.training_plan, self.data_splitter, ckpt_path=self.ckpt_path)
        finally:
            self._update_history()
        for part, of_splitter in (("train", "train"), ("test", "test"), ("validation", "val")):
            setattr(self.model, f"{part}_indices", getattr(self.data_splitter, f"{of_splitter}_idx", None))
        self.model.module.eval()
        self.model.is_trained_ = True
        self.model.to_device(self.device)
        self.model.trainer = self.trainer
