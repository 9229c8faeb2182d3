"""What an evaluation depends on."""

import json

import pytest

from mskjax.study import evaluation_folder
from mskjax.study.evaluation import evaluate


@pytest.fixture
def workdir(tmp_path):
    (tmp_path / "run" / "best").mkdir(parents=True)
    (tmp_path / "run" / "best" / "variables.safetensors").write_bytes(b"weights")
    (tmp_path / "run" / "config.json").write_text(json.dumps({"dataset": str(tmp_path)}))
    (tmp_path / "dataset.json").write_text(json.dumps({"sha256": {"cases.csv": "0"}}))
    return tmp_path / "run"


def change_edition(workdir, monkeypatch):
    monkeypatch.setattr(evaluation_folder, "_EDITION", 0)


def change_metrics(workdir, monkeypatch):
    (workdir / "metrics.jsonl").write_text("{}")


def finish(workdir, monkeypatch):
    (workdir / "DONE").touch()


def nothing(workdir, monkeypatch):
    pass


@pytest.mark.parametrize("change", [change_edition, change_metrics, finish, nothing])
def test_an_evaluation_is_made_again_when_what_it_shows_may_differ(workdir, monkeypatch, change):
    former = evaluation_folder.made_from(workdir, workdir.parent, "test")
    change(workdir, monkeypatch)
    same = evaluation_folder.made_from(workdir, workdir.parent, "test") == former
    assert same == (change is nothing)


def test_an_output_that_is_a_file_is_refused(workdir, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="name another folder"):
        evaluate(workdir, output=tmp_path / "file", dataset=tmp_path)
