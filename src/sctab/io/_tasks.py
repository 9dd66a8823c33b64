"""Tasks shared out among threads, or among the workers of a Dask cluster where a client of one is in use.

The latter needs `distributed`, which is optional and is not imported here: a process with a client has already imported it.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sctab.errors import ClusterError, Parameter, SettingError

_TASKS_PER_THREAD = 2
"""So many tasks for each thread of a cluster are under way at a time: enough that none waits."""
Arguments = Callable[[int], tuple[Any, ...]]
OnProgress = Callable[[str, int, int], None]


def client_in_use() -> Any:
    """The `distributed.Client` that is in use, or `None`."""
    distributed = sys.modules.get("distributed")
    try:
        return None if distributed is None else distributed.get_client()
    except ValueError:
        return None


def run_tasks[T](
    work: Callable[..., T], arguments: Arguments, n: int, *, n_jobs: int, stage: str, on_progress: OnProgress
) -> list[T]:
    """Results of `work(*arguments(0))` to `work(*arguments(n - 1))`.

    The first error ends it, and so does an interrupt: what has not begun never does. In threads what has begun is finished first; workers
    of a cluster finish it by themselves, so that tasks have to stand being done twice, also at the same time.

    Parameters
    ----------
    work
        A function that can be sent to another process, and so can its arguments and its result.
    arguments
        From the number of a task to its arguments; called when the task is about to begin.
    n
        Number of tasks.
    n_jobs
        Threads, where there is no cluster.
    stage, on_progress
        `on_progress` is called with `stage`, how many are done, and how many there are.

    Raises
    ------
    ClusterError
        If workers are lost repeatedly over a task.
    SettingError
        If the cluster has no workers.
    """
    client = client_in_use()
    if client is None:
        return _in_threads(work, arguments, n, max(1, n_jobs), stage, on_progress)
    return _on_cluster(client, work, arguments, n, stage, on_progress)


def _in_threads[T](
    work: Callable[..., T], arguments: Arguments, n: int, n_jobs: int, stage: str, on_progress: OnProgress
) -> list[T]:
    results: list[T] = []
    with ThreadPoolExecutor(n_jobs, thread_name_prefix="sctab-corpus") as pool:
        futures = [pool.submit(lambda number: work(*arguments(number)), number) for number in range(n)]
        try:
            for done, future in enumerate(futures, 1):
                results.append(future.result())
                on_progress(stage, done, n)
        except BaseException:
            for future in futures:
                future.cancel()
            raise
    return results


def _on_cluster[T](
    client: Any, work: Callable[..., T], arguments: Arguments, n: int, stage: str, on_progress: OnProgress
) -> list[T]:
    distributed = sys.modules["distributed"]
    n_threads = sum(client.nthreads().values())
    if n_threads == 0:
        raise SettingError("The Dask cluster has no workers. Start some, and run again.")
    results: dict[int, T] = {}
    under_way: dict[Any, int] = {}
    todo = iter(range(n))
    finished = distributed.as_completed()

    def submit() -> None:
        number = next(todo, None)
        if number is not None:
            future = client.submit(_quietly, work, *arguments(number), pure=False)
            under_way[future] = number
            finished.add(future)

    try:
        for _ in range(_TASKS_PER_THREAD * n_threads):
            submit()
        for future in finished:
            results[under_way[future]] = future.result()
            del under_way[future]
            on_progress(stage, len(results), n)
            submit()
    except (distributed.KilledWorker, distributed.CancelledError) as error:
        raise ClusterError(
            "Workers of the Dask cluster are lost repeatedly. Check their logs: most often they lack memory. Increase it, or "
            "use fewer threads per worker, and resume with ",
            Parameter("resume", value=True),
            ".",
        ) from error
    finally:
        client.cancel(list(under_way))
    return [results[number] for number in range(n)]


class _Quiet:
    """No warnings while any thread is inside. Filters are of the process: with `catch_warnings` alone, who leaves first ends it for all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings(action="ignore")

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._filters = warnings.catch_warnings(action="ignore")
                self._filters.__enter__()
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)


_QUIET = _Quiet()


def _quietly[T](work: Callable[..., T], *arguments: Any) -> T:
    """Do a task on a worker, whose warnings would reach a log at best; what a user should know is in its result."""
    with _QUIET:
        return work(*arguments)
