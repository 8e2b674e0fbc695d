"""The commands: words in, a call of what does the work, lines out. Nothing here needs torch before it is called."""

from trainkit.cli.commands import init, training, checks, inference, reports, reference  # isort: skip  # in the order of `trainkit --help`
from trainkit.cli.commands.base import app

__all__ = ["app", "checks", "inference", "init", "reference", "reports", "training"]
