from __future__ import annotations

import sys

import pytest

from trainkit.core.errors import CheckpointError, ConfigError
from trainkit.data.texts.tokenizer import Tokenizer, TokenizerKind

TEXTS = ["The cat sat on the mat.", "The dog sat!", "A cat<br />and a dog...", "cats", "Zo\u00eb sat"] * 3


def trained(
    kind: TokenizerKind = "word", *, vocab_size: int = 1000, min_frequency: int = 1, lower: bool = True
) -> Tokenizer:
    return Tokenizer.trained(TEXTS, kind, lower=lower, vocab_size=vocab_size, min_frequency=min_frequency)


def test_words_are_runs_of_letters_or_of_signs_the_most_frequent_first() -> None:
    tokenizer = trained()
    assert tokenizer.tokens[:3] == ("<unk>", "sat", "the")  # both 9 times, in the order of the alphabet
    assert {"the", "...", "!", "zo\u00eb"} <= set(tokenizer.tokens)
    assert "br" not in tokenizer.tokens
    [ids] = tokenizer.encode(["The DOG sat??? <br>"])
    assert tokenizer.decode(ids.tolist()) == "the dog sat <unk>"
    assert ids.dtype == "int32"


def test_capitals_count_where_they_are_to() -> None:
    assert {"The", "the"} <= set(trained(lower=False).tokens)


def test_rare_tokens_are_unknown_and_there_are_at_most_so_many() -> None:
    assert len(trained(vocab_size=5)) == 5
    assert "cats" in trained(min_frequency=3).tokens
    assert "cats" not in trained(min_frequency=4).tokens


def test_characters() -> None:
    tokenizer = trained("char")
    [ids] = tokenizer.encode(["cat \u65e5"])
    assert tokenizer.decode(ids.tolist()) == "cat <unk>"
    assert len(ids) == 5


def test_pieces_of_words_know_everything() -> None:
    tokenizer = trained("bpe", vocab_size=300)
    for text in ("the cat sat", "zo\u00eb \u65e5\u672c \U0001f44d"):
        [ids] = tokenizer.encode([text])
        assert tokenizer.decode(ids.tolist()) == text
    assert len(tokenizer.encode(["the cat sat"])[0]) < 8
    assert len(tokenizer) == 256 + len(tokenizer.merges)


@pytest.mark.parametrize("kind", ["word", "char", "bpe"])
def test_equal_texts_give_equal_tokenizers_which_survive_a_checkpoint(kind: TokenizerKind) -> None:
    tokenizer = trained(kind)
    assert trained(kind) == tokenizer
    loaded = Tokenizer.model_validate_json(tokenizer.model_dump_json())
    assert loaded == tokenizer
    loaded.check()
    assert [ids.tolist() for ids in loaded.encode(TEXTS)] == [ids.tolist() for ids in tokenizer.encode(TEXTS)]


def test_a_library_that_cuts_otherwise_is_refused() -> None:
    with pytest.raises(CheckpointError, match="cuts texts otherwise than that of the training; use that one"):
        trained().model_copy(update={"proof": "0" * 16}).check()


def test_without_the_library_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert len(trained("word").encode(["the cat"])[0]) == len(trained("char").encode(["ab"])[0]) == 2
    with pytest.raises(ConfigError, match=r"^data.tokenizer: .*; pip install 'trainkit\[text\]'$"):
        trained("bpe")
