"""The progress of a training: a bar over its epochs, with a title."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import ProgressBar
from tqdm.auto import tqdm  # type: ignore[import-untyped]

from sctab.io import progress_title


class EpochBar(ProgressBar):
    """A bar on stderr over the epochs of a training, with what is trained, loss and validation."""

    def __init__(self) -> None:
        super().__init__()
        self.bar: Any = None
        self._is_enabled = True

    def disable(self) -> None:
        """Show nothing: Lightning asks for it in all processes but the first."""
        self._is_enabled = False

    def enable(self) -> None:
        """Show the bar."""
        self._is_enabled = True

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin at the epoch at which the training begins."""
        super().on_train_start(trainer, pl_module)
        self.bar = tqdm(
            desc=progress_title("Training"),
            total=trainer.max_epochs,
            initial=trainer.current_epoch,
            unit="epoch",
            disable=not self._is_enabled,
            dynamic_ncols=True,
        )

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Count the epoch."""
        super().on_train_epoch_end(trainer, pl_module)
        self.bar.set_postfix(self.get_metrics(trainer, pl_module), refresh=False)
        self.bar.update()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Leave the bar as it is, also after an error."""
        super().teardown(trainer, pl_module, stage)
        if self.bar is not None:
            self.bar.close()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the bar, which belongs to a terminal."""
        return self.__dict__ | {"bar": None}
