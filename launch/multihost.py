"""The flags of several processes that run one command together, as on the hosts of a pod."""

import sys

from absl import flags, logging

from mskjax import processes

FLAGS = ("multihost", "coordinator", "process", "processes")
# Which processes a command is for: all, connected, for one work or for works of their own; the first; or each, whose
# user has given it a share.
TOGETHER, APART, FIRST, EACH = "together", "apart", "first", "each"

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
    """Whether this process is to work on a command that is for `which` processes; it is connected where for all."""
    if which == EACH or flags.FLAGS.multihost == "off":
        return True
    told = {name: flags.FLAGS[name].value for name in FLAGS}
    start = processes.find(told["coordinator"], told["process"], told["processes"])
    if start is None or start.count == 1:
        if told["multihost"] == "on":
            raise ValueError(
                "--multihost=on, but nothing tells of other processes; give --coordinator=HOST:PORT, --process=I and "
                "--processes=N, or leave it out"
            )
        return True
    if which == FIRST and start.index:
        print(f"process {start.index} of {start.count} rests: this command is the first one's", file=sys.stderr)
        return False
    if which in (TOGETHER, APART):
        processes.connect(start)
    if which == TOGETHER and start.index:
        logging.set_verbosity(logging.ERROR)  # the first tells
    return True
