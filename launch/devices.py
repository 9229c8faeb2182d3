"""What is set before JAX starts."""

import hashlib
import os
import platform
import sys
from pathlib import Path

from mskjax.files import require_folder

PROGRAMS_BYTES = 4 * 2**30


def make_deterministic() -> None:
    """Has sums on a GPU taken in a fixed order, without which no run repeats bit for bit; the user's own flags win."""
    os.environ["XLA_FLAGS"] = f"--xla_gpu_deterministic_ops=true {os.environ.get('XLA_FLAGS', '')}"  # read by JAX


def keep_programs() -> None:
    """Has compiled programs kept for the next start, 4 GiB at most, in a folder of the user's; JAX's settings win."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        import platformdirs

        folder = platformdirs.user_cache_path("mskjax") / "programs" / _processor()
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)  # made by JAX
        os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(PROGRAMS_BYTES))
    folder = os.environ["JAX_COMPILATION_CACHE_DIR"]
    try:
        if "://" not in folder:
            require_folder(folder)
    except OSError as error:
        told = "compiled programs are not kept for the next start: {}, as JAX_COMPILATION_CACHE_DIR"
        print(told.format(error), file=sys.stderr)
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"


def _processor() -> str:
    """A word for what this machine's processor can do: homes are shared, and programs of another one would fail."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    able = sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
    return hashlib.sha256("\n".join([platform.machine(), platform.processor(), *able]).encode()).hexdigest()[:12]
