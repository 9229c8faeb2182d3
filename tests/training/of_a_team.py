"""A process of two that take the steps of test_devices.py together; the first writes what they have found.

python tests/training/of_a_team.py FILE PORT INDEX
"""

import pickle
import sys
from pathlib import Path

from mskjax.processes import Start, connect


def main(file: str, port: str, index: str) -> None:
    connect(Start("flags", int(index), 2, coordinator=f"localhost:{port}"))
    from test_devices import BATCH, run

    from mskjax.training import sharding

    mesh = sharding.make_mesh(0, BATCH, together=True)
    assert (mesh.size, sharding.team(mesh).count) == (8, 2)
    found = run(mesh)
    if index == "0":
        Path(file).write_bytes(pickle.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
