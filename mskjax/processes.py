"""Several processes that run one program together, as on the hosts of a pod: how many there are, and which is this.

Only where there is more than one are they connected (`jax.distributed`), and only for work that they do together: what
starts programs also sets its variables in shells that run one alone, and a process that is connected neither leaves
nor dies without the others. SLURM, Open MPI and Cloud TPU tell their processes; elsewhere flags do.
"""

import os
import re
import signal
import sys
import threading
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mskjax.coordinator import check, check_port, doubt

COMPILING = "compiling"  # how the names of threads begin that do
METADATA_TIMEOUT_S = 2.0
HEARTBEAT_S = 60
PATIENCE_S, TOLD_AFTER_S = 300, 5.0  # for the others to come; after which it is told who waits
LONGER_S = 30  # is JAX's own patience, at whose end it aborts the process with a trace
# The chips of a host in a TPU slice start only with those of all other hosts, unless it is told to be a slice alone.
ALONE = {
    "TPU_PROCESS_BOUNDS": "1,1,1",
    "TPU_HOST_BOUNDS": "1,1,1",  # the same by its older name, which GKE sets
    "TPU_WORKER_ID": "0",
    "TPU_WORKER_HOSTNAMES": "localhost",
}
CHIPS_OF_A_HOST = "2,2,1"  # of a slice of several hosts


@dataclass(frozen=True)
class Start:
    """How this process was started: `by` whom ("flags", "slurm", "ompi" or "tpu"), as number `index` of `count`.

    `alike` is how many of them share this machine's devices, and `local_index` this one's number among these.
    `coordinator` is the address, HOST:PORT, at which process 0 is found, None where JAX knows how to learn it.
    """

    by: str
    index: int
    count: int
    local_index: int = 0
    alike: int = 1
    coordinator: str | None = None

    def __post_init__(self):
        if self.count < 1:
            raise ValueError(f"there are no {self.count} processes; give --processes=N, 1 or more")
        if not 0 <= self.index < self.count:
            raise ValueError(f"process {self.index} of {self.count} is none; the first is 0, the last {self.count - 1}")


def find(
    coordinator: str | None = None,
    index: int | None = None,
    count: int | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Start | None:
    """How this process was started; None where nothing tells of any other.

    What the three flags leave out is taken from the environment. Raises `ValueError` where that does not tell it.
    """
    told = _slurm(environment) or _open_mpi(environment) or _cloud_tpu(environment)
    if coordinator is None and index is None and count is None:
        return told
    if coordinator is None:
        raise ValueError("nothing tells where process 0 is; give --coordinator=HOST:PORT of it with the other flags")
    check(coordinator)
    if index is None and count is None and told is not None:
        return Start("flags", told.index, told.count, told.local_index, told.alike, coordinator)
    if index is None or count is None:
        raise ValueError("nothing tells which process this is of how many; give --process=I, from 0, and --processes=N")
    return Start("flags", index, count, coordinator=coordinator)


def connect(start: Start) -> None:
    """Connects this process with the others of its start, before JAX is first used; returns once all are there.

    From then on an error that nothing else catches ends it at once, and at its end it waits for the others, for five
    minutes, after which JAX ends all as failed. Raises `ValueError` where they cannot be reached; where they do not
    come, for five minutes too, it says so and ends the process with status 2, as nothing is raised out of that wait.
    """
    import jax

    # The loop asks all processes for signals itself, and Python's own handlers hear them.
    jax.config.update("jax_enable_preemption_service", False)
    if start.by == "flags" and start.index == 0 and start.coordinator:
        check_port(start.coordinator)
    timers = [threading.Timer(TOLD_AFTER_S, _tell_of_wait, [start]), threading.Timer(PATIENCE_S, _give_up, [start])]
    for timer in timers:
        timer.start()
    # Python's handler of Ctrl-C would run only once the wait is over.
    interrupts = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        jax.distributed.initialize(
            start.coordinator,
            None if start.by == "tpu" else start.count,
            None if start.by == "tpu" else start.index,
            local_device_ids=own_devices(start),
            cluster_detection_method={"flags": "deactivate", "tpu": None}.get(start.by, start.by),
            initialization_timeout=PATIENCE_S + LONGER_S,
            heartbeat_timeout_seconds=HEARTBEAT_S,
        )
    except (RuntimeError, ValueError) as error:
        raise ValueError(_alone(start, str(error))) from error
    finally:
        signal.signal(signal.SIGINT, interrupts)
        for timer in timers:
            timer.cancel()
    sys.excepthook = _end


def separate(start: Start, environment: MutableMapping[str, str] = os.environ) -> None:
    """Has this process use its own devices and know of no others of its start, before JAX is first used."""
    if _has_libtpu():
        environment.pop("TPU_PROCESS_ADDRESSES", None)
        environment.update(ALONE)
        environment.setdefault("TPU_CHIPS_PER_PROCESS_BOUNDS", CHIPS_OF_A_HOST)
    if visible := ",".join(map(str, own_devices(start, environment))):
        import jax

        jax.config.update("jax_cuda_visible_devices", visible)
        jax.config.update("jax_rocm_visible_devices", visible)


def tell(sentence: object) -> None:
    """Prints to stderr; that nobody reads it any more changes nothing."""
    with suppress(OSError):
        print(sentence, file=sys.stderr, flush=True)


def leave(status: int, together: bool = False) -> int:
    """The status of a process that ends; it ends here where Python would wait for a program that is being compiled.

    Such a program is not run any more, and takes a minute. One of several processes ends `together` with the others,
    which have come to their end too; otherwise it ends here as well, and they by its absence.
    """
    connected = "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized()
    compiles = any(thread.name.startswith(COMPILING) for thread in threading.enumerate())
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            # Whoever read it is gone; at its end Python would still try to write the rest, and fail with status 120.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if connected and together and compiles:
        sys.modules["jax"].distributed.shutdown()
    if compiles or (connected and not together):
        os._exit(status)
    return status


def _tell_of_wait(start: Start) -> None:
    where = f" at {start.coordinator}" if start.coordinator else ""
    unknown = doubt(start.coordinator) if start.coordinator else ""
    minutes = PATIENCE_S // 60
    tell(f"process {start.index} waits for all {start.count} to come together{where}, for {minutes} minutes{unknown}")


def _alone(start: Start, why: str) -> str:
    where = f" at {start.coordinator}" if start.coordinator else ""
    return (
        f"process {start.index} of {start.count} cannot reach the others{where} ({why}); start all of them, give "
        "--coordinator=HOST:PORT of process 0, or run this one alone with --multihost=off"
    )


def _give_up(start: Start) -> None:
    tell(f"error: {_alone(start, f'not all came within {PATIENCE_S // 60} minutes')}")
    os._exit(2)


def _end(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    if kind.__name__ != "JaxRuntimeError":
        sys.__excepthook__(kind, error, trace)
        leave(1)
    why = " ".join(str(error).split())
    tell(f"error: another process or a device has failed ({why}); start all again to go on")
    leave(2)


def own_devices(start: Start, environment: Mapping[str, str] = os.environ) -> list[int]:
    """The numbers of the visible GPUs that are this process's; empty for all that it sees."""
    visible = [name for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    # As many GPUs as processes on a machine, or more, are shared out; one that sees a single GPU was given it.
    if start.alike == 1 or len(visible) == 1:
        return []
    each = max(len(visible) // start.alike, 1)
    return list(range(start.local_index * each, (start.local_index + 1) * each))


def _slurm(environment: Mapping[str, str]) -> Start | None:
    """Of a job step; a job's own script has most variables too, and is one process."""
    count = int(environment.get("SLURM_STEP_NUM_TASKS", 1))
    if count < 2 or "SLURM_PROCID" not in environment:
        return None
    tasks = environment.get("SLURM_STEP_TASKS_PER_NODE", "1")  # as "2(x3),1": on three nodes two, on the fourth one
    alike = [int(n) for n, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", tasks) for _ in range(int(times or 1))]
    node = int(environment.get("SLURM_NODEID", 0))
    local = int(environment.get("SLURM_LOCALID", 0))
    return Start("slurm", int(environment["SLURM_PROCID"]), count, local, alike[node] if node < len(alike) else 1)


def _open_mpi(environment: Mapping[str, str]) -> Start | None:
    def number(name: str, absent: int) -> int:
        return int(environment.get(f"OMPI_COMM_WORLD_{name}", absent))

    if number("SIZE", 1) < 2:
        return None
    return Start("ompi", number("RANK", 0), number("SIZE", 1), number("LOCAL_RANK", 0), number("LOCAL_SIZE", 1))


def _cloud_tpu(environment: Mapping[str, str]) -> Start | None:
    """Of the workers of a TPU pod, which its environment lists, or else the metadata of its virtual machines."""
    if not _has_libtpu():
        return None
    addresses = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES")
    if addresses is None and "TPU_SKIP_MDS_QUERY" not in environment:
        addresses = _metadata("worker-network-endpoints", environment)
    count = len((addresses or "").split(","))
    if count < 2:
        return None
    index = environment.get("TPU_WORKER_ID") or _metadata("agent-worker-number", environment)
    return Start("tpu", int(index or 0), count)


def _has_libtpu() -> bool:
    from importlib.util import find_spec

    return find_spec("libtpu") is not None


def _metadata(name: str, environment: Mapping[str, str]) -> str | None:
    """What a Google Cloud virtual machine is told of itself; None on any other machine."""
    import requests

    server = environment.get("GCE_METADATA_IP", "metadata.google.internal")
    url = f"http://{server}/computeMetadata/v1/instance/attributes/{name}"
    try:
        answer: Any = requests.get(url, headers={"Metadata-Flavor": "Google"}, timeout=METADATA_TIMEOUT_S)
    except requests.RequestException:
        return None
    return answer.text if answer.ok else None
