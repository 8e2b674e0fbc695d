"""Base of the data sources of picture files: which cannot be read, what is cached, and the splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from trainkit.config.shell import typed
from trainkit.core.diagnostics import Diagnostic
from trainkit.core.errors import DataError
from trainkit.core.records import NoteRecord
from trainkit.core.seeding import permutation
from trainkit.core.text import first_ten
from trainkit.data.base import Data, Source, Split
from trainkit.data.folders import SplitName
from trainkit.data.images import caching, headers
from trainkit.data.images.bit_depth import SIXTEEN_BITS, Limits
from trainkit.data.images.config import ImageDataConfig, Size, height_width
from trainkit.data.images.crops import done_in_decoding
from trainkit.data.images.decoding import NO_LIMITS, Colour, PictureSource, Unreadable, decode_all
from trainkit.data.spec import DataSpec
from trainkit.data.splitting import Keys
from trainkit.data.transforms.base import TransformConfig
from trainkit.data.transforms.normalize import MEASURED_FILES
from trainkit.tasks import Task

Remark = NoteRecord | Diagnostic
"""What a person should know, or what is probably not meant."""
KeysOf = Callable[[Sequence[str]], Keys]
"""What keeps the training pictures with these names together, or brings them into an order."""

FEW_LEVELS = 32
"""With fewer of 256 grey levels, most of a picture is lost."""
MEASURED_SIZES = 25
"""Pictures of which the size in the file is compared with `size`."""
ENLARGED = 2
"""A picture that is scaled by so much has no more to show, but takes at least four times as long."""


@dataclass(slots=True)
class _SplitFiles:
    """The picture files of one split, and what is known of them so far."""

    source: PictureSource
    cache: caching.Cache | None
    unreadable: Unreadable
    deep: list[int] = field(default_factory=list)
    """Those with more than 8 bits a pixel, unless the cache has them already."""
    truncated: int = 0
    """How many have 16 bits a colour, of which 8 are kept."""

    def use(self, cache: caching.Cache) -> None:
        """Take the pixels, and what could not be decoded, from a cache."""
        self.cache, self.unreadable = cache, cache.unreadable

    def readable(self) -> Source:
        """The pictures that can be read: decoded when asked for, or in the cache."""
        pictures = self.source.without(self.unreadable)
        return self.cache.open(pictures) if self.cache else pictures.kept()


class PicturesConfig(ImageDataConfig):
    """Base of the sources of picture files: how they are decoded, brought to one size, cached and divided."""

    read_by_check: ClassVar = ("the header of every picture", "pictures that are damaged further on")
    shown: ClassVar = ImageDataConfig.shown.union(
        ("size", "resize", "crop_pct", "mode", "background", "range", "cache", "decode")
    )

    size: Size = 224
    """Height and width in pixels to which every picture is brought."""
    resize: Literal["crop", "pad", "stretch"] = "crop"
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
    decode: Literal["exact", "fast"] = "exact"
    """`exact`: pictures are decoded and brought to `size`, and random transforms change that. `fast`: where `augment`
    begins with `random_resized_crop`, each training picture's box is cut out of the JPEG itself, decoded at a half, a
    quarter or an eighth where that is enough for the box, and scaled once, which is several times as fast and sharper;
    with `cache`, it is cut out of what is cached. No difference to evaluation and prediction, to other files, and to
    pictures with masks. The extra `jpeg` makes it faster still, with the same pixels."""
    rules: Literal[1, 2] = 2
    """How files are found and decoded. 1 is for checkpoints from before there was 2: files of fewer endings, `val` as
    the only name of the val split, no `background`, and a `range` of [0, 65535]."""

    @model_validator(mode="after")
    def _whole_pictures_are_not_cut(self) -> Self:
        if self.resize != "crop" and self.crop_pct < 1:
            raise ValueError(f"resize: {self.resize} keeps the whole picture; use crop_pct: 1 with it")
        return self

    def placeholder(self, seed: int) -> Data:
        return self.model_copy(update={"cache": False}).open(seed)  # decoding them all would take long

    def reopen(self, seed: int, spec: DataSpec) -> Data:
        return self.in_range_of(spec).open(seed)

    def in_range_of(self, spec: DataSpec) -> Self:
        """The same with what was black and white in training."""
        return self.model_copy(update={"range": spec.range}) if self._measures else self

    def source(self, root: Path, names: Sequence[str], targets: Sequence[int] | Tensor) -> PictureSource:
        """Pictures with these paths below a folder, decoded as this config says."""
        return PictureSource(
            root,
            names,
            targets if isinstance(targets, Tensor) else torch.tensor(targets, dtype=torch.int64),
            self.mode,
            *height_width(self.size),
            self.crop_pct,
            self.resize,
            background=None if self.rules == 1 else self.background,
            limits=SIXTEEN_BITS if self.rules == 1 else self.range if isinstance(self.range, tuple) else None,
            heeds_white_is_zero=self.rules != 1,
        )

    def for_training(self, train: Split) -> tuple[Split, tuple[TransformConfig, ...]]:
        return done_in_decoding(train, self.augment) if self.decode == "fast" else (train, self.augment)

    @property
    def _measures(self) -> bool:
        return self.range == "auto" and self.rules != 1

    def _data(
        self,
        where: Path,
        files: Mapping[SplitName, PictureSource],
        task: Task,
        seed: int,
        remarks: Sequence[Remark] = (),
        keys: KeysOf = lambda names: Keys(),
    ) -> Data:
        """Leave out what cannot be read, and take the splits that are not there yet off the training pictures.

        Args:
            where: what to call the whole of the pictures in messages.
            files: at least those for training.
        """
        remarks = [*remarks]
        splits = {name: self._inspected(source) for name, source in files.items()}
        train = splits["train"]
        if self.on_error == "stop":  # first, for all that follows may take long
            self._refuse(where, splits, task)
        if truncated := sum(split.truncated for split in splits.values()):
            text = f"{where}: {truncated:,} of the pictures have 16 bits a colour, of which the upper 8 are kept"
            remarks.append(NoteRecord(text, "warning"))
        if self._measures and any(split.deep for split in splits.values()):
            limits = self._measured_range(splits, seed, keys, remarks)
            for split in splits.values():
                split.source, split.cache = replace(split.source, limits=limits), None
                if self.cache and (cache := caching.find(split.source)):
                    split.use(cache)
        if train.source.limits is None:
            for split in splits.values():
                split.unreadable |= dict.fromkeys(split.deep, f"{NO_LIMITS}; see data.range")
        for split in splits.values():
            if self.cache and not split.cache:
                cache, took = caching.build(split.source)
                split.use(cache)
                remarks.append(NoteRecord(took))
        if problems := self._refuse(where, splits, task):
            total = sum(len({*source.names}) for source in files.values())
            texts = [f"{len(problems):,} of {total:,} pictures cannot be read and are left out", *problems[:10]]
            texts += [f"and {len(problems) - 10:,} more: {'; '.join(problems[10:])}"] if problems[10:] else []
            remarks += [NoteRecord(text, "warning") for text in texts]
        divided = self._divided(splits, seed, keys)
        spec = self.image_spec(train.source.shape, task).with_input(range=train.source.limits)
        remarks += self._enlarged(train.source)
        notes = tuple(one for one in remarks if isinstance(one, NoteRecord))
        return Data(spec, *divided, notes, found=tuple(one for one in remarks if isinstance(one, Diagnostic)))

    def _inspected(self, source: PictureSource) -> _SplitFiles:
        """What the cache or else the beginnings of the files tell; where those that cannot be read are to be left out
        and nothing is cached, all are decoded."""
        cache = caching.find(source) if self.cache else None
        # Pictures may be missing in it only since it is from when `range` was null.
        if cache and not (self._measures and NO_LIMITS in cache.unreadable.values()):
            return _SplitFiles(source, cache, cache.unreadable)
        unreadable, deep, truncated = headers.read(source)
        if self.on_error == "skip" and not self.cache:
            # Which values are white is not known yet, and does not matter.
            some = replace(source, limits=SIXTEEN_BITS) if self._measures else source
            unreadable = {index: why for _, failed in decode_all(some) for index, why in failed.items()}
        return _SplitFiles(source, None, unreadable, deep, len({source.names[index] for index in truncated}))

    def _divided(
        self, splits: Mapping[SplitName, _SplitFiles], seed: int, keys: KeysOf
    ) -> tuple[Split, Split | None, Split | None]:
        train = splits["train"]
        names = train.source.without(train.unreadable).names
        sources = {name: split.readable() for name, split in splits.items()}
        test, val = sources.get("test", self.test), sources.get("val")
        return self.train_val_test(sources["train"], seed, test, val, keys=keys(names))

    def _measured_range(
        self, splits: Mapping[SplitName, _SplitFiles], seed: int, keys: KeysOf, remarks: list[Remark]
    ) -> Limits | None:
        """What becomes black and white, as measured on training pictures; None where none of them tells."""
        train = splits["train"]
        readable = [index for index in range(len(train.source)) if index not in train.unreadable]
        kept, *_ = self._divided(splits, seed, keys)
        trained_on = {readable[index] for index in kept.index.tolist()}
        names = train.source.names
        chosen = [*{names[index]: index for index in train.deep if index in trained_on}.values()]  # one of its tiles
        total = len({names[index] for index in trained_on})
        order = permutation(len(chosen), 0, "range")[:MEASURED_FILES].sort().values
        spread = headers.spread_of(train.source, [chosen[index] for index in order.tolist()])
        if spread is None:
            return None
        low, high = spread.limits
        text = (
            f"data.range: {len(chosen):,} of {total:,} training pictures have more than 8 bits a pixel; "
            f"{low:g} becomes black and {high:g} white, as measured on {len(order):,} of them"
        )
        remarks.append(NoteRecord(text))
        if spread.usual_levels < FEW_LEVELS and spread.usual_low != spread.usual_high:
            # Single pixels decide over the range, and leave next to nothing to all others.
            low, high = float(f"{spread.usual_low:g}"), float(f"{spread.usual_high:g}")
            text = (
                f"data.range: of each training picture, all but 0.2% of the pixels lie in {low:g} to {high:g}, for "
                f"which {spread.usual_levels} of 256 grey levels are left; try {typed('data.range', (low, high))}"
            )
            remarks.append(Diagnostic("range", text))
        return spread.limits

    def _enlarged(self, source: PictureSource) -> list[Diagnostic]:
        """Whether pictures are made much larger than they are because the config says nothing of their size."""
        if "size" in self.model_fields_set or source.patches is not None:
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

    def _refuse(self, where: Path, splits: Mapping[SplitName, _SplitFiles], task: Task) -> list[str]:
        """What is wrong with the pictures that cannot be read, one text each.

        Raises:
            DataError: it is more than can be left out.
        """
        told = (
            f"{split.source.path(index)}: {why}" for split in splits.values() for index, why in split.unreadable.items()
        )
        problems = [*dict.fromkeys(told)]  # the tiles of one picture have one problem
        total = sum(len({*split.source.names}) for split in splits.values())
        count = f"{where}: {len(problems):,} of {total:,} pictures cannot be read"
        if 2 * len(problems) > total:
            raise DataError(*first_ten(problems), f"{count}; are these the pictures that are meant?")
        if problems and self.on_error == "stop":
            raise DataError(*first_ten(problems), f"{count}; mend or remove them, or use data.on_error=skip")
        if not problems:
            return []
        train = splits["train"]
        readable = train.source.without(train.unreadable).targets
        for name, before, after in zip(
            task.names, task.count(train.source.targets), task.count(readable), strict=False
        ):
            if before and not after:
                raise DataError(*first_ten(problems), f"{where}: no picture of {name!r} can be read")
        return problems
