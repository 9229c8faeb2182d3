import pytest

from mskjax.training.sharding import make_lanes, make_mesh


@pytest.mark.parametrize(
    ("devices", "batch_size", "size"), [(0, 16, 8), (0, 4, 4), (0, 6, 6), (0, 7, 7), (0, 11, 1), (2, 4, 2)]
)
def test_as_many_of_8_devices_as_the_batch_can_be_split_over(devices, batch_size, size):
    assert make_mesh(devices, batch_size).size == size


def test_devices_left_idle_are_told(caplog):
    make_mesh(0, 4)
    assert "batch size 4 uses 4 of 8 devices; a multiple of 8 uses all" in caplog.text


@pytest.mark.parametrize(
    ("devices", "batch_size", "sentence"),
    [
        (9, 9, "9 devices are asked for, but there are 8"),
        (4, 6, "not divisible by 4 devices; use a multiple of 4"),
        (0, 0, "it must be 1 or more"),
    ],
)
def test_what_cannot_be_is_refused(devices, batch_size, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_mesh(devices, batch_size)


@pytest.mark.parametrize(("devices", "most", "lanes"), [(0, 560, 8), (0, 3, 3), (2, 560, 2), (2, 1, 1), (0, 0, 1)])
def test_a_lane_on_each_device_but_no_more_than_there_is_work_for(devices, most, lanes):
    assert dict(make_lanes(devices, most).shape) == {"lane": lanes, "batch": 1}


@pytest.mark.parametrize("most", [1, 560])
def test_lanes_on_devices_that_are_not_there_are_refused(most):
    with pytest.raises(ValueError, match="9 devices are asked for, but there are 8"):
        make_lanes(9, most)
