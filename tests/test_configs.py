import os
import subprocess
import sys
from pathlib import Path

import pytest
from absl.flags import IllegalFlagValueError

from configs import (
    classification,
    jigsaw,
    reconstruction,
    segmentation,
    shared,
    smit_pretraining,
    smit_segmentation,
    strings,
)
from launch import main, multihost
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
    assert config.stop_on == "both"
    assert (config.task.window_hu, config.task.level_hu, config.image_size) == (400, 50, 512)
    assert bool(config.init_from) == (init != "random")
    task = tasks.build(config.task.to_dict())
    assert task.module == models.build("fcn_resnet101", num_classes=1)


@pytest.mark.parametrize(("config", "rate"), [(reconstruction, 3e-3), (jigsaw, 3e-4)])
def test_pretexts_of_study_a(config, rate):
    """Section A's row of pretexts: Adam 3e-3 and 3e-4, batch 8, stopped as in fine-tuning; nothing pretrained."""
    pretext, target = config.get_config(), segmentation.get_config()
    assert (pretext.learning_rate, pretext.batch_size, pretext.init_from, pretext.fresh) == (rate, 8, "", ())
    for name in ("image_size", "epochs", "patience", "seed", "devices", "checkpoint_minutes"):
        assert pretext[name] == target[name], name
    for name in ("augmentation", "window_hu", "level_hu"):
        assert pretext.task[name] == target.task[name], name
    assert set(pretext) == set(target)


def test_the_pretexts_networks_and_tiles_are_those_of_study_a():
    """Section A's row of jigsaw: 256 to 255, tiles of 64 in cells of 85, 4096 units, 50 permutations."""
    task = tasks.build(reconstruction.get_config().task.to_dict())
    assert task.module == models.build("fcn_resnet101", num_classes=3)
    task = tasks.build(jigsaw.get_config().task.to_dict())
    assert task.module == models.build("jigsaw_resnet101", num_classes=50, hidden=4096)
    assert (task.resize, task.resize // 3, task.tile_size, task.criterion) == (256, 85, 64, "minimum")
    assert task.permutations.shape == (50, 9)


@pytest.mark.parametrize("network", classification.NETWORKS)
@pytest.mark.parametrize("policy", classification.POLICIES)
def test_study_bs_classification(network, policy):
    """Section B: Adam 5e-5, batch 8, at most 200 epochs, patience 20 on validation, [-175, 250] HU, two classes."""
    config = classification.get_config(f"network={network},policy={policy}")
    assert (config.learning_rate, config.batch_size, config.epochs, config.patience) == (5e-5, 8, 200, 20)
    assert (config.stop_on, config.image_size, config.task.resize) == ("validation", 224, 224)
    variant = "torchvision" if network == "resnet50" else "keras"
    assert config.init_from == f"third_party_weights/radimagenet/{network}.safetensors"
    assert config.fresh == ("fc/.*",)
    task = tasks.build(config.task.to_dict())
    assert task.module == models.build(network, variant=variant, num_classes=2)
    assert (task.variant, task.preprocessing, task.class_weights) == (variant, "own", (1.0, 1.0))
    assert (task.level_hu - task.window_hu / 2, task.level_hu + task.window_hu / 2) == (-175, 250)
    assert bool(task.freeze) == (policy != "unfreezeall")
    drawn = {name for name in ("flip", "rotation", "scaling", "elastic", "shift") if getattr(task.augmentation, name)}
    assert drawn == {"flip", "rotation", "shift"}
    small = tasks.build(classification.get_config(f"network={network},policy={policy},smoke").task.to_dict())
    assert (small.network, small.freeze == task.freeze) == (network, policy != "unfreezetop10" or network[:3] == "inc")


@pytest.mark.parametrize(
    ("text", "rate", "epochs", "warmup", "drop_path"), [(None, 6e-4, 500, 20, 0.3), ("paper", 2e-4, 400, 30, 0.1)]
)
def test_smits_pretraining(text, rate, epochs, warmup, drop_path):
    """The published code, or its paper: 2 mm, crops of 96, batch 6, AdamW with weight decay 0.01, a cosine to 0."""
    config = smit_pretraining.get_config(text)
    assert (config.learning_rate, config.epochs, config.warmup_epochs, config.decay) == (rate, epochs, warmup, "cosine")
    assert (config.batch_size, config.weight_decay, config.image_size) == (6, 0.01, 96)
    assert (config.spacing_mm, config.crops_per_scan, config.patience) == ((2.0, 2.0, 2.0), 1, epochs)
    task = tasks.build(config.task.to_dict())
    assert (task.module.drop_path, task.module.stage_sizes, task.module.width) == (drop_path, (2, 2, 4, 2), 48)
    assert (task.module.prototypes, task.module.shared_head) == (8192, False)
    assert (task.patch_weight, task.image_weight, task.ema, task.teacher_init) == (0.1, 0.1, "fixed", "student")
    assert (task.level_hu - task.window_hu / 2, task.level_hu + task.window_hu / 2) == (-175, 250)


def test_smits_pretraining_with_the_faults_of_its_code():
    task = smit_pretraining.get_config("official").task
    assert (task.ema, task.teacher_init) == ("official", "official")


@pytest.mark.parametrize(("schedule", "warmup", "decay"), [("constant", 0, "constant"), ("official", 50, "cosine")])
def test_study_bs_segmentation(schedule, warmup, decay):
    """Section B: four crops of 96 at 1.5 x 1.5 x 2 mm, AdamW 1e-4, weight decay 1e-5, 200 epochs, kept every 30."""
    config = smit_segmentation.get_config(f"schedule={schedule}")
    assert (config.learning_rate, config.weight_decay, config.epochs, config.keep_epochs) == (1e-4, 1e-5, 200, 30)
    assert (config.warmup_epochs, config.decay, config.patience) == (warmup, decay, 200)
    assert (config.image_size, config.spacing_mm, config.crops_per_scan) == (96, (1.5, 1.5, 2.0), 4)
    assert (config.overlap, config.fresh) == (0.5, ("decoder/.*",))
    assert config.init_from == "third_party_weights/smit_encoder.safetensors"
    assert smit_segmentation.get_config("init=random").init_from == ""
    assert [bool(smit_segmentation.get_config(text).init_from) for text in ("small", "small,init=smit")] == [
        False,
        True,
    ]
    task = tasks.build(config.task.to_dict())
    assert task.module == models.build("smit_segmenter", num_classes=2, drop_path=0.3)
    assert (task.module.stage_sizes, task.module.width) == ((2, 2, 4, 2), 48)
    assert (task.level_hu - task.window_hu / 2, task.level_hu + task.window_hu / 2) == (-175, 250)


@pytest.mark.parametrize("text", ["small", "smoke"])
def test_small_students_fit_small_segmenters(text):
    configs = [config.get_config(text) for config in (smit_pretraining, smit_segmentation)]
    pretraining, tuning = (tasks.build(config.task.to_dict()).module for config in configs)
    assert (pretraining.stage_sizes, pretraining.width) == (tuning.stage_sizes, tuning.width)
    assert {config.image_size for config in configs} == {32}


def test_variants_of_classification_have_weights_of_their_own():
    config = classification.get_config("network=inception_v3,variant=torchvision,values=grey")
    assert config.init_from == "third_party_weights/radimagenet/inception_v3_torchvision.safetensors"
    assert (config.task.model.variant, config.task["values"]) == ("torchvision", "grey")
    fresh = classification.get_config("init=random")
    assert (fresh.init_from, fresh.fresh) == ("", ())


@pytest.mark.parametrize("config", [segmentation, reconstruction, jigsaw])
@pytest.mark.parametrize("text", ["network=small", "smoke"])
def test_small_networks_fit_each_other(config, text):
    """A pretext of a small network serves a small segmenter."""
    network = config.get_config(text).task.model
    size = shared.NETWORKS[text.rpartition("=")[2]]
    assert {name: network[name] for name in size} == size
    tasks.build(config.get_config(text).task.to_dict())


@pytest.mark.parametrize("config", [segmentation, reconstruction, jigsaw])
def test_a_task_takes_what_its_network_computes_in(config):
    assert config.task({**shared.NETWORKS["small"], "dtype": "bfloat16"})["model"]["dtype"] == "bfloat16"


def test_configs_share_no_dict_that_one_could_change():
    segmentation.task(shared.NETWORKS["small"])["augmentation"]["flip"] = 0
    assert jigsaw.task(shared.NETWORKS["small"])["augmentation"]["flip"] == 0.5


def test_configs_are_locked():
    with pytest.raises(AttributeError):
        segmentation.get_config().learning = 1


def launch(*flags):
    command = [sys.executable, "-m", "launch.train", *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--config=configs/segmentation.py:init=guess"],
            "; the head of configs/segmentation.py explains its config strings\n",
        ),
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
    assert "The head of each file in configs/ explains its config strings" in done.stdout
    for name in ("segmentation", "jigsaw", "classification"):
        assert f"--config=configs/{name}.py" in done.stdout


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

    assert main._guarded(interrupt, lambda: multihost.EACH, []) == 130
    assert "interrupted; run the same command again" in capsys.readouterr().err
