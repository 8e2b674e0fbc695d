"""Lines for a terminal, a pipe or a file whose reader may go away."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TextIO


def print_line(text: str, stream: TextIO) -> None:
    """Print a line; a closed pipe and a terminal that is gone are silent."""
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        silence(stream)


def silence(stream: TextIO) -> None:
    """Let nobody read a stream whose reader is gone: what is still in its buffer would raise again at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
