"""How a process learns of others that were started with it, and which commands are then for whom."""

import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from absl.testing import flagsaver

from launch import multihost
from mskjax import processes
from mskjax.processes import Start, find, own_devices, separate
from mskjax.study.shares import WHOLE, Share

ROOT = Path(__file__).resolve().parents[1]
# As srun sets them for the third of seven tasks on nodes of three, three and one.
STEP = {
    "SLURM_JOB_ID": "7",
    "SLURM_NTASKS": "7",
    "SLURM_STEP_NUM_TASKS": "7",
    "SLURM_STEP_TASKS_PER_NODE": "3(x2),1",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "2",
    "SLURM_NODEID": "0",
}


def test_tasks_of_a_job_step_are_told():
    assert find(environment=STEP) == Start("slurm", 2, 7, local_index=2, alike=3)
    last = {**STEP, "SLURM_PROCID": "6", "SLURM_LOCALID": "0", "SLURM_NODEID": "2"}
    assert find(environment=last) == Start("slurm", 6, 7, local_index=0, alike=1)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "7", "SLURM_PROCID": "0"},  # the script of a job, outside its steps
        {**STEP, "SLURM_STEP_NUM_TASKS": "1"},
        {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"},
        {"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"},
    ],
)
def test_who_is_alone_is_not_connected(environment, monkeypatch):
    monkeypatch.setattr(processes, "_has_libtpu", lambda: True)
    assert find(environment={"TPU_SKIP_MDS_QUERY": "1", **environment}) is None


def test_open_mpi_tells_its_processes():
    names = {"SIZE": 4, "RANK": 3, "LOCAL_RANK": 1, "LOCAL_SIZE": 2}
    environment = {f"OMPI_COMM_WORLD_{name}": str(value) for name, value in names.items()}
    assert find(environment=environment) == Start("ompi", 3, 4, local_index=1, alike=2)


def test_workers_of_a_tpu_pod_are_told_where_there_is_libtpu_alone(monkeypatch):
    environment = {"TPU_WORKER_HOSTNAMES": "t0,t1,t2,t3", "TPU_WORKER_ID": "2"}
    monkeypatch.setattr(processes, "_has_libtpu", lambda: False)
    assert find(environment=environment) is None
    monkeypatch.setattr(processes, "_has_libtpu", lambda: True)
    assert find(environment=environment) == Start("tpu", 2, 4)


def test_workers_of_a_tpu_pod_are_told_by_their_metadata(monkeypatch):
    monkeypatch.setattr(processes, "_has_libtpu", lambda: True)
    attributes = {"worker-network-endpoints": "a:b:10.0.0.1,a:b:10.0.0.2", "agent-worker-number": "1"}

    class Metadata(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            path, name = self.path.rsplit("/", 1)
            told = self.headers["Metadata-Flavor"] == "Google" and path == "/computeMetadata/v1/instance/attributes"
            self.send_response(200 if told and name in attributes else 404)
            self.end_headers()
            self.wfile.write(attributes.get(name, "").encode() if told else b"")

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("localhost", 0), Metadata) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            where = {"GCE_METADATA_IP": f"localhost:{server.server_port}"}
            assert find(environment=where) == Start("tpu", 1, 2)
            del attributes["worker-network-endpoints"]
            assert find(environment=where) is None
        finally:
            server.shutdown()
            thread.join()


def test_flags_tell_what_the_environment_does_not():
    assert find("node0:1234", 1, 2, {}) == Start("flags", 1, 2, coordinator="node0:1234")
    assert find("node0:1234", environment=STEP) == Start("flags", 2, 7, 2, 3, "node0:1234")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("node0", 0, 2), "--coordinator=node0 is not HOST:PORT; name .*, from 1 to 65535, as in node0:12345"),
        (("node0:99999", 0, 2), "--coordinator=node0:99999 is not HOST:PORT; .*, as in node0:12345"),
        (("node0:0", 0, 2), "--coordinator=node0:0 is not HOST:PORT"),
        ((None, 0, 2), "nothing tells where process 0 is; give --coordinator=HOST:PORT"),
        (("node0:1234", 0, 0), "there are no 0 processes; give --processes=N, 1 or more"),
        (("node0:1234", None, None), "give --process=I, from 0, and --processes=N"),
        (("node0:1234", 0, None), "give --process=I, from 0, and --processes=N"),
        (("node0:1234", 2, 2), "process 2 of 2 is none; the first is 0, the last 1"),
        (("node0:1234", -1, 2), "process -1 of 2 is none"),
    ],
)
def test_flags_that_do_not_tell_are_refused(flags, sentence):
    with pytest.raises(ValueError, match=sentence):
        find(*flags, environment={})


@pytest.mark.parametrize(
    ("alike", "local_index", "visible", "own"),
    [
        (1, 0, "0,1,2,3", []),  # alone on its machine: all
        (2, 1, "0,1,2,3", [2, 3]),
        (4, 3, "0,1,2,3", [3]),
        (4, 3, "3", []),  # it was given one
        (4, 2, "", [2]),  # not told: one each
    ],
)
def test_processes_of_a_machine_share_its_gpus_out(alike, local_index, visible, own):
    start = Start("slurm", local_index, 8, local_index, alike)
    assert own_devices(start, {"CUDA_VISIBLE_DEVICES": visible}) == own


@pytest.mark.parametrize(("visible", "own"), [("0,1,2,3", "2,3"), ("3", "all")])
def test_separate_processes_of_a_machine_share_its_gpus_out(visible, own, monkeypatch):
    import jax

    monkeypatch.setattr(processes, "_has_libtpu", lambda: False)
    environment = {"CUDA_VISIBLE_DEVICES": visible}
    names = ("jax_cuda_visible_devices", "jax_rocm_visible_devices")
    before = [jax.config.read(name) for name in names]
    try:
        separate(Start("slurm", 5, 8, local_index=1, alike=2), environment)
        assert [jax.config.read(name) for name in names] == [own, own]
    finally:
        for name, value in zip(names, before, strict=True):
            jax.config.update(name, value)
    assert environment == {"CUDA_VISIBLE_DEVICES": visible}


def test_a_separate_host_of_a_tpu_pod_is_a_slice_of_its_own(monkeypatch):
    """By the variables with which one host of a slice is commonly used alone."""
    monkeypatch.setattr(processes, "_has_libtpu", lambda: True)
    environment = {"TPU_WORKER_HOSTNAMES": "t0,t1", "TPU_WORKER_ID": "1", "TPU_HOST_BOUNDS": "2,1,1"}
    environment["TPU_PROCESS_ADDRESSES"] = "t0:8476,t1:8476"
    start = Start("tpu", 1, 2)
    assert find(environment=environment) == start
    separate(start, environment)
    assert find(environment=environment) is None
    assert environment["TPU_PROCESS_BOUNDS"] == environment["TPU_HOST_BOUNDS"] == "1,1,1"
    assert (environment["TPU_WORKER_ID"], environment["TPU_CHIPS_PER_PROCESS_BOUNDS"]) == ("0", "2,2,1")
    environment["TPU_CHIPS_PER_PROCESS_BOUNDS"] = "2,4,1"
    separate(start, environment)
    assert environment["TPU_CHIPS_PER_PROCESS_BOUNDS"] == "2,4,1"


@pytest.mark.parametrize(
    ("given", "asked", "share"),
    [
        ({}, None, WHOLE),
        ({}, "1/4", Share(1, 4)),
        ({"coordinator": "n:1", "process": 1, "processes": 2}, None, Share(1, 2)),
        ({"coordinator": "n:1", "process": 1, "processes": 2, "multihost": "off"}, None, WHOLE),
    ],
)
def test_the_share_of_a_process_is_asked_for_or_its_place_among_the_others(given, asked, share):
    with flagsaver.flagsaver(**given):
        assert multihost.share(asked) == share


def test_a_share_that_is_asked_for_and_one_by_place_exclude_each_other():
    with (
        flagsaver.flagsaver(multihost="on", process=1),
        pytest.raises(ValueError, match=r"which cells are this process's; leave it out, or --multihost and --process$"),
    ):
        multihost.share("1/4")


def test_processes_of_a_sweep_are_separate_and_not_connected(monkeypatch):
    made = []
    monkeypatch.setattr(processes, "connect", lambda start: pytest.fail("connected"))
    monkeypatch.setattr(processes, "separate", made.append)
    with flagsaver.flagsaver(coordinator="n:1", process=1, processes=2):
        assert multihost.join(multihost.EACH)
        multihost.share(None)
    assert made == [Start("flags", 1, 2, coordinator="n:1")]


def launch(name, *flags, environment=()):
    command = [sys.executable, "-m", f"launch.{name}", *flags]
    found = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **dict(environment)}, capture_output=True, text=True, timeout=120
    )
    return found.returncode, found.stdout + found.stderr


def test_commands_of_one_process_are_the_first_ones(tmp_path):
    flags = ["--phantom=1", "--phantom_size=32", f"--output={tmp_path / 'dataset'}"]
    status, told = launch("prepare", *flags, environment=STEP)
    sentence = "process 2 of 7 rests: this command is the first one's; --multihost=off has each process run its own\n"
    assert (status, told) == (0, sentence)
    assert not (tmp_path / "dataset").exists()


def test_to_be_among_others_is_refused_where_there_are_none(tmp_path):
    status, told = launch("train", "--config=configs/segmentation.py:smoke", f"--workdir={tmp_path}", "--multihost=on")
    assert status == 2
    assert "error: --multihost=on, but nothing tells of other processes; give --coordinator=HOST:PORT" in told
