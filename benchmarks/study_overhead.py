"""What cells of a study at 512x512 spend outside the compiled functions, and whether the host keeps ahead; one line.

    python -m benchmarks.study_overhead --work=FOLDER [--epochs=20]
    python -m benchmarks.study_overhead --work=FOLDER --full

The sweep of three cells of n = 5 on 167 phantoms, in this process, each of its compiled functions timed. The first cell
compiles. In the second every call is waited for: all its time that is in no call is overhead, an upper bound, as in a
true sweep the host works while the device does; here the small network makes steps short and so the share high. In the
third nothing is waited for: the host's part of an update is what it takes to queue one and to come to the next.
--full: the network of the paper, 8 phantoms and one epoch. Figures to reach: overhead below 3 %, one compilation of the
step and one of the evaluation, queueing much faster than computing. FOLDER/study is made anew in every call.
"""

import argparse
import dataclasses
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from benchmarks.common import report
from benchmarks.studies import launch
from configs.data_efficiency import get_config
from mskjax.files import remove
from mskjax.study import cell_run, kinds, sweep

STUDY = {"inits": ("random",), "folds": 3, "draws": 1, "seeds": 1}
SMALL = {"sizes": (5,)}
FULL = {"sizes": (2,), "epochs": 1}
PATIENTS = {False: (204, 37), True: (8, 2)}  # all, and those who test
FUNCTIONS = ("train_step", "evaluate_step", "end_epoch", "predict")


class Watch:
    """The calls of a sweep's compiled functions, cell by cell: name, start, and seconds until the call came back.

    A cell's time is from its beginning, or from the end of the one before, to its DONE.
    """

    def __init__(self):
        self.calls: list[list[tuple[str, float, float]]] = []
        self.compiled: list[Counter[str]] = []
        self.times: list[float] = []

    def begins(self) -> None:
        """Called when a cell takes up its folder."""
        self.times = self.times or [time.perf_counter()]
        self.calls.append([])
        self.compiled.append(Counter())

    def ends(self) -> None:
        """Called when a cell has written that it is done."""
        self.times.append(time.perf_counter())

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A compiled function under watch; in the second cell its results are waited for."""

        def call(*arguments: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments)
            if len(self.calls) == 2:
                jax.block_until_ready(result)
            self.calls[-1].append((name, start, time.perf_counter() - start))
            return result

        return call

    def heard(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        """Counts the compilations that JAX tells of."""
        if event.endswith("backend_compile_duration") and self.compiled:
            self.compiled[-1][str(kwargs["fun_name"]).removeprefix("jit(").removesuffix(")")] += 1

    def median_s(self, cell: int, name: str) -> float:
        """The median seconds of a function's calls in a cell."""
        return statistics.median(seconds for called, _, seconds in self.calls[cell] if called == name)

    def seconds(self, cell: int) -> float:
        """The time of a cell."""
        return self.times[cell + 1] - self.times[cell]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the dataset and the study (3 GB)")
    parser.add_argument("--epochs", type=int, default=20, help="of a cell of the small network")
    parser.add_argument("--full", action="store_true", help="the network of the paper")
    arguments = parser.parse_args()
    (count, tested), full = PATIENTS[arguments.full], arguments.full
    dataset, study = arguments.work / f"dataset_{count}", arguments.work / "study"
    shares = f"--test_fraction={tested / count}", "--validation_fraction=0.2"
    launch("prepare", f"--phantom={count}", "--phantom_size=512", *shares, f"--output={dataset}")
    remove(study)
    config = get_config(f"network={'fcn_resnet101' if full else 'small'}")
    config.update({**STUDY, **(FULL if full else {**SMALL, "epochs": arguments.epochs}), "dataset": str(dataset)})
    watch = watched(config, study)
    calls, compiled = watch.calls[1], sum(watch.compiled, Counter())
    inside = {name: sum(seconds for called, _, seconds in calls if called == name) for name in FUNCTIONS}
    wall, step = watch.seconds(1), watch.median_s(1, "train_step")
    report(
        "study_overhead",
        network="fcn_resnet101" if full else "small",
        training_slices=count - tested,
        epochs=config.epochs,
        cell_s=round(wall, 2),
        overhead_percent=round(100 * (1 - sum(inside.values()) / wall), 2),
        **{f"in_{name.strip('_')}_s": round(seconds, 2) for name, seconds in inside.items()},
        **outside(calls, watch.times[1:3]),
        step_ms=round(1000 * step, 1),
        queue_a_step_ms=round(1000 * watch.median_s(2, "train_step"), 2),
        host_between_calls_ms=round(1000 * between(calls), 2),
        cell_that_waits_for_nothing_s=round(watch.seconds(2), 2),
        cell_that_compiles_s=round(watch.seconds(0), 2),
        compilations={name: compiled[name] for name in FUNCTIONS},
        compilations_after_first_cell=dict(watch.compiled[1] + watch.compiled[2]),
    )


def watched(config: ConfigDict, workdir: Path) -> Watch:
    """Runs the sweep with its compiled functions and its cells' beginnings and ends under watch."""
    watch, compile_steps = Watch(), sweep.compile_steps
    kind = kinds.KINDS["data_efficiency"]

    class Cell(cell_run.CellRun):
        def __enter__(self) -> "Cell":
            watch.begins()
            return super().__enter__()  # pyright: ignore[reportReturnType]

        def finish(self, state: Any) -> None:
            super().finish(state)
            watch.ends()

    def steps_of(*arguments: Any) -> Any:
        steps = compile_steps(*arguments)
        pairs = zip(("train", "evaluate", "end_epoch"), FUNCTIONS, strict=False)
        return dataclasses.replace(steps, **{own: watch.timed(name, getattr(steps, own)) for own, name in pairs})

    def judge_of(*arguments: Any) -> cell_run.Judge:
        made: Any = kind.judge(*arguments)
        return dataclasses.replace(made, forward=watch.timed("predict", made.forward))

    sweep.CellRun, sweep.compile_steps = Cell, steps_of  # pyright: ignore
    kinds.KINDS["data_efficiency"] = dataclasses.replace(kind, judge=judge_of)
    jax.monitoring.register_event_duration_secs_listener(watch.heard)
    config.devices = 1  # so that cells follow each other
    if failed := sweep.sweep(config, workdir):
        raise RuntimeError(f"{failed}")
    return watch


def outside(calls: list[tuple[str, float, float]], span: list[float]) -> dict[str, float]:
    """Where the time outside the calls lies: before the first, between updates and validations, and after them."""
    training = [(start, seconds) for name, start, seconds in calls if name != "predict"]
    (first, _), (last, length) = training[0], training[-1]
    end = last + length
    after = sum(seconds for name, _, seconds in calls if name == "predict")
    return {
        "outside_before_s": round(first - span[0], 2),
        "outside_within_s": round(end - first - sum(seconds for _, seconds in training), 2),
        "outside_after_s": round(span[1] - end - after, 2),
    }


def between(calls: list[tuple[str, float, float]]) -> float:
    """The median seconds from the end of a call to the next one's start, where the next is an update."""
    ends = [start + seconds for _, start, seconds in calls]
    return statistics.median(
        start - end for end, (name, start, _) in zip(ends, calls[1:], strict=False) if name == "train_step"
    )


if __name__ == "__main__":
    main()
