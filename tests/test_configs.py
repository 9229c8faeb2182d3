import os
import subprocess
import sys
from pathlib import Path

import pytest
from absl.flags import IllegalFlagValueError

from configs import segmentation, strings
from launch import main
from mskjax import models, tasks

ROOT = Path(__file__).resolve().parents[1]


def test_strings_give_the_first_word_where_none_is_named():
    assert vars(strings.parse(None, init=("a", "b"), smoke=False)) == {"init": "a", "smoke": False}
    assert vars(strings.parse("smoke,init=b", init=("a", "b"), smoke=False)) == {"init": "b", "smoke": True}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size=3", "'size=3' is unknown; known are init, smoke"),
        ("init=c", "'init=c' is none of init=a|b"),
        ("init", "'init' is none of init=a|b"),
        ("smoke=1", "'smoke=1' takes no value"),
    ],
)
def test_strings_refuse_what_they_do_not_know(text, message):
    with pytest.raises(IllegalFlagValueError) as error:
        strings.parse(text, init=("a", "b"), smoke=False)
    assert message in str(error.value)


@pytest.mark.parametrize(("init", "rate"), [("random", 3e-3), ("classification", 3e-4), ("segmentation", 3e-4)])
def test_study_a(init, rate):
    """Section A's table: Adam 3e-3 from random and 3e-4 after transfer, batch 4, 500 epochs, patience 75."""
    config = segmentation.get_config(f"init={init}")
    assert (config.learning_rate, config.batch_size, config.epochs, config.patience) == (rate, 4, 500, 75)
    assert (config.task.window_hu, config.task.level_hu, config.image_size) == (400, 50, 512)
    assert bool(config.init_from) == (init != "random")
    task = tasks.build(config.task.to_dict())
    assert task.module == models.build("fcn_resnet101", num_classes=1)


def test_configs_are_locked():
    with pytest.raises(AttributeError):
        segmentation.get_config().learning = 1


def launch(*flags):
    command = [sys.executable, "-m", "launch.train", *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config=configs/segmentation.py:init=guess"], "none of init=random|classification|segmentation"),
        (
            ["--config=configs/segmentation.py", "--config.learning_rat=1"],
            "no field 'learning_rat'; did you mean \"learning_rate\"?\n",
        ),
        (["--config=configs/segmentation.py", "--config.xyz=1"], "no field 'xyz'; configs/segmentation.py lists all\n"),
        (["--config=configs/segmentation.py", "--confg.epochs=1"], "--help lists the flags\n"),
        (["--config=configs/segmentation.py", "--config.epochs=many"], "--config.epochs=many"),
        (["--config=configs/segmentations.py"], "configs/segmentations.py is missing"),
    ],
)
def test_the_launcher_refuses_in_one_sentence(flags, message, tmp_path):
    done = launch(*flags, f"--workdir={tmp_path}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith("error: ")
    assert message in done.stderr


def test_help_shows_examples_and_imports_no_jax():
    command = [sys.executable, "-X", "importtime", "-m", "launch.train", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "ml_collections" in imported
    assert not imported & {"jax", "numpy", "flax"}
    assert "--config:" in done.stdout
    assert "--workdir:" in done.stdout
    assert "python -m launch.train" in done.stdout
    assert "default: 'None'" not in done.stdout
    assert "configs/segmentation.py lists all fields" in done.stdout
    for name in ("init=random|classification|segmentation", "network=fcn_resnet101|small", "smoke"):
        assert name in done.stdout


@pytest.mark.parametrize("printing", ["--help", "-c"])
def test_a_reader_that_leaves_early_ends_the_command_quietly(printing):
    """As `| head` does: nothing is read here at all."""
    command = [sys.executable, "-m", "launch.measure", "--help"]
    if printing == "-c":
        program = "import sys; from launch.main import run; sys.argv[1:] = []; run(lambda: print('words'))"
        command = [sys.executable, "-c", program]
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_interrupted_command_ends_with_130(capsys):
    def interrupt():
        raise KeyboardInterrupt

    assert main._guarded(interrupt, []) == 130
    assert "interrupted; run the same command again" in capsys.readouterr().err
