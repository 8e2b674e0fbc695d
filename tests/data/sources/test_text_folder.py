from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import equal, records, weights
from tests.runs.conftest import stopped
from trainkit.core.errors import CheckpointError, DataError
from trainkit.data.inputs import Texts
from trainkit.data.sample_checks import diagnostics
from trainkit.data.sources.text_folder import TextFolderConfig
from trainkit.data.texts.source import TextSource
from trainkit.experiment.schema import ExperimentConfig
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.inference.prediction import batches, predict
from trainkit.inference.restoring import restore
from trainkit.reports.report_page import write
from trainkit.runs.run import resume, train

WORDS = {"good": ["lovely", "warm", "fine", "bright"], "bad": ["dull", "cold", "poor", "grim"]}
FILLERS = ["the", "a", "film", "was", "and", "it", "seemed", "to", "me", "rather", "quite"]


def text(label: str, number: int) -> str:
    """Mostly words that tell nothing."""
    rng = random.Random(f"{label}{number}")
    words = rng.choices(FILLERS, k=rng.randint(3, 30)) + rng.choices(WORDS[label], k=2)
    rng.shuffle(words)
    return " ".join(words)


def reviews(root: str = "reviews", count: int = 40) -> Path:
    for label in WORDS:
        Path(root, label).mkdir(parents=True)
        for number in range(count):
            Path(root, label, f"{number:03}.txt").write_text(text(label, number))
    return Path(root)


def experiment(**sections: Any) -> ExperimentConfig:
    plain: dict[str, Any] = {
        "data": {"name": "text_folder", "path": "reviews"},
        "loader": {"batch_size": 8},
        "optimizer": {"name": "adam", "lr": 0.03},
        "train": {"epochs": 8},
        "log": {"every": 3, "tensorboard": False},
    }
    return ExperimentConfig.from_plain(plain | sections)


def test_classes_are_folders_and_texts_are_numbers_of_tokens() -> None:
    reviews()
    data = TextFolderConfig(path="reviews").open(0)
    assert data.spec.task.names == ("bad", "good")
    assert isinstance(data.spec.input, Texts)
    assert [len(split) for split in data.splits.values()] == [58, 6, 16]
    batch = data.train.take(torch.arange(4))
    assert batch.inputs.dtype == torch.int64
    assert batch.lengths is not None
    assert batch.inputs.shape == (4, int(batch.lengths.max()))
    source = data.train.source
    assert isinstance(source, TextSource)
    for position, index in enumerate(data.train.index[:4].tolist()):
        ids = batch.inputs[position, : batch.lengths[position]].tolist()
        assert data.spec.input.tokenizer.decode(ids) == Path(source.places[index]).read_text()
    said = [note.text for note in data.notes]
    assert any("different tokens (word), learned from the 58 training texts" in text for text in said)


def test_only_training_texts_make_the_vocabulary() -> None:
    for split in ("train", "test"):
        reviews(split, 10)
    Path("test/good/000.txt").write_text("sesquipedalian " * 9)
    data = TextFolderConfig(path=".").open(0)
    assert isinstance(data.spec.input, Texts)
    assert "sesquipedalian" not in data.spec.input.tokenizer.tokens
    assert data.test is not None
    assert any("% of test" in note.text for note in data.notes)


def test_the_layout_of_film_reviews() -> None:
    for split in ("train", "test"):
        reviews(f"aclImdb/{split}", 10)
        Path(f"aclImdb/{split}/urls_good.txt").write_text("http://example.org\n")
    Path("aclImdb/train/unsup").mkdir()
    Path("aclImdb/train/unsup/0_0.txt").write_text("nobody knows")
    Path("aclImdb/README").write_text("about")
    data = TextFolderConfig(path="aclImdb").open(0)
    assert data.spec.task.names == ("bad", "good")
    assert data.test is not None
    assert (len(data.train), len(data.test)) == (18, 20)
    assert any("unsup: not used" in note.text for note in data.notes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        ("caf\u00e9".encode("latin-1"), r":1: not UTF-8 \(byte 0xe9\); save it as UTF-8"),
        (b"line\na\0b", ":2: a NUL character"),
    ],
)
def test_what_is_no_text_is_told_or_left_out(content: bytes, message: str) -> None:
    reviews()
    Path("reviews/good/bad.txt").write_bytes(content)
    with pytest.raises(DataError, match=rf"reviews/good/bad.txt:? ?{message}") as refused:
        TextFolderConfig(path="reviews").open(0)
    assert refused.value.problems[-1].startswith("reviews: 1 text cannot be used; mend or remove them")
    data = TextFolderConfig(path="reviews", on_error="skip").open(0)
    assert sum(map(len, data.splits.values())) == 80
    assert any(note.text == "1 of 81 texts cannot be used and are left out" for note in data.notes)


def test_a_text_without_a_token_is_told() -> None:
    reviews()
    Path("reviews/good/000.txt").write_text("<br />")
    with pytest.raises(DataError, match=r"^reviews/good/000.txt: no token in it\n"):
        TextFolderConfig(path="reviews").open(0)
    assert sum(map(len, TextFolderConfig(path="reviews", on_error="skip").open(0).splits.values())) == 79


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ([], "expected a folder of text files per class, found none"),
        (["one"], "found only 'one'"),
        (["one", "two"], r"one: no text files \(.txt\) in it"),
    ],
)
def test_folders_that_are_none_of_classes(folders: list[str], message: str) -> None:
    Path("texts").mkdir()
    for name in folders:
        Path("texts", name).mkdir()
    with pytest.raises(DataError, match=message):
        TextFolderConfig(path="texts").open(0)


def test_texts_in_two_splits_are_told() -> None:
    for split in ("train", "test"):
        reviews(split, 20)
    data = TextFolderConfig(path=".").open(0)
    assert [str(one) for one in diagnostics(data)] == ["data: 36 of the 40 test samples are also training samples"]
    Path("test").rename("elsewhere")
    Path("again").mkdir()
    Path("train").rename("again/train")
    assert diagnostics(TextFolderConfig(path="again").open(0)) == []


def test_long_texts_are_cut_and_it_is_said() -> None:
    reviews()
    Path("reviews/good/000.txt").write_text("lovely film " * 500)
    data = TextFolderConfig(path="reviews", max_length=10).open(0)
    assert data.spec.shape == (10,)
    assert any("the first 10 count, which cuts" in note.text for note in data.notes)


@pytest.mark.parametrize("model", ["embedding_bag", "gru", "transformer"])
def test_stop_and_resume_equals_no_stop(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reviews()
    small = {"embedding_bag": {}, "gru": {"hidden_size": 8}, "transformer": {"d_model": 8, "dim_feedforward": 8}}[model]
    of = experiment(model={"name": model, **small}, train={"epochs": 2})
    whole = train(of, run_dir=Path("whole"))
    stopped(of, 5, Path("parts"), monkeypatch)
    resume(Path("parts"))
    assert records(Path("parts")) == records(whole.run_dir)
    assert equal(weights(Path("parts/checkpoints/last.pt")), weights(Path("whole/checkpoints/last.pt")))


def test_from_training_to_predictions() -> None:
    reviews()
    result = train(experiment(), run_dir=Path("run"))
    assert result.metrics["test/accuracy"] > 0.8
    found = evaluate_checkpoint(Path("run"), "test")
    assert found.metrics["accuracy"] == result.metrics["test/accuracy"]
    assert [one.input for one in predict("run", "reviews/good")] == [f"reviews/good/{n:03}.txt" for n in range(40)]
    [few] = batches(
        restore(Path("run")), [], lambda error: None, texts=["so lovely , so warm", "grim and dull and cold"]
    )
    assert [one.answer for one in few] == [("good",), ("bad",)]
    refused: list[DataError] = []
    assert list(predict("run", ["reviews/nothing.txt", "reviews"], refuse=refused.append))
    assert [str(one) for one in refused] == ["reviews/nothing.txt: no such file or directory"]


def test_another_folder_is_read_with_the_vocabulary_of_training() -> None:
    reviews()
    train(experiment(), run_dir=Path("run"))
    reviews("others", 20)
    Path("others/good/000.txt").write_text("entirely other words")
    found = evaluate_checkpoint(Path("run"), "test", overrides=["data.path=others"])
    assert found.metrics["accuracy"] > 0.7
    with pytest.raises(DataError, match=r"the model knows the tokens of data.tokenizer=word alone$"):
        evaluate_checkpoint(Path("run"), "test", overrides=["data.tokenizer=char"])


def test_the_report_shows_the_worst_mistakes_as_texts() -> None:
    reviews()
    train(experiment(train={"max_steps": 2}), run_dir=Path("run"))
    write(Path("run"))
    page = Path("run/report.html").read_text()
    assert "The worst predictions" in page
    assert any(word in page for words in WORDS.values() for word in words)


def test_a_test_folder_is_no_class() -> None:
    reviews()
    reviews("reviews/test", 5)
    with pytest.raises(DataError, match="expected a folder train beside test, in each a folder per class"):
        TextFolderConfig(path="reviews").open(0)


def test_tokens_that_nobody_has() -> None:
    reviews()
    with pytest.raises(DataError, match=r"^data.min_frequency: no token occurs 10,000 times in the training texts$"):
        TextFolderConfig(path="reviews", min_frequency=10_000).open(0)
    with pytest.raises(ValueError, match="vocab_size must be > 256 with bpe"):
        TextFolderConfig(path="reviews", tokenizer="bpe", vocab_size=100)


def test_predictions_refuse_tokens_that_are_cut_otherwise() -> None:
    reviews()
    train(experiment(train={"max_steps": 2}), run_dir=Path("run"))
    path = Path("run/checkpoints/last.pt")
    content = torch.load(path, weights_only=True)
    content["spec"]["input"]["tokenizer"]["proof"] = "0" * 16
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="cuts texts otherwise than that of the training"):
        list(predict(path, "reviews/good"))


def test_standard_input_is_a_text_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    reviews()
    train(experiment(), run_dir=Path("run"))
    lines = "so lovely and warm\n\ngrim and dull\u2028and cold\n".encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines)))
    refused: list[DataError] = []
    found = list(predict("run", "-", refuse=refused.append))
    assert [(one.input, one.answer) for one in found] == [("-:1", ("good",)), ("-:3", ("bad",))]
    assert [str(one) for one in refused] == ["-:2: no token in it"]
