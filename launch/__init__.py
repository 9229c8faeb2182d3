"""Launch scripts: absl flags, then one call into mskjax. Exit status: 0 done, 1 some cases failed, 2 cannot run."""

import os
import sys

# Of a stream that the shell has closed, as by 2>&-, Python has none; what is printed to it is to go nowhere.
for _name in ("stdout", "stderr"):
    if getattr(sys, _name) is None:
        setattr(sys, _name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
