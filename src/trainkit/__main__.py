"""The program: takes care of Ctrl-C before it imports anything that takes time, then hands over to `cli`."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # there from the start; `signal` around it takes 8 ms
import os

TYPE_CHECKING = False  # that of `typing` takes 18 ms
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

_at_once = False
"""Whether Ctrl-C ends the process: it came before, or the command is over."""


def main() -> NoReturn:
    """Run what the command line says, and exit with its code."""
    global _at_once
    try:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is to be ignored
            signal.signal(signal.SIGINT, _interrupt)
        from trainkit.cli.main import main as command

        command(interrupted=lambda: _at_once)
    except KeyboardInterrupt:  # that came when `cli` was already ending
        _leave()
    finally:
        _at_once = True


def _interrupt(_signum: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, once, where somebody catches it: native modules that are being imported do not."""
    global _at_once
    while frame and not _at_once:
        _at_once = frame.f_code.co_filename.startswith("<frozen importlib")
        frame = frame.f_back
    if _at_once:
        _leave()
    _at_once = True
    raise KeyboardInterrupt


def _leave() -> NoReturn:
    os.write(2, b"error: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
