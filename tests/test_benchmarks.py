"""The runner of benchmarks: what it makes of a program's JSON line, of programs that fail, and of RESULTS.md."""

import ast
import json
import os
import string
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as runner
from benchmarks import load, peers, startup
from benchmarks.programs import Figure, Program, read_programs
from benchmarks.results import HEADING, Row, read_rows, replace_rows

FOLDER = Path(runner.__file__).parent
ABOVE = "# Measured figures\n\n| date | figure |\n| --- | --- |\n| 2026-01-01 | by hand |\n"
ROW = Row("2026-01-01", "metrics", "Dice", "1 (2 ms; 3 ms)", "at least 1", "jax 1.0")
SAID = {"benchmark": "b", "date": "2026-01-02", "machine": "M, 2 cores; 1 x cpu", "versions": {"jax": "1.0"}}
# Those that are run by others, and those that need scans or fixtures that nobody else has.
NOT_RUN = {"real_ct", "real_explanations", "real_smit", "real_study", "smit_parity"}


def is_program(path):
    return any(
        isinstance(node, ast.If) and "__name__" in ast.unparse(node.test) for node in ast.parse(path.read_text()).body
    )


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "RESULTS.md"
    path.write_text(ABOVE)
    return path


def rows_in(path):
    return read_rows(path.read_text().partition(HEADING)[2])


def test_every_program_is_in_the_table():
    programs = {path.stem for path in FOLDER.glob("*.py") if is_program(path)} - {"__main__"}
    run_by_others = {path.stem for path in FOLDER.glob("*_reference.py")}
    assert {program.module for program in read_programs().values()} == programs - run_by_others - NOT_RUN


def test_flags_of_the_table_exist():
    for program in read_programs().values():
        source = (FOLDER / f"{program.module}.py").read_text()
        flags = [part.partition("=")[0] for part in program.flags.split()]
        assert all(f'"{flag}"' in source or f'"{flag.strip("-")}"' in source for flag in flags), program.name
        assert {field for _, field, _, _ in string.Formatter().parse(program.flags) if field} <= {
            "python",
            "packages",
            "official",
            "work",
        }


def test_packages_of_the_table_are_required():
    listed = (FOLDER / "requirements-peers.txt").read_text().splitlines()
    names = {line.partition("==")[0].replace("_", "-") for line in listed if not line.startswith("#")}
    others = {"dm-pix", "jax2onnx", "onnxruntime"}  # in mskjax's own extras
    assert {need for program in read_programs().values() for need in program.needs} - others == names


def test_default_programs_take_half_an_hour_where_there_is_no_accelerator():
    chosen = [program for program in read_programs().values() if not program.on_demand]
    assert sum(program.minutes for program in chosen if program.name != "gpu_training") <= 30


@pytest.mark.parametrize(
    ("limits", "number", "target", "missed"),
    [
        ({"at_least": 1.2}, 1.2, "at least 1.2", False),
        ({"at_least": 1.2}, 1.19, "at least 1.2", True),
        ({"at_most": 15}, 15, "at most 15", False),
        ({"at_most": 1e-4}, 2e-4, "at most 0.0001", True),
        ({"at_most": 1}, np.nan, "at most 1", True),
        ({"at_least": 1}, np.nan, "at least 1", True),
        ({}, 5, "-", False),
    ],
)
def test_targets(limits, number, target, missed):
    figure = Figure("name", "error[all]", **limits)
    assert (figure.target, figure.is_missed({"error": {"all": number}})) == (target, missed)
    assert figure.told({"error": {"all": number}}) == str(number)


def test_new_rows_replace_those_of_their_program_on_their_machine(results):
    other = Row("2026-01-01", "reading", "51 slices", "1 s", "-", "jax 1.0")
    replace_rows(results, "A, 2 cores", "reading", [other], ["metrics", "reading"])
    replace_rows(results, "A, 2 cores", "metrics", [ROW, ROW], ["metrics", "reading"])
    replace_rows(results, "B, 64 cores", "metrics", [ROW], ["metrics", "reading"])
    newer = Row("2026-02-02", "metrics", "Dice", "9", "-", "jax 1.1")
    replace_rows(results, "A, 2 cores", "metrics", [newer], ["metrics", "reading"])
    assert rows_in(results) == {"A, 2 cores": [newer, other], "B, 64 cores": [ROW]}
    assert results.read_text().startswith(ABOVE)
    assert results.read_text().count(HEADING) == 1


def test_results_are_a_table_of_markdown(results):
    replace_rows(results, "A", "metrics", [ROW], ["metrics"])
    table = [line for line in results.read_text().partition(HEADING)[2].splitlines() if line.startswith("|")]
    assert table[2] == "| 2026-01-01 | metrics | Dice | 1 (2 ms; 3 ms) | at least 1 | jax 1.0 |"
    assert {line.count("|") for line in table} == {7}


@pytest.mark.parametrize("value", ["a | b", "two\nlines"])
def test_a_row_that_breaks_the_table_is_refused(results, value):
    broken = Row("2026-01-01", "metrics", "Dice", value, "-", "jax 1.0")
    with pytest.raises(ValueError, match=r"a table|cells"):
        replace_rows(results, "A", "metrics", [broken], ["metrics"])
    assert results.read_text() == ABOVE


@pytest.fixture
def fake(monkeypatch, results):
    """Runs the runner on programs whose modules are the given sources, `busy` as others keep the processors."""

    def started(busy=0.0, **sources):
        figures = (Figure("{of} faster", "ratio", at_least=1),)
        programs = {name: Program(name, name, 1, figures, platform="here") for name in sources}
        real = runner.run
        monkeypatch.setattr(runner, "read_programs", lambda: programs)
        monkeypatch.setattr(
            runner,
            "run",
            lambda command, platform: real([sys.executable, "-c", sources[command[2].split(".")[1]]], platform),
        )
        monkeypatch.setattr(load.Watch, "others_share", lambda self: busy)
        return runner.main([f"--results={results}"])

    return started


def says(**figures):
    return f"print('progress'); print({json.dumps(json.dumps({**SAID, **figures}))})"


def test_a_program_that_fails_stops_no_other(fake, results, capsys):
    status = fake(
        broken="raise SystemExit('no space left')",
        silent="print('nothing')",
        short=says(ratio=2),
        slow=says(ratio=0.5, of="ours"),
        fast=says(ratio=3, of="theirs"),
        absent=says(skipped="no accelerator"),
    )
    told = capsys.readouterr().out
    assert status == 1
    assert "failed: broken, silent, short" in told
    assert "skipped: absent" in told
    assert "missed: slow (ours faster)" in told
    assert "no space left" in told
    assert "no accelerator" in told
    assert [(row.figure, row.value) for row in rows_in(results)["M, 2 cores; 1 x cpu"]] == [
        ("ours faster", "0.5, missed"),
        ("theirs faster", "3"),
    ]


def test_a_program_computes_where_its_peer_does(fake, results):
    fake(fast=f"import json, os; print(json.dumps({SAID} | {{'ratio': 2, 'of': os.environ['JAX_PLATFORMS']}}))")
    assert rows_in(results)["M, 2 cores; 1 x cpu"][0].figure == "here faster"


def test_what_is_missed_or_skipped_is_no_failure(fake):
    assert fake(slow=says(ratio=0.5, of="ours"), absent=says(skipped="no accelerator")) == 0


@pytest.mark.parametrize(("share", "value"), [(0.04, "0.5, missed"), (0.06, "0.5, missed, busy")])
def test_busy_rows_say_so(fake, results, share, value):
    fake(busy=share, slow=says(ratio=0.5, of="ours"))
    assert rows_in(results)["M, 2 cores; 1 x cpu"][0].value == value


def test_own_work_is_not_others(monkeypatch):
    clock = iter([0.0, 10.0])
    monkeypatch.setattr(load.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(load.os, "cpu_count", lambda: 2)
    busy, own = iter([100.0, 115.0]), iter([5.0, 14.0])
    monkeypatch.setattr(load, "_busy_s", lambda: next(busy))
    monkeypatch.setattr(load, "_own_s", lambda: next(own))
    monkeypatch.setattr(load, "STAT", FOLDER)
    assert load.Watch().others_share() == pytest.approx(6 / 20)


def test_peers_are_found_where_they_are(tmp_path):
    record = tmp_path / "Some_Peer-2.5.dist-info" / "METADATA"
    record.parent.mkdir()
    record.write_text("Metadata-Version: 2.1\nName: Some_Peer\nVersion: 2.5\n")
    own, folder = peers.environments(str(tmp_path))
    assert peers.home_of(["numpy"], [own, folder]) is own
    assert peers.home_of(["some-peer"], [own, folder]) is folder
    assert folder.versions == {"some-peer": "2.5"}
    assert peers.home_of(["numpy", "some-peer"], [own, folder]) is None


def test_a_broken_table_is_refused_before_anything_runs(results, capsys):
    results.write_text(f"{ABOVE}\n{HEADING}\n\n### A\n\n| 2026-01-01 | metrics | Dice |\n")
    assert runner.main([f"--results={results}"]) == 2
    assert "'| 2026-01-01 | metrics | Dice |' has 3 cells and not 6" in capsys.readouterr().err


def commands(source):
    return [sys.executable, "-u", "-c", f"import time; {source}"]


def test_a_start_is_timed_until_its_words():
    waits = commands("print('weights'); time.sleep(0.2); print('the step begins'); time.sleep(60)")
    assert 0.2 < startup.seconds_until("step begins", waits, os.environ, to_end=False) < 20
    assert startup.seconds_until("begins", commands("print('begins')"), os.environ, to_end=True) < 20


@pytest.mark.parametrize(
    ("source", "to_end"), [("print('weights')", False), ("print('weights')", True), ("print('begins'); exit(3)", True)]
)
def test_a_start_that_fails_is_no_time(source, to_end):
    with pytest.raises(RuntimeError, match="waited for 'begins'"):
        startup.seconds_until("begins", commands(source), os.environ, to_end)


def made(*arguments):
    command = ["make", "--dry-run", "--always-make", "benchmark", *arguments]
    return subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=True).stdout


def test_make_installs_peers_unless_others_are_named():
    assert "--requirement benchmarks/requirements-peers.txt" in made()
    assert "--peers=build/peers/bin/python --only= --official=" in made()
    named = made("PEERS=/a,/b", "ONLY=lime,metrics", "OFFICIAL=/c")
    assert "-m benchmarks --peers=/a,/b --only=lime,metrics --official=/c" in named
    assert "build/peers" not in named + made("PEERS=")


def test_what_is_no_environment_is_refused(tmp_path, capsys):
    assert runner.main([f"--peers={tmp_path / 'python'}"]) == 2
    assert "is no Python and no folder of packages" in capsys.readouterr().err


def test_names_that_no_program_has_are_refused(capsys):
    assert runner.main(["--only=metrics,lyme"]) == 2
    assert "no program is called lyme; choose from fcn_speed" in capsys.readouterr().err


def test_named_programs_run_alone_and_even_on_demand():
    programs = read_programs()
    assert [one.name for one in runner.choose(programs, "policies,metrics")] == ["policies", "metrics"]
    assert not any(one.on_demand for one in runner.choose(programs, ""))
