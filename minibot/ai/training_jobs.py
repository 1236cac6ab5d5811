"""Training jobs during a run: one at a time, in a thread that only waits for its processes.

The thread hands rows over and waits; the work is done by sandboxed processes at idle priority. The
result is fetched by the clerk's loop, which alone activates and journals.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from minibot.ai.activation import Activation
from minibot.ai.dataset import Dataset
from minibot.ai.training import Trained, TrainingFailed, TrainingSettings, train_snapshot
from minibot.kernel.errors import RunStop
from minibot.kernel.threads import DaemonThread

JOIN_S_MAX = 10.0


class TrainingJobs:
    """Starter of trainings, and holder of their results.

    Args:
        activation: The snapshots and the pointer to the active one.
        ai_root: The folder `var/ai`.
        settings: Settings of a training.
        before_start: Called with a name before each start of a process; may raise a `RunStop`.
    """

    def __init__(
        self,
        activation: Activation,
        ai_root: Path,
        settings: TrainingSettings,
        before_start: Callable[[str], None] = lambda what: None,
    ) -> None:
        self._before_start = before_start
        self._activation = activation
        self._root = ai_root
        self._settings = settings
        self._cancelled = threading.Event()
        self._thread: DaemonThread | None = None
        self._result: Trained | TrainingFailed | RunStop | OSError | None = None

    @property
    def is_busy(self) -> bool:
        """Return whether a training is running, or its result has not been fetched."""
        return self._thread is not None

    def start(self, dataset: Dataset, created_ts: int) -> None:
        """Start a training on a dataset that will not change any more.

        It has failed at once where the system provides no thread.
        """
        self._thread = DaemonThread(lambda: self._train(dataset, created_ts), "ai-training")
        try:
            self._thread.start()
        except RuntimeError as error:
            self._result = TrainingFailed(str(error))

    def _train(self, dataset: Dataset, created_ts: int) -> None:
        try:
            self._result = train_snapshot(
                self._activation,
                self._root,
                dataset,
                self._settings,
                created_ts=created_ts,
                is_cancelled=self._cancelled.is_set,
                before_start=self._before_start,
            )
        except (TrainingFailed, RunStop, OSError) as error:
            # The loop that fetches it raises or reports it.
            self._result = error

    def fetch(self) -> Trained | TrainingFailed | None:
        """Return the result of a finished training, once; None while there is none.

        Raises:
            RunStop: `before_start` refused the start of a process, or the disk refused a file.
            OSError: The system refused another call.
        """
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread.join()
        result, self._thread, self._result = self._result, None, None
        if isinstance(result, RunStop | OSError):
            raise result
        return result if result is not None else TrainingFailed("it ended without a result")

    def end(self) -> None:
        """Cancel a running training and wait for its thread."""
        self._cancelled.set()
        if self._thread is not None:
            self._thread.join(JOIN_S_MAX)
