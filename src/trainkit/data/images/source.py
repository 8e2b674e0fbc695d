"""Pictures in files: what all sources of them have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from trainkit.config.shell import typed
from trainkit.core.diagnostics import Diagnostic
from trainkit.core.errors import DataError
from trainkit.core.records import NoteRecord
from trainkit.core.seeding import permutation
from trainkit.data.base import Data, DataSpec, Source, Split, TargetSpec, hold_out
from trainkit.data.images import caching, headers
from trainkit.data.images.bit_depth import SIXTEEN_BITS, Limits, Spread
from trainkit.data.images.decoding import NO_LIMITS, Colour, PictureSource, Resize, Unreadable, decode_all
from trainkit.data.sources.digits import Side
from trainkit.data.splitting import Keys
from trainkit.data.transforms.pipeline import MEASURED_FILES, ImageDataConfig, statistics

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
Notes = tuple[NoteRecord, ...]
KeysOf = Callable[[Sequence[str]], Keys]
"""What keeps the training pictures with these names together, or brings them into an order."""

FEW_LEVELS = 32
"""With fewer of 256 grey levels, most of a picture is lost."""
MEASURED_SIZES = 25
"""Pictures of which the size in the file is looked at."""
ENLARGED = 2
"""A picture that is scaled by so much has no more to show, but takes at least four times as long."""


class PicturesConfig(ImageDataConfig):
    """Base of the sources of files."""

    shown: ClassVar = ImageDataConfig.shown | {"size", "resize", "crop_pct", "mode", "background", "range", "cache"}

    size: Side | tuple[Side, Side] = 224
    """Height and width in pixels to which every picture is brought."""
    resize: Resize = "crop"
    """How a picture of another shape gets that size. `crop`: it is scaled to cover it, and the centre is kept; `pad`:
    the whole picture, with `background` beside it; `stretch`: the whole picture, out of proportion."""
    crop_pct: float = Field(1.0, gt=0, le=1)
    """The share of a picture's shorter side that is kept: it is scaled to `size / crop_pct`, then the centre is cut."""
    mode: Literal["rgb", "grey"] = "rgb"
    """Three channels or one."""
    background: Colour | None = "white"
    """What is seen where a picture is transparent: `white`, `black`, or `[red, green, blue]` from 0 to 255. `null`: the
    colour that is stored there, as a rule black."""
    range: Limits | Literal["auto"] | None = "auto"
    """For grey pictures with more than 8 bits a pixel: the values that become black and white, such as `[0, 4095]`.
    `auto`: the smallest and largest of the training pictures (of 1,000 of them). Kept in the checkpoint, for all
    pictures that its model meets. `null`: such pictures are errors."""
    test: Annotated[float, Field(gt=0, lt=1)] | None = 0.2
    """The fraction of the pictures that is the test split, the same for every seed, when there is none yet."""
    on_error: Literal["stop", "skip"] = "stop"
    """Pictures that cannot be read. `stop`: an error; before training for files that are no pictures, for damaged ones
    when they are decoded. `skip`: decode all before training, leave those out, and say which."""
    cache: bool = False
    """Keep the decoded pictures on disk (height x width x channels bytes each), so that later epochs and runs read them
    without decoding; below TRAINKIT_CACHE_DIR, by default `~/.cache/trainkit`."""
    rules: Literal[1, 2] = 2
    """How files are found and decoded. 1 is for checkpoints from before there was 2: files of fewer endings, `val` as
    the only name of the val split, no `background`, and a `range` of [0, 65535]."""

    @model_validator(mode="after")
    def _whole_pictures_are_not_cut(self) -> Self:
        if self.resize != "crop" and self.crop_pct < 1:
            raise ValueError(f"resize: {self.resize} keeps the whole picture; use crop_pct: 1 with it")
        return self

    @abstractmethod
    def build(self, seed: int) -> Data: ...

    def spec(self) -> None:
        return None

    def placeholder(self, seed: int) -> Data:
        return self.model_copy(update={"cache": False}).open(seed)  # to decode them all is no look

    def reopen(self, seed: int, spec: DataSpec) -> Data:
        return (self.model_copy(update={"range": spec.range}) if self._measures else self).open(seed)

    def source(self, root: Path, names: Sequence[str], targets: Sequence[int]) -> PictureSource:
        """Pictures with these paths below a folder, decoded as this config says."""
        height, width = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        return PictureSource(
            root,
            names,
            torch.tensor(targets, dtype=torch.int64),
            self.mode,
            height,
            width,
            self.crop_pct,
            self.resize,
            background=None if self.rules == 1 else self.background,
            limits=SIXTEEN_BITS if self.rules == 1 else self.range if isinstance(self.range, tuple) else None,
            heeds_white_is_zero=self.rules != 1,
        )

    def _data(
        self,
        where: Path,
        files: Mapping[Part, PictureSource],
        classes: Sequence[str],
        seed: int,
        notes: Notes = (),
        keys: KeysOf = lambda names: Keys(),
        found: Sequence[Diagnostic] = (),
    ) -> Data:
        """Leave out what cannot be read, and take the splits that are not there yet off the training pictures.

        Args:
            where: what to call the whole of the pictures in messages.
            files: at least those for training.
        """
        caches = {part: cache for part, cache in self._caches(files).items() if not self._lacks_range(cache)}
        looks = {part: headers.look(source) for part, source in files.items() if part not in caches}
        unreadable = self._unreadable(files, looks) | {part: cache.unreadable for part, cache in caches.items()}
        if self.on_error == "stop":  # first, for all that follows may take long
            self._refuse(where, files, classes, unreadable)
        deep = {part: one.deep for part, one in looks.items() if one.deep}
        if cut := sum(len(one.cut) for one in looks.values()):
            text = f"{where}: {cut:,} of the pictures have 16 bits a colour, of which the upper 8 are kept"
            notes += (NoteRecord(text, "warning"),)
        if deep and self._measures:
            limits, told, odd = self._measured(files, deep.get("train", []), unreadable["train"], seed, keys)
            notes, found = notes + told, (*found, *odd)
            files = {part: replace(source, limits=limits) for part, source in files.items()}
            caches = self._caches(files)
            unreadable |= {part: cache.unreadable for part, cache in caches.items()}
        if files["train"].limits is None:
            for part, numbers in deep.items():
                unreadable[part] |= dict.fromkeys(numbers, f"{NO_LIMITS}; see data.range")
        sources, names, left_out = self._readable(where, files, classes, caches, unreadable)
        kept, val, test = self._divided(sources, names, seed, keys)
        shape, limits = files["train"].shape, files["train"].limits
        mean, std = statistics(self.normalize, shape[0])
        target = TargetSpec(kind="classification", size=len(classes), names=tuple(classes))
        spec = DataSpec(shape=shape, target=target, image=True, mean=mean, std=std, range=limits)
        found = (*found, *self._enlarged(files["train"]))
        return Data(spec, kept, val, test, notes + left_out, found=tuple(found))

    @property
    def _measures(self) -> bool:
        return self.range == "auto" and self.rules != 1

    def _caches(self, files: Mapping[Part, PictureSource]) -> dict[Part, caching.Cache]:
        """Those that are there already."""
        found = {part: caching.find(source) if self.cache else None for part, source in files.items()}
        return {part: cache for part, cache in found.items() if cache}

    def _lacks_range(self, cache: caching.Cache) -> bool:
        """Whether pictures are missing in it only since it is from when `range` was null."""
        return self._measures and NO_LIMITS in cache.unreadable.values()

    def _unreadable(
        self, files: Mapping[Part, PictureSource], looks: Mapping[Part, headers.Look]
    ) -> dict[Part, Unreadable]:
        """What cannot be read, as far as was looked; all of it, where it is to be left out."""
        if self.on_error == "stop" or self.cache:
            return {part: one.unreadable for part, one in looks.items()}
        # Which values are white is not known yet, and does not matter.
        sources = {part: replace(files[part], limits=SIXTEEN_BITS) if self._measures else files[part] for part in looks}
        return {
            part: {number: why for _, failed in decode_all(source) for number, why in failed.items()}
            for part, source in sources.items()
        }

    def _measured(
        self, files: Mapping[Part, PictureSource], deep: Sequence[int], unreadable: Unreadable, seed: int, keys: KeysOf
    ) -> tuple[Limits | None, Notes, list[Diagnostic]]:
        """What becomes black and white, and what is to be said of it.

        Args:
            deep, unreadable: of the pictures for training, those with more than 8 bits, and those to be left out.
        """
        readable = [number for number in range(len(files["train"])) if number not in unreadable]
        train = files["train"].without(unreadable)
        kept, *_ = self._divided({**files, "train": train}, train.names, seed, keys)
        trained_on = {readable[place] for place in kept.index.tolist()}
        chosen = [number for number in deep if number in trained_on]
        order = permutation(len(chosen), 0, "range")[:MEASURED_FILES].sort().values
        spread = headers.spread_of(files["train"], [chosen[place] for place in order.tolist()])
        if spread is None:
            return None, (), []
        low, high = spread.limits
        text = (
            f"data.range: {len(chosen):,} of {len(kept):,} training pictures have more than 8 bits a pixel; "
            f"{low:g} becomes black and {high:g} white, as measured on {len(order):,} of them"
        )
        return spread.limits, (NoteRecord(text),), _few_levels(spread)

    def _enlarged(self, source: PictureSource) -> list[Diagnostic]:
        """Whether pictures are made much larger than they are because the config says nothing of their size."""
        if "size" in self.model_fields_set:
            return []
        step = -(-len(source) // MEASURED_SIZES)
        sizes = headers.sizes_of(source, range(0, len(source), step))
        shorter = int(median(min(size) for size in sizes)) if sizes else source.height
        if ENLARGED * shorter > min(source.height, source.width):
            return []
        height, width = sizes[0] if len(set(sizes)) == 1 else (shorter, shorter)
        size = typed("data.size", height if height == width else (height, width))
        work = round(source.height * source.width / (height * width))
        are = f"{'' if len(set(sizes)) == 1 else 'about '}{height}x{width}"
        text = (
            f"data.size: the pictures are {are}, and are enlarged to the default of {source.height}x{source.width}, "
            f"which is {work} times the work; write {size}, or data.size={source.height} where pretrained "
            "weights want that"
        )
        return [Diagnostic("enlarged", text)]

    def _divided(
        self, sources: Mapping[Part, Source], names: Sequence[str], seed: int, keys: KeysOf
    ) -> tuple[Split, Split | None, Split | None]:
        """The training, val and test pictures.

        Args:
            names: of the pictures for training.
        """
        train, kept_by = sources["train"], keys(names)
        test, rest = hold_out(train, 0 if "test" in sources else self.test or 0, keys=kept_by)
        if "test" in sources:
            test = _all(sources["test"])
        if "val" in sources:  # then `val` does not count, but `subset` does
            kept, _ = self.model_copy(update={"val": 0}).divide(train, seed, rest)
            val: Split | None = _all(sources["val"])
        else:
            kept, val = self.divide(train, seed, rest, keys=kept_by)
        return kept, val, test if len(test) else None

    def _readable(
        self,
        where: Path,
        files: Mapping[Part, PictureSource],
        classes: Sequence[str],
        caches: dict[Part, caching.Cache],
        unreadable: dict[Part, Unreadable],
    ) -> tuple[dict[Part, Source], Sequence[str], Notes]:
        """What can be read, the names of those for training, and what is to be said."""
        notes: Notes = ()
        for part, source in files.items():
            if self.cache and part not in caches:
                caches[part], took = caching.build(source)
                unreadable[part] = caches[part].unreadable
                notes += (NoteRecord(took),)
        problems = self._refuse(where, files, classes, unreadable)
        if problems:
            total = sum(map(len, files.values()))
            texts = [f"{len(problems):,} of {total:,} pictures cannot be read and are left out", *problems[:10]]
            texts += [f"and {len(problems) - 10:,} more: {'; '.join(problems[10:])}"] if problems[10:] else []
            notes += tuple(NoteRecord(text, "warning") for text in texts)
        readable = {part: source.without(unreadable.get(part, {})) for part, source in files.items()}
        sources: dict[Part, Source] = {
            part: caches[part].open(some) if part in caches else some for part, some in readable.items()
        }
        return sources, readable["train"].names, notes

    def _refuse(
        self,
        where: Path,
        files: Mapping[Part, PictureSource],
        classes: Sequence[str],
        unreadable: Mapping[Part, Unreadable],
    ) -> list[str]:
        """What is wrong with the pictures that cannot be read, one text each.

        Raises:
            DataError: it is more than can be left out.
        """
        problems = [
            f"{files[part].path(number)}: {why}" for part in files for number, why in unreadable.get(part, {}).items()
        ]
        total = sum(map(len, files.values()))
        count = f"{where}: {len(problems):,} of {total:,} pictures cannot be read"
        if 2 * len(problems) > total:
            raise DataError(*first_ten(problems), f"{count}; are these the pictures that are meant?")
        if problems and self.on_error == "stop":
            raise DataError(*first_ten(problems), f"{count}; mend or remove them, or use data.on_error=skip")
        readable = files["train"].without(unreadable.get("train", {})).targets
        for number in set(files["train"].targets.tolist()) - set(readable.tolist()):
            raise DataError(*first_ten(problems), f"{where}: no picture of {classes[number]!r} can be read")
        return problems


def _all(source: Source) -> Split:
    return Split(source, torch.arange(len(source)))


def _few_levels(spread: Spread) -> list[Diagnostic]:
    """What to say where single pixels decide over the range, and leave next to nothing to all others."""
    if spread.usual_levels >= FEW_LEVELS or spread.usual_low == spread.usual_high:
        return []
    low, high = float(f"{spread.usual_low:g}"), float(f"{spread.usual_high:g}")
    text = (
        f"data.range: of each training picture, all but 0.2% of the pixels lie in {low:g} to {high:g}, for which "
        f"{spread.usual_levels} of 256 grey levels are left; try {typed('data.range', (low, high))}"
    )
    return [Diagnostic("range", text)]


def first_ten(problems: Sequence[str]) -> list[str]:
    """Some of many problems, and how many there are more."""
    return [*problems[:10], *([f"… and {len(problems) - 10:,} more like these"] if len(problems) > 10 else [])]
