"""Texts: from files to batches, steps with and without batches of like lengths, and how right a short text is judged.

    python scripts/bench/texts.py speed
    python scripts/bench/texts.py polarity --root DIR    # DIR/rt-polarity.pos and .neg, a sentence a line

`speed`: 20,000 generated texts of 20 to 400 words. From strings to the batches of one epoch and of five, beside the way
that tutorials show: a Dataset that tokenises a text when it is asked for it, and a collate function that pads. Then
training steps of an LSTM and a transformer, an epoch grouped by length and an epoch that is not, in turn.

`polarity`: the sentence polarity set (Pang and Lee, 2005), 5 seeds of the val split, of the weights and of the order;
the test split, a fifth, is the same for all. Beside it, on the same rows, TF-IDF with logistic regression as
scikit-learn has them, with one word and with one and two words.
"""

from __future__ import annotations

import argparse
import random
import re
import statistics
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import torch
from timing import print_json, ratio, rounds, spread
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from trainkit.data import DataSpec, Split
from trainkit.data.loader import LoaderConfig
from trainkit.data.texts.source import RawTexts, TextConfig, TextSource, numbered
from trainkit.experiment.building import open_data
from trainkit.experiment.schema import ExperimentConfig
from trainkit.models import ModelConfig
from trainkit.models.rnn import LstmConfig
from trainkit.models.transformer import TransformerConfig
from trainkit.runs.run import train
from trainkit.tasks import Classification

CPU = torch.device("cpu")
MODELS: dict[str, ModelConfig] = {
    "lstm": LstmConfig(embedding_dim=64, hidden_size=64),
    "transformer": TransformerConfig(d_model=64, dim_feedforward=128),
}


def generated(count: int) -> tuple[list[str], list[int]]:
    """Words by Zipf's law."""
    draws = random.Random(0)
    words = ["".join(draws.choices("etaoinshrdlucm", k=draws.randint(2, 9))) for _ in range(30_000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    texts = [" ".join(draws.choices(words, weights, k=draws.randint(20, 400))) for _ in range(count)]
    return texts, [number % 2 for number in range(count)]


def ours(texts: list[str], labels: list[int], epochs: int) -> float:
    began = time.perf_counter()
    raw = RawTexts(texts, [str(number) for number in range(len(texts))], torch.tensor(labels))
    task = Classification(size=2, names=("0", "1"))
    data = numbered(TextConfig(max_length=400), {"train": Split.whole(raw)}, task, None)
    loader = LoaderConfig(batch_size=32).train_loader(data.train, 0, CPU)
    for epoch in range(epochs):
        for batch in loader.epoch(epoch):
            assert batch.lengths is not None
    return time.perf_counter() - began


class Lines(Dataset[tuple[Tensor, int]]):
    """A text is cut into words when it is asked for."""

    def __init__(self, texts: list[str], labels: list[int]) -> None:
        self.texts, self.labels = texts, labels
        counts = Counter(word for text in texts for word in self.words(text))
        self.vocabulary = {word: number for number, (word, _) in enumerate(counts.most_common(20_000), 1)}

    def words(self, text: str) -> list[str]:
        return re.findall(r"\w+|[^\w\s]+", text.lower())

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        words = self.words(self.texts[index])[:400]
        return torch.tensor([self.vocabulary.get(word, 0) for word in words]), self.labels[index]


def padded(samples: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor, Tensor]:
    inputs, targets = zip(*samples, strict=True)
    return pad_sequence(list(inputs), batch_first=True), torch.tensor([*map(len, inputs)]), torch.tensor(targets)


def theirs(texts: list[str], labels: list[int], epochs: int) -> float:
    began = time.perf_counter()
    loader = DataLoader(Lines(texts, labels), batch_size=32, shuffle=True, collate_fn=padded)
    for _ in range(epochs):
        for _ in loader:
            pass
    return time.perf_counter() - began


def steps(config: ModelConfig, grouped: bool, count: int) -> float:
    """Seconds for an epoch of training steps."""
    texts, labels = generated(count)
    raw = RawTexts(texts, texts, torch.tensor(labels))
    data = numbered(
        TextConfig(max_length=400), {"train": Split.whole(raw)}, Classification(size=2, names=("0", "1")), None
    )
    assert isinstance(data.train.source, TextSource)
    loader = LoaderConfig(batch_size=32, group_by_length=grouped).train_loader(data.train, 0, CPU)
    model = config.build(DataSpec(input=data.spec.input, task=data.spec.task), 2)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    began = time.perf_counter()
    for batch in loader.epoch():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(*batch.arguments), batch.targets).backward()
        optimizer.step()
    return time.perf_counter() - began


def speed(count: int, repeats: int) -> None:
    texts, labels = generated(count)
    results = {}
    for epochs in (1, 5):
        sides = {"trainkit": partial(ours, texts, labels, epochs), "by line": partial(theirs, texts, labels, epochs)}
        found = rounds(sides, repeats)
        times = ratio(found["by line"], found["trainkit"])
        print(f"from strings to the batches of {epochs} epochs: by line takes {times:.2f} times")
        print({name: spread(seconds) for name, seconds in found.items()})
        results[f"{epochs} epochs"] = found
    for name, config in MODELS.items():
        sides = {f"{name}, {how}": partial(steps, config, how == "grouped", 1600) for how in ("grouped", "not")}
        times = rounds(sides, repeats)
        plain, grouped = times[f"{name}, not"], times[f"{name}, grouped"]
        print(f"{name}: an epoch not grouped takes {ratio(plain, grouped):.2f} times", spread(plain), spread(grouped))
        results |= {name: times}
    print_json(**results)


def polarity(root: Path, seeds: int) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    accuracies: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for label in ("pos", "neg"):
            Path(folder, "texts", label).mkdir(parents=True)
            lines = (root / f"rt-polarity.{label}").read_bytes().decode("latin-1").split("\n")
            for number, line in enumerate(filter(str.strip, lines)):
                Path(folder, "texts", label, f"{number:05}.txt").write_text(line)
        for seed in range(seeds):
            for name in ("embedding_bag", "lstm", "transformer"):
                plain = {
                    "data": {"name": "text_folder", "path": f"{folder}/texts"},
                    "log": {"tensorboard": False},
                    "seed": seed,
                }
                if name != "embedding_bag":
                    plain |= {"model": {"name": name, "dropout": 0.3}, "train": {"epochs": 4}, "scheduler": "one_cycle"}
                experiment = ExperimentConfig.from_plain(plain)
                done = train(experiment, run_dir=Path(folder, f"{name}-{seed}"), quiet=True)
                accuracies.setdefault(name, []).append(done.metrics["test/accuracy"])
            data = open_data(experiment)[1]
            assert data.test is not None
            parts = []
            for split in (data.train, data.test):
                assert isinstance(split.source, TextSource)
                places = split.source.places
                parts.append([Path(places[index]).read_text() for index in split.index.tolist()])
            for most in (1, 2):
                vectors = TfidfVectorizer(ngram_range=(1, most))
                linear = LogisticRegression(max_iter=1000).fit(
                    vectors.fit_transform(parts[0]), data.train.targets.numpy()
                )
                right = linear.predict(vectors.transform(parts[1])) == data.test.targets.numpy()
                accuracies.setdefault(f"TF-IDF of {most}", []).append(float(right.mean()))
    for name, values in accuracies.items():
        print(f"| {name} | {statistics.mean(values):.2%} | {statistics.stdev(values):.2%} |")
    print_json(polarity=accuracies)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("speed", "polarity"))
    parser.add_argument("--root", type=Path, default=Path("data"))
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    if asked.what == "speed":
        speed(asked.texts, asked.rounds)
    else:
        polarity(asked.root, asked.rounds)
