"""The flags of several processes that run one command together, as on the hosts of a pod."""

import sys

from absl import flags, logging

from mskjax import processes
from mskjax.study.shares import WHOLE, Share, parse

FLAGS = ("multihost", "coordinator", "process", "processes")
# Which processes a command is for: all, connected for one work; the first; or each, for a share that `share` tells.
TOGETHER, FIRST, EACH = "together", "first", "each"

flags.DEFINE_enum(
    "multihost",
    "auto",
    ["auto", "on", "off"],
    "Whether this is one of several processes: auto asks SLURM, Open MPI, Cloud TPU; on must find some; off is alone.",
)
flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, where nothing else tells it.")
flags.DEFINE_integer("process", None, "Which of the processes this is, from 0, where nothing else tells it.")
flags.DEFINE_integer("processes", None, "How many processes there are, where nothing else tells it.")
for _name in FLAGS:
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[_name])


def join(which: str) -> bool:
    """Whether this process is to work on a command that is for `which` processes; it is connected where together."""
    start = None if which == EACH else _start()
    if start and which == FIRST and start.index:
        rests = f"process {start.index} of {start.count} rests: this command is the first one's"
        processes.tell(f"{rests}; --multihost=off has each process run its own")
        return False
    if start and which == TOGETHER:
        processes.connect(start)
        if start.index:
            logging.set_verbosity(logging.ERROR)  # the first tells
    return True


def share(asked: str | None) -> Share:
    """The part of a study that is this process's: the one `asked` for, else by its place among those of its start."""
    told = [f"--{name}" for name in FLAGS if flags.FLAGS[name].value not in (None, "auto", "off")]
    if asked is not None and told:
        raise ValueError(f"--share says which cells are this process's; leave it out, or {' and '.join(told)}")
    if asked is not None or (start := _start()) is None:
        return WHOLE if asked is None else parse(asked)
    processes.separate(start)
    return Share(start.index, start.count)


def _start() -> processes.Start | None:
    """How this process was started with others; None where it is alone, or is to be."""
    asked, coordinator, index, count = (flags.FLAGS[name].value for name in FLAGS)
    start = None if asked == "off" else processes.find(coordinator, index, count)
    if asked == "on" and (start is None or start.count == 1):
        why = "--multihost=on, but nothing tells of other processes"
        raise ValueError(f"{why}; give --coordinator=HOST:PORT, --process=I and --processes=N, or leave it out")
    return start if start and start.count > 1 else None
