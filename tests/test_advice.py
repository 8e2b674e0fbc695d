"""What a message advises works at once: every `key=value` in it is typed, and the message is gone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from tests import printed
from trainkit.cli import main
from trainkit.core.errors import DataError
from trainkit.data.base import Data, Split, TensorSource
from trainkit.data.epoch_batches import EpochBatches
from trainkit.data.inputs import Numbers
from trainkit.data.spec import DataSpec
from trainkit.experiment.compatibility import check_batch_norm
from trainkit.tasks import Classification

PICTURES = "data: {name: digits, val: 1164}\nmodel: {name: sequential, layers: [flatten, batch_norm1d, linear]}\n"
"""273 training samples: batches of 16 and of 17 leave one behind."""
TABLE = "data: {name: csv, path: t.csv, target: y, task: classification}\nmodel: {name: mlp, hidden: [4]}\n"
ROWS = 40


def table(*cells: str, name: str = "it's a") -> str:
    """A CSV file with a column of these cells, over and over, between two that are always alike in kind."""
    column = [cells[row % len(cells)] for row in range(ROWS)]
    rows = [f'{row * 37 % 11},"{cell}",{"no" if row % 3 else "yes"}' for row, cell in enumerate(column)]
    return "\n".join([f'x,"{name}",y', *rows]) + "\n"


@pytest.mark.parametrize(
    ("config", "csv", "said", "advised"),
    [
        (PICTURES + "loader: {batch_size: 16}\n", "", "16 leaves a last batch of 1 sample", 2),
        (PICTURES + "loader: {batch_size: 1}\n", "", "too few for BatchNorm", 1),
        (PICTURES + "loader: {batch_size: 5000, drop_last: true}\n", "", "0 batches", 2),
        (TABLE, table("01/02/2020", "03/04/2021", "05/06/2020"), "may be dmy or mdy", 1),
        (TABLE, table("1,234", "2,345", "3,456"), "has separators", 2),
        (TABLE, table(*[str(n * n) for n in range(ROWS - 1)], "so-so"), "is no number", 2),
        (TABLE, table(*[str(n) for n in range(ROWS)]), "counts the rows", 1),
        (TABLE, table("2020-01-02", "03.04.2021"), "in several formats", 1),
    ],
)
def test_advice_is_good(
    config: str,
    csv: str,
    said: str,
    advised: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("job.yaml").write_text(config)
    Path("t.csv").write_text(csv)
    line = "trainkit train job.yaml train.max_steps=1 log.tensorboard=false -q"
    trainkit(line, monkeypatch)
    [message] = [found for found in capsys.readouterr().err.splitlines() if said in found]
    settings = printed.settings(re.sub(r"\(.*?\)", "", message.partition("; ")[2]))
    assert len(settings) == advised, message
    for setting in settings:
        trainkit(f"{line} {setting}", monkeypatch)
        assert said.removeprefix("16 ") not in capsys.readouterr().err, setting


def trainkit(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", printed.words(line)[1:])
    with pytest.raises(SystemExit):
        main.main()


def test_any_number_of_samples_and_batch_norm() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2))

    def sizes(samples: int, batch_size: int, drop_last: bool = False) -> list[int]:
        batches = EpochBatches(samples, batch_size, 0, drop_last)
        return [batches.size(batch) for batch in range(len(batches))]

    target = Classification(size=2, names=("a", "b"))
    cpu = torch.device("cpu")
    for samples in range(2, 40):
        places = torch.arange(samples)
        train = Split(TensorSource(torch.zeros(samples, 2), places % 2), places)
        data = Data(DataSpec(input=Numbers(shape=(2,)), task=target), train, None, None)
        for batch_size in range(1, 40):
            try:
                check_batch_norm(model, sizes(samples, batch_size), data, cpu)
            except DataError as error:
                for setting in printed.settings(str(error)):
                    key, _, value = setting.partition("=")
                    drop_last = key == "loader.drop_last"
                    advised = sizes(samples, batch_size if drop_last else int(value), drop_last)
                    assert advised
                    check_batch_norm(model, advised, data, cpu)
            else:
                assert 1 not in sizes(samples, batch_size)
