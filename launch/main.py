"""What all launch scripts share: `--help` with the script's examples, one-sentence errors, and the exit status."""

import logging as standard_logging
import sys
from collections.abc import Callable

from absl import app, flags, logging

from launch import devices, multihost
from mskjax.files import sentence_of


def run(main: Callable[[], int | None], which: Callable[[], str] = lambda: multihost.FIRST) -> None:
    """Parses the flags, calls `main` and exits: 0 done, 1 some cases failed (of `main`), 2 cannot run, 130 Ctrl-C.

    `which` tells, after that, which of several processes call it. `ValueError` and `OSError` say what is wrong with
    an input and print as one sentence; anything else is a fault of the program and keeps its traceback."""
    devices.keep_programs()
    logging.set_verbosity(logging.INFO)
    logging.get_absl_handler().setFormatter(None)
    for chatty in ("jax", "highdicom", "pydicom", "fontTools"):  # of absent accelerators, copies and glyphs
        standard_logging.getLogger(chatty).setLevel(standard_logging.WARNING)
    try:
        app.run(lambda arguments: sys.exit(_guarded(main, which, arguments[1:])), flags_parser=_parse)
    except BrokenPipeError:
        # Whoever read the output has enough, as `| head` has.
        sys.exit(multihost.processes.leave(141))  # the shell's 128 + SIGPIPE


def _guarded(main: Callable[[], int | None], which: Callable[[], str], leftover: list[str]) -> int:
    try:
        if leftover:
            raise ValueError(f"unknown arguments {' '.join(leftover)}; every argument is a flag, as in --name=value")
        status = (main() or 0) if multihost.join(which()) else 0
        sys.stdout.flush()
        return multihost.processes.leave(status, together=True)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        return _refuse("interrupted; run the same command again to go on", status=130)
    except (ValueError, OSError) as error:
        return _refuse(sentence_of(error))


def _parse(arguments: list[str]) -> list[str]:
    if any(a in ("--help", "-h", "-help", "--helpfull", "-?") for a in arguments[1:]):
        print(sys.modules["__main__"].__doc__ or "")
        print(flags.FLAGS.main_module_help().strip(), flush=True)
        sys.exit(0)
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        told = any(remedy in str(error) for remedy in ("; ", "Did you mean"))
        sys.exit(_refuse(str(error) if told else f"{error}; --help lists the flags"))


def _refuse(sentence: str, status: int = 2) -> int:
    multihost.processes.tell(f"error: {sentence}")
    return multihost.processes.leave(status)
