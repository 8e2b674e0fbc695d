"""Texts of all splits, numbered: by a tokenizer that is learned from those of training alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from trainkit.config.base import Config
from trainkit.config.shell import typed
from trainkit.config.yamlfile import show
from trainkit.core.errors import DataError
from trainkit.core.records import NoteRecord
from trainkit.core.seeding import permutation
from trainkit.core.text import first_ten
from trainkit.data.base import Batch, Data, Source, Split
from trainkit.data.folders import SplitName
from trainkit.data.inputs import Texts
from trainkit.data.sequences import SequenceSource
from trainkit.data.spec import DataSpec
from trainkit.data.texts.tokenizer import UNKNOWN_ID, Tokenizer, TokenizerKind
from trainkit.tasks import Task

MOST_TRAINED_ON = 100_000
"""Texts from which a tokenizer is learned; of more, so many are drawn."""
WHOLE = 0.99
"""Of the training texts, so many are kept whole where `max_length` is left to trainkit."""
LONGEST = 512
"""But no more tokens than these."""
BYTES = 256
AT_ONCE = 10_000
"""Texts that are cut into tokens together."""


@dataclass(frozen=True, slots=True)
class RawTexts:
    """Texts before it is known which token has which number: a source that can be divided, but gives no batches."""

    texts: Sequence[str]
    places: Sequence[str]
    """What to call each in a message: `file`, or `file:line`."""
    targets: Tensor
    """Shape (n,) or (n, size)."""

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, index: Tensor, draw: int = 0, repeat: Tensor | None = None) -> Batch:
        raise NotImplementedError

    def digest(self) -> str:
        raise NotImplementedError


@dataclass(frozen=True)
class TextSource(SequenceSource):
    """Numbered texts, which know where they come from."""

    places: Sequence[str] = ()

    def where(self, index: int) -> str:
        """What to call a text."""
        return self.places[index]


class TextConfig(Config):
    """How texts become numbers of tokens."""

    tokenizer: TokenizerKind = "word"
    """How texts are cut: `word` (runs of letters and digits, or of other signs), `char` (characters), `bpe` (frequent
    pieces of words, so that none is unknown; Sennrich et al., 2016, arXiv:1508.07909)."""
    lower: bool = True
    """Whether capital letters count as small ones."""
    vocab_size: Annotated[int, Field(ge=2, le=1_000_000)] = 20_000
    """The largest number of different tokens, the most frequent ones of the training texts."""
    min_frequency: Annotated[int, Field(ge=1)] = 2
    """How often a token has to occur in the training texts; rarer ones are all the unknown one."""
    max_length: Annotated[int, Field(ge=1, le=1_000_000)] | Literal["auto"] = "auto"
    """The largest number of tokens of a text that the model sees, from its beginning. `auto`: so many that 99 % of the
    training texts are whole, but at most 512."""

    @model_validator(mode="after")
    def _pieces_begin_with_bytes(self) -> Self:
        if self.tokenizer == "bpe" and self.vocab_size <= BYTES:
            raise ValueError(f"vocab_size must be > {BYTES} with bpe, which begins with a token for each byte")
        return self

    def learned(self, texts: Sequence[str]) -> Tokenizer:
        """A tokenizer for texts like these.

        Raises:
            DataError: no token is frequent enough.
        """
        chosen = permutation(len(texts), 0, "tokenizer")[:MOST_TRAINED_ON].sort().values.tolist()
        found = Tokenizer.trained(
            (texts[index] for index in chosen),
            self.tokenizer,
            lower=self.lower,
            vocab_size=self.vocab_size,
            min_frequency=self.min_frequency,
        )
        if len(found) == 1:
            raise DataError(f"data.min_frequency: no token occurs {self.min_frequency:,} times in the training texts")
        return found

    def longest(self, lengths: NDArray[np.int64]) -> int:
        """How many tokens of a text count, given the lengths of the training texts."""
        if self.max_length != "auto":
            return min(self.max_length, int(lengths.max()))
        return min(LONGEST, int(np.quantile(lengths, WHOLE, method="higher")))


def numbered(
    config: TextConfig,
    divided: Mapping[SplitName, Split],
    task: Task,
    like: DataSpec | None,
    notes: Sequence[NoteRecord] = (),
) -> Data:
    """Splits of texts with their tokens numbered, by what the training texts have.

    Args:
        divided: splits of `RawTexts`, at least that for training.
        like: what the texts were in training; None to decide it.

    Raises:
        CheckpointError: the tokenizers library cuts texts otherwise than that of the training.
        DataError: a text has no token.
        ConfigError: the tokenizers library is not installed.
    """
    train = divided["train"]
    if like is None:
        assert isinstance(train.source, RawTexts)
        tokenizer = config.learned([train.source.texts[index] for index in train.index.tolist()])
    elif isinstance(like.input, Texts):
        tokenizer = like.input.tokenizer
        tokenizer.check()
        for key, asked, had in (
            ("tokenizer", config.tokenizer, tokenizer.kind),
            ("lower", config.lower, tokenizer.lower),
        ):
            if asked != had:
                known = f"the model knows the tokens of {typed(f'data.{key}', had)} alone"
                raise DataError(f"data.{key}: {show(asked)}, but {known}")
    else:
        raise DataError("data: texts, but the model was trained on something else")
    raw = {id(split.source): split.source for split in divided.values()}
    ids = {key: encoded(tokenizer, texts) for key, texts in raw.items() if isinstance(texts, RawTexts)}
    lengths = np.array([len(one) for one in ids[id(train.source)]])[train.index.numpy()]
    longest = config.longest(lengths) if like is None else like.shape[0]
    sources = {key: _source(raw[key], ids.pop(key), longest) for key in raw}
    splits = {name: Split(sources[id(split.source)], split.index) for name, split in divided.items()}
    spec = DataSpec(input=Texts(shape=(longest,), tokenizer=tokenizer), task=task)
    said = [_lengths_note(lengths, longest), *_vocabulary_notes(tokenizer, splits)]
    return Data(spec, splits["train"], splits.get("val"), splits.get("test"), (*notes, *said))


def _source(raw: Source, ids: Sequence[NDArray[np.int32]], longest: int) -> TextSource:
    assert isinstance(raw, RawTexts)
    values = torch.from_numpy(np.concatenate([one[:longest] for one in ids]))
    lengths = torch.tensor([min(len(one), longest) for one in ids])
    return TextSource(values, lengths, raw.targets, raw.places)


def encoded(tokenizer: Tokenizer, texts: RawTexts) -> list[NDArray[np.int32]]:
    """The numbers of all tokens of each text.

    Raises:
        DataError: one has none.
    """
    ids: list[NDArray[np.int32]] = []
    for start in range(0, len(texts), AT_ONCE):
        ids += tokenizer.encode(texts.texts[start : start + AT_ONCE])
    if empty := [place for place, one in zip(texts.places, ids, strict=True) if not len(one)]:
        raise DataError(*first_ten([f"{place}: no token in it" for place in empty]))
    return ids


def _lengths_note(lengths: NDArray[np.int64], longest: int) -> NoteRecord:
    cut = float((lengths > longest).mean())
    rest = f"; the first {longest} count, which cuts {cut:.1%} of them" if cut else ""
    low, high = int(lengths.min()), int(lengths.max())
    return NoteRecord(f"texts of {low:,} to {high:,} tokens, half of them up to {int(np.median(lengths)):,}{rest}")


def _vocabulary_notes(tokenizer: Tokenizer, splits: Mapping[SplitName, Split]) -> list[NoteRecord]:
    texts = len(splits["train"])
    drawn = f"{MOST_TRAINED_ON:,} of the {texts:,}" if texts > MOST_TRAINED_ON else f"the {texts:,}"
    said = [NoteRecord(f"{len(tokenizer):,} different tokens ({tokenizer.kind}), learned from {drawn} training texts")]
    if tokenizer.kind == "bpe":
        return said
    shares = []
    for name, split in splits.items():
        assert isinstance(split.source, TextSource)
        ends = split.source.lengths.cumsum(0)
        unknown = torch.cat([torch.zeros(1, dtype=torch.int64), (split.source.values == UNKNOWN_ID).cumsum(0)])
        of_text = unknown[ends] - unknown[ends - split.source.lengths]
        share = int(of_text[split.index].sum()) / int(split.source.lengths[split.index].sum())
        shares.append(f"{share:.1%} of {name}")
    return [*said, NoteRecord(f"unknown tokens: {', '.join(shares)}")]
