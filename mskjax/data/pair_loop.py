"""All pairs of images and masks finished in turn, here or in processes of their own: what came out, and what failed."""

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from queue import SimpleQueue
from typing import Generic, TypeVar

from absl import logging
from tqdm import tqdm

from mskjax.data import splits
from mskjax.data.pairs import Pair
from mskjax.files import FULL

T = TypeVar("T")
_SILENT_S = 300.0  # for so long at most, where there is no progress bar


@dataclass(frozen=True)
class Finished(Generic[T]):
    """What became of a pair, its fingerprint, whether it was kept from an earlier run, or made anew as that was harmed.

    `remarks` are warnings for the user.
    """

    case: T
    fingerprint: str
    was_kept: bool
    remarks: tuple[str, ...] = ()
    was_harmed: bool = False


def finish_all(
    pairs: Sequence[Pair], finish: Callable[[Pair], Finished[T]], workers: int = 1
) -> tuple[dict[int, Finished[T]], dict[str, str]]:
    """What is finished, by place in `pairs`, and what failed with why; a progress bar on a terminal.

    Elsewhere there is a line for each tenth of the pairs and every five minutes, unless all so far were kept from an
    earlier run. With more than one of `workers`, each pair is finished in one of so many processes, and a process that
    dies fails its pair alone. Remarks are logged here, as those processes' own logs are nobody's. Raises `OSError`
    where the disk is full, as all others would fail too.
    """
    good: dict[int, Finished[T]] = {}
    failed: dict[str, str] = {}
    kept, total, said_s = 0, len(pairs), time.monotonic()
    bar = tqdm(pairs, desc="prepare", unit="case", disable=None)
    results = _in_processes(pairs, finish, workers) if workers > 1 else _here(pairs, finish)
    with closing(results), _told_when_full(good, total):
        for i, (pair, result) in enumerate(zip(bar, results, strict=True)):
            if isinstance(result, Finished):
                good[i] = result
                kept += result.was_kept
                for remark in result.remarks:
                    logging.warning("%s", remark)
            else:
                failed[_name(pair)] = _without_name(result, pair)
            due = 10 * (i + 1) // total > 10 * i // total or time.monotonic() - said_s > _SILENT_S
            if bar.disable and kept <= i and due:
                said = f"prepared {len(good)} of {splits.counted(total, 'case')}"
                logging.info(said + f", {i + 1 - len(good)} failed" * (i + 1 > len(good)))
                said_s = time.monotonic()
    return good, failed


@contextmanager
def _told_when_full(good: Sized, total: int) -> Iterator[None]:
    """Says in a sentence that the disk is full, and what is finished by then."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise OSError(
            "no space is left on the disk; make room and run the same command again: "
            f"{len(good)} of {splits.counted(total, 'case')} are finished and kept"
        ) from error


def _attempt(finish: Callable[[Pair], Finished[T]], pair: Pair) -> Finished[T] | str:
    """What became of a pair, or why nothing did."""
    try:
        return finish(pair)
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        return " ".join(str(error).split())


def _here(pairs: Iterable[Pair], finish: Callable[[Pair], Finished[T]]) -> Generator[Finished[T] | str, None, None]:
    for pair in pairs:
        yield _attempt(finish, pair)


def _in_processes(
    pairs: Iterable[Pair], finish: Callable[[Pair], Finished[T]], workers: int
) -> Generator[Finished[T] | str, None, None]:
    """The same from `workers` processes, in the order of `pairs`. Each has a pool of its own, to tell who died."""
    idle: SimpleQueue[ProcessPoolExecutor] = SimpleQueue()
    for _ in range(workers):
        idle.put(_process())

    def work(pair: Pair) -> Finished[T] | str:
        process = idle.get()
        try:
            return process.submit(_attempt, finish, pair).result()
        except BrokenProcessPool:
            process.shutdown()
            process = _process()
            return "its process died, of too little memory most likely; give fewer --workers, or leave the image out"
        finally:
            idle.put(process)

    try:
        with ThreadPoolExecutor(workers) as threads:
            yield from threads.map(work, pairs)
    finally:
        for _ in range(workers):
            idle.get().shutdown()


def _process() -> ProcessPoolExecutor:
    # Not forked: threads of the libraries may hold locks. It starts with its first pair.
    return ProcessPoolExecutor(1, get_context("spawn"), initializer=_follow_parent)


def _follow_parent() -> None:
    """Leaves Ctrl-C to the parent, which lets the pairs in hand end, and ends this process with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


def _name(pair: Pair) -> str:
    row = pair.listed_at and f"({pair.listed_at})"
    return " ".join(filter(None, (str(pair.image), pair.case_id, row)))


def _without_name(why: str, pair: Pair) -> str:
    for said in (f"{pair.image}: ", f"{pair.image} "):  # by the name already
        why = why.removeprefix(said)
    return why
