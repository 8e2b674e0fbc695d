"""Tokenizers: what cuts a text into tokens and numbers them, learned from the training texts and kept in checkpoints.

The `tokenizers` library does the work. What it has learned is kept as plain words and pairs, not in its own format, so
that it is checked like everything else in a checkpoint; the ids of a few known texts prove that another version of the
library gives the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
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
PROOF = (
    "It's 10:30, isn't it?<br />Na\u00efve co\u00f6peration \u2013 \u00bd of 3 \u20ac, ",
    "\uff21\uff22 \ufb01n\u0301 Stra\u00dfe \u0130stanbul\t\u65e5\u672c\u8a9e \U0001f44d\U0001f3fd \u200bx_y\n",
)
"""Texts of which the ids are remembered, besides the first tokens."""


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
    """Of BPE: which two pieces become one, the first ones first."""
    proof: str = ""
    """A digest of the ids of known texts."""

    @classmethod
    def trained(
        cls, texts: Iterable[str], kind: TokenizerKind, *, lower: bool, vocab_size: int, min_frequency: int
    ) -> Self:
        """Learn the tokens that are most frequent in some texts, at most `vocab_size` of them. Equal texts give equal
        ones.

        Raises:
            ConfigError: the library is not installed.
        """
        library = _library()
        known = cls(kind=kind, lower=lower, tokens=(UNKNOWN,))
        if kind == "bpe":
            tokenizer = known._of(library.models.BPE())
            trainer = library.trainers.BpeTrainer(
                vocab_size=vocab_size,
                min_frequency=min_frequency,
                show_progress=False,
                initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
            )
        else:
            tokenizer = known._of(library.models.WordLevel(unk_token=UNKNOWN))
            trainer = library.trainers.WordLevelTrainer(
                vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=[UNKNOWN], show_progress=False
            )
        tokenizer.train_from_iterator(texts, trainer)
        vocabulary = tokenizer.get_vocab()
        merges: Sequence[Sequence[str]] = _model_of(tokenizer).get("merges", ())
        learned = cls(
            kind=kind,
            lower=lower,
            tokens=tuple(sorted(vocabulary, key=vocabulary.__getitem__)),
            merges=tuple((first, second) for first, second in merges),
        )
        return learned.model_copy(update={"proof": learned._proof()})

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """The numbers of each text's tokens, shape (tokens,)."""
        return [np.array(one.ids, dtype=np.int32) for one in self._library_s.encode_batch_fast(list(texts))]

    def decode(self, ids: Sequence[int]) -> str:
        """Roughly the text of some numbers: with a space between words, and what is unknown marked."""
        if self.kind == "bpe":
            return str(self._library_s.decode(list(ids)))
        return (" " if self.kind == "word" else "").join(self.tokens[number] for number in ids)

    def check(self) -> None:
        """Prove that this version of the library gives the ids of the training.

        Raises:
            CheckpointError: it does not.
        """
        if self._proof() != self.proof:
            raise CheckpointError(
                f"tokenizers {_library().__version__} cuts texts otherwise than the version of the training; install "
                "that one, or train again"
            )

    def _proof(self) -> str:
        texts = [*PROOF, " ".join(self.tokens[:1000])]
        return hashlib.sha256(b"".join(ids.tobytes() for ids in self.encode(texts))).hexdigest()[:16]

    @cached_property
    def _library_s(self) -> tokenizers.Tokenizer:
        library = _library()
        vocabulary = {token: number for number, token in enumerate(self.tokens)}
        if self.kind == "bpe":
            return self._of(library.models.BPE(vocab=vocabulary, merges=list(self.merges)))
        return self._of(library.models.WordLevel(vocab=vocabulary, unk_token=UNKNOWN))

    def _of(self, model: Any) -> tokenizers.Tokenizer:
        """The library's tokenizer around a model of its."""
        library = _library()
        tokenizer: tokenizers.Tokenizer = library.Tokenizer(model)
        normal = [library.normalizers.NFC(), library.normalizers.Replace(library.Regex(r"<br\s*/?>"), " ")]
        if self.lower:
            normal.append(library.normalizers.Lowercase())
        tokenizer.normalizer = library.normalizers.Sequence(normal)
        if self.kind == "bpe":
            tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
            tokenizer.decoder = library.decoders.ByteLevel()
        elif self.kind == "char":
            tokenizer.pre_tokenizer = library.pre_tokenizers.Split(library.Regex(r"[\s\S]"), "isolated")
        else:
            tokenizer.pre_tokenizer = library.pre_tokenizers.Whitespace()
        return tokenizer


def _model_of(tokenizer: tokenizers.Tokenizer) -> dict[str, Any]:
    import json

    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    return model


def _library() -> Any:
    try:
        import tokenizers  # an extra
    except ImportError:
        raise ConfigError("data.tokenizer: texts need the tokenizers library; pip install 'trainkit[text]'") from None
    return tokenizers
