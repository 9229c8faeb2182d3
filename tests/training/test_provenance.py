"""What a folder says that was begun with another config."""

import pytest

from mskjax.files import write_json
from mskjax.training.provenance import check_config


@pytest.mark.parametrize(
    ("own", "given", "message"),
    [
        (
            {"seed": 0},
            {"seed": 1},
            r"study is of another config \(seed 0, now 1\); change it back or use another workdir",
        ),
        (
            {"seed": 0},
            {"seed": 0, "stratify": "label"},
            r"study was begun by a former version of mskjax, which had no config\.stratify; go on with that",
        ),
        ({"task": {"resize": 8}}, {"task": {"resize": 8, "smoothing": 1}}, r"task\.smoothing None, now 1"),
    ],
)
def test_configs_that_differ_are_refused(tmp_path, own, given, message):
    (tmp_path / "study").mkdir()
    write_json(tmp_path / "study" / "config.json", own)
    with pytest.raises(ValueError, match=message):
        check_config(tmp_path / "study", given)


def test_what_may_change_may_be_new(tmp_path):
    write_json(tmp_path / "config.json", {"seed": 0, "epochs": 3})
    check_config(tmp_path, {"seed": 0, "epochs": 4, "stop_on": "both"})


def test_a_rate_that_falls_until_the_last_epoch_fixes_the_epochs(tmp_path):
    own = {"epochs": 3, "keep_epochs": 0, "decay": "constant"}
    write_json(tmp_path / "config.json", own)
    check_config(tmp_path, {**own, "epochs": 4, "keep_epochs": 2})
    write_json(tmp_path / "config.json", {**own, "decay": "cosine"})
    check_config(tmp_path, {**own, "decay": "cosine", "keep_epochs": 2})
    with pytest.raises(ValueError, match=r"is of another config \(epochs 3, now 4\); change it back"):
        check_config(tmp_path, {**own, "epochs": 4, "decay": "cosine"})
