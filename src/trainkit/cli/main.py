"""The console script: runs a command, says what went wrong, and exits. The only file that does."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable
from itertools import pairwise
from typing import NoReturn

import typer

from trainkit.cli.commands import app
from trainkit.cli.commands.base import is_override, say
from trainkit.core.errors import NOT_OWN, OutOfMemoryError, RemoteError, StoppedError, StorageError, TrainkitError
from trainkit.core.suggestions import did_you_mean
from trainkit.core.text import printable

# Typer exports only this one of click's errors; its base is UsageError, whichever click Typer brings along.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def main(interrupted: Callable[[], bool] = lambda: False) -> NoReturn:
    """Run a command and exit with its code.

    Args:
        interrupted: whether Ctrl-C has raised KeyboardInterrupt, of which native code may have made another error.
    """
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
        if code == 130:  # what Typer makes of a KeyboardInterrupt
            _fail(130, "interrupted")
        sys.exit(code)
    except StoppedError as error:  # asked for, and safely done
        say(*error.problems, stream=sys.stderr)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _fail(130, "interrupted")
    except Exception as error:
        if interrupted():
            _fail(130, "interrupted")
        if isinstance(error, TrainkitError):
            _fail(error.exit_code, *error.problems)
        if isinstance(error, UsageError):
            _fail(2, _usage_problem(error))
        frames, message = _user_frames(error), str(error).partition("\n")[0]
        if isinstance(error, MemoryError) or "can't allocate memory" in message:
            _fail(OutOfMemoryError.exit_code, "out of memory; use a smaller model or less data")
        if isinstance(error, OSError) and error.strerror and not frames:
            _fail(StorageError.exit_code, f"{error.filename or 'the system says'}: {error.strerror.lower()}")
        say(*frames.splitlines(), stream=sys.stderr)
        kind = "" if isinstance(error, RemoteError) else f"{type(error).__name__}: "
        what = f"{'your code raised' if frames else 'unexpected'} {kind}{message}"
        _fail(1, f"{what}; --debug shows the whole traceback")


def _fail(code: int, *problems: str) -> NoReturn:
    if "--debug" in sys.argv:
        say(traceback.format_exc().rstrip("\n"), stream=sys.stderr)
    say(*(f"error: {printable(problem)}" for problem in problems), stream=sys.stderr)
    sys.exit(code)


def _user_frames(error: Exception) -> str:
    """The traceback through the user's own files; empty when there is none of them in it."""
    trace = traceback.TracebackException.from_exception(error)
    frames = error.frames if isinstance(error, RemoteError) else trace.stack
    trace.stack = traceback.StackSummary.from_list(
        [frame for frame in frames if not frame.filename.startswith(NOT_OWN)]
    )
    if isinstance(error, RemoteError) and trace.stack:
        return f"Traceback (most recent call last):\n{''.join(trace.stack.format())}{error}"
    return "".join(trace.format(chain=False)) if trace.stack or isinstance(error, SyntaxError) else ""


def _usage_problem(error: Exception) -> str:
    words = str(error).removesuffix(".")
    if words.startswith("No such option"):
        from trainkit.config.other_tools import hint_for_flag

        wrong, value = getattr(error, "option_name", ""), None
        for word, following in pairwise([*sys.argv, ""]):
            flag, equals, given = word.partition("=")
            if flag == wrong or re.fullmatch(rf"{re.escape(wrong)}[a-z]+", flag):  # click reads -lr as -l -r
                wrong = flag
                value = given if equals else None if following.startswith("-") or is_override(following) else following
        hint = (
            hint_for_flag(wrong, value)
            or did_you_mean(wrong, getattr(error, "possibilities", None) or [])
            or hint_for_flag(wrong, value, loosely=True)
        )
        return f"command line: no option {wrong!r}{hint or '; overrides are written optimizer.lr=1e-3'}"
    if words.startswith("No such command"):
        wrong = words.split("'")[1]
        known = [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]
        return f"command line: unknown command {wrong!r}{did_you_mean(wrong, known) or '; see trainkit --help'}"
    option = getattr(error, "param", None)
    label = f"{option.opts[0]}: " if option else ""
    return f"command line: {label}{words[:1].lower()}{words[1:]}"
