"""The progress of a training: the steps of the optimiser that are done, with a title, loss and macro F1."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import ProgressBar

from sctab.io import ProgressReport, progress_title


class StepProgress(ProgressBar):
    """Steps of a training, shown as :class:`sctab.io.ProgressReport` does, with loss and validation of the last epoch.

    Parameters
    ----------
    whose
        Remark on the validation cells.
    """

    def __init__(self, whose: str = "") -> None:
        super().__init__()
        self._whose = whose
        self.report = ProgressReport(0, shown=False)
        self._is_enabled = True

    def disable(self) -> None:
        """Show nothing: Lightning asks for it in all processes but the first."""
        self._is_enabled = False

    def enable(self) -> None:
        """Show progress."""
        self._is_enabled = True

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin at the epoch at which the training begins."""
        super().on_train_start(trainer, pl_module)
        of_epoch = int(trainer.num_training_batches)
        total, done = trainer.max_epochs * of_epoch, trainer.current_epoch * of_epoch
        title = progress_title("Training")
        self.report = ProgressReport(total, title, unit="steps", done=done, shown=self._is_enabled)
        self.report.__enter__()

    def on_train_batch_end(self, *_args: Any, **_kwargs: Any) -> None:
        """Count the step."""
        self.report.advance()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Show loss and macro F1 of the epoch."""
        super().on_train_epoch_end(trainer, pl_module)
        metrics = self.get_metrics(trainer, pl_module)
        numbers = {name: float(value) for name, value in metrics.items() if name != "v_num"}  # the version of a logger
        whose = f" ({self._whose})" if self._whose and numbers else ""
        self.report.remark(", ".join(f"{name}={value:.3f}" for name, value in numbers.items()) + whose)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the last line, or leave the bar as it is."""
        super().on_train_end(trainer, pl_module)
        self.report.__exit__(None, None, None)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave the terminal as it was."""
        super().on_exception(trainer, pl_module, exception)
        self.report.__exit__(type(exception), exception, exception.__traceback__)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to a terminal."""
        return self.__dict__ | {"report": ProgressReport(0, shown=False)}
