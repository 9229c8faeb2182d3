"""How processes end: whose others do not come, whose words nobody reads, and who waits for others and for what."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ports import free_port

from mskjax import processes
from mskjax.processes import Start, connect

ROOT = Path(__file__).resolve().parents[1]
# Unbuffered, Python would keep no words that it must write at its end.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def start(program, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE):
    """Begins a Python program; `stdout` and `stderr` may be `nobody`, who reads nothing of it."""
    command, pipe = [sys.executable, "-c", program, *arguments], subprocess.PIPE
    return subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdin=pipe, stdout=stdout, stderr=stderr, text=True, bufsize=1
    )


def ended(process, told=None):
    """Its exit status, and all that is read of it once it was `told` this."""
    printed, told = process.communicate(told, timeout=60)
    return process.returncode, printed or "", told or ""


@pytest.fixture
def nobody():
    """The end of a pipe to write to, whose reader has gone."""
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


CONNECTS = """
import sys
from mskjax import processes
processes.PATIENCE_S, processes.TOLD_AFTER_S = 1, 0.1
processes.connect(processes.Start("flags", int(sys.argv[1]), 2, coordinator=sys.argv[2]))
"""


def test_who_waits_for_others_in_vain_says_so_and_gives_up():
    where = [f"localhost:{free_port()}" for _ in range(2)]
    waiting = [start(CONNECTS, str(index), where[index]) for index in range(2)]
    for index, (status, _, told) in enumerate([ended(process) for process in waiting]):
        assert status == 2
        assert told.splitlines() == [
            f"process {index} waits for all 2 to come together at {where[index]}, for 0 minutes",
            f"error: process {index} of 2 cannot reach the others at {where[index]} (not all came within 0 minutes); "
            "start all of them, give --coordinator=HOST:PORT of process 0, or run this one alone with --multihost=off",
        ]


def test_ctrl_c_ends_the_wait_for_others():
    address = f"localhost:{free_port()}"
    process = start(CONNECTS.replace("= 1, 0.1", "= 60, 0.1"), "0", address)
    assert "waits for all 2" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == -signal.SIGINT


def test_a_port_that_is_taken_is_told_of_before_jax_takes_it():
    with socket.socket() as other:
        other.bind(("localhost", 0))
        other.listen()
        status, _, told = ended(start(CONNECTS, "0", f"localhost:{other.getsockname()[1]}"))
    assert status == 1 and "cannot be had here" in told.splitlines()[-1]


def test_streams_that_the_shell_has_closed_are_written_to_by_nobody():
    writes = "import launch, sys; print(1, flush=True); print(sys.stderr.isatty(), file=sys.stderr, flush=True)"
    command = f'exec "{sys.executable}" -c "{writes}" '
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        assert subprocess.run(["sh", "-c", command + closed], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("error", [None, RuntimeError("the port is taken")])
def test_who_waits_no_longer_does_not_give_up(error, monkeypatch, capfd):
    import jax

    def initialize(*_, initialization_timeout, **__):
        assert initialization_timeout > 10, "JAX, which aborts the process, is never the first to lose patience"
        if error:
            raise error

    ends = []
    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(os, "_exit", ends.append)
    monkeypatch.setattr(processes, "PATIENCE_S", 0.1)
    monkeypatch.setattr(processes, "TOLD_AFTER_S", 0.1)
    if error:
        with pytest.raises(ValueError, match=r"process 1 of 2 cannot reach the others at a:1 \(the port is taken\)"):
            connect(Start("flags", 1, 2, coordinator="a:1"))
    else:
        connect(Start("flags", 1, 2, coordinator="a:1"))
    time.sleep(0.3)
    assert (ends, capfd.readouterr().err) == ([], "")


COMPILES = """
import sys, threading, time
from launch.main import run
from mskjax.processes import leave
threading.Thread(target=lambda: (time.sleep(0.5), print("waited", file=sys.stderr)), name=sys.argv.pop()).start()
"""


@pytest.mark.parametrize("end", ["sys.exit(leave(2))", "run(lambda: 2)"])
@pytest.mark.parametrize(("thread", "told"), [("compiling_0", ""), ("other", "waited\n")])
def test_the_end_does_not_wait_for_a_compilation(end, thread, told):
    """Python would wait for the thread at its end, which here says that it has."""
    assert ended(start(COMPILES + end, thread)) == (2, "", told)


def test_a_reader_that_leaves_early_does_not_wait_for_a_compilation(nobody):
    """Nor for other processes, for which `processes.leave` does not wait either; nothing is read here at all."""
    program = COMPILES + 'run(lambda: print("words"))'
    assert ended(start(program, "compiling_0", stdout=nobody)) == (141, "", "")


COMMAND = """
import sys
from types import SimpleNamespace
from launch import {name} as command, main
from mskjax import study
class Interrupted(Exception):
    status = 143
def end(*_):
    {ends}
study.dry_run, study.status, study.submission, study.sweep = None, None, None, SimpleNamespace(sweep=end)
sys.modules["mskjax.training"] = SimpleNamespace(Interrupted=Interrupted, train=end)
main.run(command.main)
"""


@pytest.mark.parametrize(
    ("name", "ends", "status"),
    [
        ("train", "raise Interrupted('stopped')", 143),
        ("train", "raise ValueError('refused')", 2),
        ("sweep", "raise Interrupted('stopped')", 143),
        ("sweep", "return {'cell': 'failed'}", 1),
    ],
)
def test_a_command_has_its_status_whoever_reads_what_it_tells_at_last(name, ends, status, nobody):
    flags = ["--config=configs/segmentation.py:smoke", "--workdir=none"]
    assert ended(start(COMMAND.format(name=name, ends=ends), *flags, stderr=nobody))[0] == status


TOGETHER = """
import sys, threading, time
from launch import main, multihost
from mskjax.processes import tell
def compile():
    while True:
        time.sleep(1)
def stopped():
    if multihost.flags.FLAGS.process:
        input()
    else:
        threading.Thread(target=compile, name="compiling_0").start()
        tell("stopped")
        print("stopped", flush=True)
    return 143
main.run(stopped, lambda: multihost.TOGETHER)
"""


def test_processes_that_are_stopped_together_wait_for_each_other_but_for_no_compilation_and_no_reader(nobody):
    flags = [f"--coordinator=localhost:{free_port()}", "--processes=2"]
    first = start(TOGETHER, *flags, "--process=0", stderr=nobody)
    second = start(TOGETHER, *flags, "--process=1")
    assert first.stdout.readline() == "stopped\n", ended(second)
    time.sleep(0.3)
    assert (first.poll(), second.poll()) == (None, None)
    assert (ended(second, "end\n"), ended(first)[0]) == ((143, "", ""), 143)
