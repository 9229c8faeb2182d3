import os
import subprocess
import sys
from pathlib import Path

from launch import devices, main

ADDS_ONE = (
    "from launch import devices; devices.keep_programs(); import jax;"
    "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0); jax.jit(lambda x: x + 1)(1.0)"
)


def run(program, **environment):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION")}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=inherited | environment, check=True, capture_output=True, text=True).stdout


def files(folder: Path):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_programs_are_kept_in_a_folder_of_the_users_cache(tmp_path):
    run(ADDS_ONE, XDG_CACHE_HOME=str(tmp_path), HOME=str(tmp_path))
    kept = [path for path in files(tmp_path) if "programs" in path.parts]
    assert kept and all(devices._processor() in path.parts for path in kept)


def test_the_users_own_folder_for_programs_wins(tmp_path):
    own, other = tmp_path / "own", tmp_path / "other"
    run(ADDS_ONE, JAX_COMPILATION_CACHE_DIR=str(own), XDG_CACHE_HOME=str(other), HOME=str(other))
    assert files(own) and not files(other)


def test_a_folder_that_cannot_be_written_is_told_of_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    inherited = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "file" / "programs")}
    command = [sys.executable, "-W", "error", "-c", ADDS_ONE]
    done = subprocess.run(command, env=inherited, check=True, capture_output=True, text=True)
    assert done.stderr.startswith("compiled programs are not kept for the next start: ")
    assert "is a file" in done.stderr and "JAX_COMPILATION_CACHE_DIR" in done.stderr and done.stderr.count("\n") == 1


def test_the_kept_programs_are_bounded(monkeypatch):
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_COMPILATION_CACHE_MAX_SIZE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    devices.keep_programs()
    assert int(os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"]) == 4 * 1024**3


def test_another_processor_has_programs_of_its_own(monkeypatch):
    here = devices._processor()
    monkeypatch.setattr(Path, "is_file", lambda path: True)
    monkeypatch.setattr(Path, "read_text", lambda path: "processor: 0\nflags: fpu avx2\n")
    with_avx2 = devices._processor()
    monkeypatch.setattr(
        Path, "read_text", lambda path: "processor: 0\nflags: fpu avx2\nprocessor: 1\nflags: fpu avx2\n"
    )
    assert devices._processor() == with_avx2 != here
    monkeypatch.setattr(Path, "read_text", lambda path: "processor: 0\nflags: fpu avx512f\n")
    assert devices._processor() not in (with_avx2, here)


def test_a_launcher_begins_with_it(monkeypatch):
    begun = []
    monkeypatch.setattr(devices, "keep_programs", lambda: begun.append("programs"))
    monkeypatch.setattr(main.app, "run", lambda *_, **__: begun.append("main"))
    main.run(lambda: None)
    assert begun == ["programs", "main"]
