"""What is told of an experiment before it is trained: errors, and what is probably not meant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["error", "warning", "fine"]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong, probably not meant, or was looked at and is as it should be."""

    code: str
    """What kind it is, for programs: of errors the part that is at fault (config, data, model, device, storage)."""
    text: str
    """`key: what is wrong`; after `file:line:column: ` where something in a file is to blame and it is known."""
    level: Level = "warning"
    """Of an `error`, training would not begin; a `warning` is allowed."""
    exit_code: int = 2
    """Of an error: what `trainkit train` would end with; 2 for what a user's own code raised."""
    why: str = ""
    """Why it matters."""
    change: str = ""
    """A line of YAML or an override, where one mends it; otherwise what to look at."""

    def __str__(self) -> str:
        return self.text

    @property
    def where(self) -> tuple[str, int, int] | None:
        """File, line and column, where the text has them."""
        found = re.match(r"(.+?):(\d+):(\d+): ", self.text)
        return (found[1], int(found[2]), int(found[3])) if found else None

    def to_text(self) -> str:
        """`error[data]: …`, a line of `trainkit check`."""
        return f"{self.level}[{self.code}]: {self.text}"

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        file, line, column = self.where or (None, None, None)
        plain: dict[str, Any] = {"level": self.level, "code": self.code, "file": file, "line": line, "column": column}
        return plain | {"message": self.text}

    def to_github(self, config: str) -> str:
        """A line that GitHub's runners show beside the code."""
        file, line, column = self.where or (config, 1, 1)
        text = self.text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        level = "notice" if self.level == "fine" else self.level
        return f"::{level} file={file},line={line},col={column},title=trainkit {self.code}::{text}"
