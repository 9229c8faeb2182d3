"""How busy other programs keep the processors while a benchmark runs."""

import os
import resource
import time
from pathlib import Path

STAT = Path("/proc/stat")
MOST = 0.05  # of all processors, beyond which figures are called busy


class Watch:
    """Counts from when it is made."""

    def __init__(self):
        self.start, self.busy, self.own = time.perf_counter(), _busy_s(), _own_s()

    def others_share(self) -> float:
        """The share of all processors' time since then that neither this program nor those it has run have used.

        Where the system has no /proc/stat: the load average of the minute before, which knows no owner.
        """
        cores = os.cpu_count() or 1
        if not STAT.exists():
            return os.getloadavg()[0] / cores
        others = (_busy_s() - self.busy) - (_own_s() - self.own)
        return max(0.0, others / (time.perf_counter() - self.start) / cores)


def _busy_s() -> float:
    """The seconds that all processors together have worked since the system started, those stolen from it included."""
    if not STAT.exists():
        return 0.0
    user, nice, system, _, _, irq, softirq, steal = map(int, STAT.read_text().split(maxsplit=9)[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(own.ru_utime + own.ru_stime for own in used)
