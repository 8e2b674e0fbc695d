"""The classes of masks: which value or colour is which, as a config says it or as the masks of training show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field

from trainkit.core.errors import DataError
from trainkit.core.records import NoteRecord
from trainkit.core.text import first_ten
from trainkit.data.folders import SplitName
from trainkit.data.images.masks import IGNORED, RGB, ColourTable, MaskFile, Masks, occurring, shown
from trainkit.tasks import Segmentation

Value = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[Value, Value, Value]
Named = Sequence[str] | Mapping[str, int] | Mapping[str, RGB]
"""The names of the classes; or which value or colour each has in a mask."""

MOST = IGNORED
"""Of more classes, one would have the number of what is ignored."""
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
BINARY = {0: 0, 255: 1}
"""The classes of masks that hold nothing else."""
MOST_CLASSES_BESIDE_WHITE = 32
"""Of more values than this, of which 0 and 255 are the most frequent, those between are edges."""


class Decided(NamedTuple):
    """What masks mean."""

    task: Segmentation
    table: Mapping[int, int]
    """The class of each value; what is not in it is ignored."""
    note: NoteRecord | None = None


@dataclass(frozen=True, slots=True)
class Classes:
    """What a config says of the classes."""

    names: tuple[str, ...] = ()
    """Empty where the masks are to tell how many there are."""
    values: Mapping[int, int] | None = None
    """The class of each value, where not value 0 is class 0, 1 class 1 and so on."""
    colours: ColourTable | None = None
    """Those of RGB masks."""
    ignored: int | None = None
    """The value that counts for nothing."""

    @classmethod
    def of(cls, named: Named, ignored: int | RGB) -> Classes:
        """Raises ValueError where the names cannot be those of classes."""
        value, colour = (ignored, None) if isinstance(ignored, int) else (None, ignored)
        if named and not 2 <= len(named) <= MOST:
            raise ValueError(f"classes: expected 2 to {MOST}, got {len(named)}")
        meanings = list(named.values()) if isinstance(named, Mapping) else list(named)
        if len(set(meanings)) < len(meanings):
            raise ValueError("classes: two are the same")
        numbers = {meaning: number for number, meaning in enumerate(meanings)}
        values = {meaning: number for meaning, number in numbers.items() if isinstance(meaning, int)}
        colours = {meaning: number for meaning, number in numbers.items() if isinstance(meaning, tuple)}
        if colours:
            return cls(tuple(named), colours=ColourTable(colours, colour), ignored=IGNORED)
        return cls(tuple(named), values or None, ignored=value)

    def decide(self, root: Path, splits: Mapping[SplitName, Masks], known: Segmentation | None) -> Decided:
        """What the masks mean.

        Args:
            root: what to call the whole of them in messages.
            known: the classes of a model that is to see them.

        Raises:
            DataError: they hold something that means nothing, or a single class.
        """
        if known is not None and self.names and known.names and self.names != known.names:
            raise DataError(f"data.classes: {shown(self.names)}; the model knows {shown(known.names)}")
        named = {path: file for masks in splits.values() for path, file in masks.by_path.items()}
        if self.values is None and self.colours is None:
            _refuse_other_palettes(named)
        training = splits["train"].files.values()
        decided = self._decided(training, named.values(), known)
        meaningful = {*decided.table} | {self.ignored}
        problems = []
        for path, file in named.items():
            if others := {value: count for value, count in file.pixels.items() if value not in meaningful}:
                pixels = f"{sum(others.values()):,} pixels of the value{'s' * (len(others) > 1)} {shown([*others])}"
                problems.append(f"{path}: {pixels}")
        if problems:
            size = decided.task.size
            text = f"{len(problems):,} of {len(named):,} masks hold values that are none of the {size} classes"
            ignored = "" if self.ignored is None else f", or {self.ignored} for what is ignored"
            expected = f"expected {shown(sorted(decided.table))}{ignored}"
            raise DataError(*first_ten(problems), f"{text}; {expected}; see data.classes")
        there = {decided.table[value] for value in occurring(training) if value in decided.table}
        if known is None and len(there) < 2:
            which = decided.task.known_names[there.pop()] if there else None
            hold = f"hold the class {which!r} alone" if which else f"hold {self.ignored} alone, which is ignored"
            raise DataError(f"{root}: the {len(training):,} training masks {hold}; there is nothing to tell apart")
        return decided

    def _decided(
        self, training: Collection[MaskFile], every: Collection[MaskFile], known: Segmentation | None
    ) -> Decided:
        if self.colours is not None:
            colours = tuple(self.colours.classes)
            task = known or Segmentation(size=len(self.names), names=self.names, colours=colours)
            return Decided(task, {number: number for number in range(task.size)})
        palette = next((file for file in training if file.palette is not None), None)
        there = occurring(training if known is None else every)
        if known is not None:
            binary = known.size == 2 and known.colours == (BLACK, WHITE)
        else:
            binary = 255 in there and len(self.names) in (0, 2)
        if self.values is None and binary and palette is None and there <= {*BINARY}:
            names = self.names or ("background", "foreground")
            text = f"the training masks hold 0 and 255 alone, which are two classes: {names[0]} and {names[1]}"
            task = Segmentation(size=2, names=names, colours=(BLACK, WHITE))
            return Decided(known or task, BINARY, NoteRecord(text))
        if self.values is None and binary and palette is None:
            _refuse_smooth_edges(training)
        size = known.size if known is not None else len(self.names) or self._size(there)
        table = self.values or {value: value for value in range(size) if value != self.ignored}
        of_values = {value: file.colour(value) for file in training for value in file.pixels}  # palettes may end early
        of_palette = {number: of_values.get(v, palette.colour(v)) for v, number in table.items()} if palette else {}
        colours = tuple(of_palette.get(number, BLACK) for number in range(size)) if palette else ()
        return Decided(known or Segmentation(size=size, names=self.names, colours=colours), table)

    def _size(self, there: set[int]) -> int:
        """How many classes there are where nobody says it."""
        values = sorted(there - {self.ignored})
        size = max(values, default=0) + 1
        if size > MOST or size > 2 * len(values) + 2:
            mapping = ", ".join(f"…: {value}" for value in values[:3])
            raise DataError(
                f"data.classes: the training masks hold the values {shown(values)}, which do not count the classes "
                f"from 0 on; say which is which, such as data.classes={{{mapping}}}"
            )
        return max(2, size)


def _refuse_smooth_edges(files: Collection[MaskFile]) -> None:
    """Raises DataError where masks are of 0 and 255, and of many rarer values between them."""
    pixels: Counter[int] = Counter()
    for file in files:
        pixels.update(file.pixels)
    if len(pixels) > MOST_CLASSES_BESIDE_WHITE and {value for value, _ in pixels.most_common(2)} == {*BINARY}:
        raise DataError(
            f"data.path: the training masks hold 0, 255 and, in fewer pixels, {len(pixels) - 2} values between them, "
            "as of masks that were smoothed or scaled; make them 0 and 255 alone, or say with data.classes which value "
            "is which"
        )


def _refuse_other_palettes(files: Mapping[Path, MaskFile]) -> None:
    """Raises DataError where masks with a palette are among grey ones, or give a value another colour."""
    if all(file.palette is None for file in files.values()):
        return
    problems = []
    first: dict[int, tuple[RGB, Path]] = {}
    indexed = next(path for path, file in files.items() if file.palette is not None)
    for path, file in files.items():
        if file.palette is None:
            problems.append(f"{path}: a grey mask, but {indexed} has a palette")
            continue
        for value in file.pixels:
            colour, where = first.setdefault(value, (file.colour(value), path))
            if colour != file.colour(value):
                its, other = list(file.colour(value)), list(colour)
                problems.append(f"{path}: the value {value} has the colour {its}, in {where} it has {other}")
                break
    if problems:
        text = "do values mean the same in all masks? a mapping as data.classes says which value or colour is which"
        raise DataError(*first_ten(problems), f"data.path: {len(problems):,} of {len(files):,} masks differ; {text}")
