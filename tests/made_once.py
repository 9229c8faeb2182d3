"""What is made once for the tests of all workers, as it takes long."""

import fcntl
import os
from pathlib import Path


def made_once(factory, name, make):
    """What `make` gives of a new folder of this name; others that ask meanwhile wait, and nobody may change it.

    `factory` is pytest's tmp_path_factory. What is given must be a path.
    """
    ours = factory.getbasetemp()
    folder = (ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours) / "shared" / name
    folder.parent.mkdir(exist_ok=True)
    told = folder.with_name(f"{name}.made")
    with folder.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            folder.mkdir()
            told.write_text(str(make(folder)))
    return Path(told.read_text())
