"""Tokenizers: what cuts a text into tokens and numbers them, learned from the training texts and kept in checkpoints.

Pieces of words are cut by the `tokenizers` library, whose vocabulary is kept as plain words and pairs, not in its own
format, so that it is checked like everything else in a checkpoint. The numbers of a few known texts prove that another
version of it, or of Python's Unicode tables, cuts texts alike.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from trainkit.config.base import Config
from trainkit.core.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    import tokenizers

TokenizerKind = Literal["word", "char", "bpe"]
UNKNOWN = "<unk>"
UNKNOWN_ID = 0
BREAK = re.compile(r"<br\s*/?>")
WORD = re.compile(r"\w+|[^\w\s]+")
PROOF = (
    "It's 10:30, isn't it?<br />Na\u00efve co\u00f6peration \u2013 \u00bd of 3 \u20ac, ",
    "\uff21\uff22 \ufb01n\u0301 Stra\u00dfe \u0130stanbul\t\u65e5\u672c\u8a9e \U0001f44d\U0001f3fd \u200bx_y\n",
)
"""Texts of which the numbers are remembered, besides the first tokens."""


def is_empty(text: str) -> bool:
    """Whether there is no token in it, however it is cut."""
    return not BREAK.sub(" ", text).strip()


class Tokenizer(Config):
    """Texts to numbers: whole words, characters, or pieces of words (byte-level BPE; Sennrich et al., 2016,
    arXiv:1508.07909).

    Texts are brought to Unicode's NFC, tags `<br>` count as spaces. A word is a run of letters, digits and underscores,
    or of other signs. Number 0 stands for what is unknown, of which there is none in pieces.
    """

    kind: TokenizerKind
    lower: bool
    tokens: tuple[str, ...]
    """In the order of their numbers."""
    merges: tuple[tuple[str, str], ...] = ()
    """Of pieces: which two become one, the first ones first."""
    proof: str = ""
    """A digest of the numbers of known texts."""

    @classmethod
    def trained(
        cls, texts: Iterable[str], kind: TokenizerKind, *, lower: bool, vocab_size: int, min_frequency: int
    ) -> Self:
        """Learn the tokens that are most frequent in some texts, at most `vocab_size` of them. Equal texts give equal
        ones.

        Raises:
            ConfigError: pieces are asked for, and the library that cuts them is not installed.
        """
        known = cls(kind=kind, lower=lower, tokens=(UNKNOWN,))
        if kind == "bpe":
            learned = known._with_pieces(texts, vocab_size, min_frequency)
        else:
            counts = Counter(chain.from_iterable(map(known._cut, texts)))
            frequent = sorted(
                (token for token, count in counts.items() if count >= min_frequency),
                key=lambda token: (-counts[token], token),
            )
            learned = known.model_copy(update={"tokens": (UNKNOWN, *frequent[: vocab_size - 1])})
        return learned.model_copy(update={"proof": learned._proof()})

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """The numbers of each text's tokens, shape (tokens,)."""
        if self.kind == "bpe":
            cut = self._pieces.encode_batch_fast([self._normal(text) for text in texts])
            return [np.array(one.ids, dtype=np.int32) for one in cut]
        number = self._numbers.__getitem__
        return [np.fromiter(map(number, self._cut(text)), dtype=np.int32) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """Roughly the text of some numbers: with a space between words, and what is unknown marked."""
        if self.kind == "bpe":
            return str(self._pieces.decode(list(ids)))
        return (" " if self.kind == "word" else "").join(self.tokens[number] for number in ids)

    def check(self) -> None:
        """Prove that texts get the numbers of the training.

        Raises:
            CheckpointError: they do not.
        """
        if self._proof() != self.proof:
            library = f"tokenizers {_library().__version__}" if self.kind == "bpe" else "this version of Python"
            text = f"{library} cuts texts otherwise than that of the training; use that one, or train again"
            raise CheckpointError(text)

    def _proof(self) -> str:
        texts = [*PROOF, " ".join(self.tokens[:1000])]
        return hashlib.sha256(b"".join(ids.tobytes() for ids in self.encode(texts))).hexdigest()[:16]

    def _normal(self, text: str) -> str:
        text = BREAK.sub(" ", text) if "<" in text else text
        text = text if text.isascii() else unicodedata.normalize("NFC", text)
        return text.lower() if self.lower else text

    @cached_property
    def _cut(self) -> Callable[[str], Sequence[str]]:
        """What cuts a text into words or characters."""
        normal, words = self._normal, WORD.findall
        return (lambda text: words(normal(text))) if self.kind == "word" else normal

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return _Numbers((token, number) for number, token in enumerate(self.tokens))

    @cached_property
    def _pieces(self) -> tokenizers.Tokenizer:
        vocabulary = {token: number for number, token in enumerate(self.tokens)}
        return _byte_level(_library().models.BPE(vocab=vocabulary, merges=list(self.merges)))

    def _with_pieces(self, texts: Iterable[str], vocab_size: int, min_frequency: int) -> Self:
        library = _library()
        tokenizer = _byte_level(library.models.BPE())
        trainer = library.trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            show_progress=False,
            initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
        )
        tokenizer.train_from_iterator(map(self._normal, texts), trainer)
        vocabulary = tokenizer.get_vocab()
        tokens = tuple(sorted(vocabulary, key=vocabulary.__getitem__))
        merges = tuple((first, second) for first, second in json.loads(tokenizer.to_str())["model"]["merges"])
        return self.model_copy(update={"tokens": tokens, "merges": merges})


class _Numbers(dict[str, int]):
    """The numbers of tokens; what is no token has that of the unknown one."""

    def __missing__(self, token: str) -> int:
        return UNKNOWN_ID


def _byte_level(model: Any) -> tokenizers.Tokenizer:
    library = _library()
    tokenizer: tokenizers.Tokenizer = library.Tokenizer(model)
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    return tokenizer


def _library() -> Any:
    try:
        import tokenizers  # an extra
    except ImportError:
        raise ConfigError("data.tokenizer: bpe needs the tokenizers library; pip install 'trainkit[text]'") from None
    return tokenizers
