"""What tables.py compares trainkit with, each at its defaults and with the preparation that its documentation shows."""

# ruff: noqa: ARG001  (all have the same arguments, used or not)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from table_sources import Table

if TYPE_CHECKING:
    from pandas import DataFrame, Series

MAX_WORDS = 254  # scikit-learn's trees take 255 categories of a column at most


class Rows:
    """The prepared rows: a column holds numbers if all cells of the training do, else words."""

    def __init__(self, table: Table, folder: Path) -> None:
        import pandas as pd

        # What pandas takes for a gap, and the question mark of the UCI repository.
        train, test = (pd.read_csv(folder / f"{part}.csv", dtype=str, na_values=["?"]) for part in ("train", "test"))
        kind = str if table.task == "classification" else float
        self.is_class = table.task == "classification"
        self.answers: Series[Any] = train.pop(table.target).astype(kind)
        self.test_answers: Series[Any] = test.pop(table.target).astype(kind)
        self.words: list[str] = []
        for name in train:
            try:
                train[name] = pd.to_numeric(train[name]).astype(float)
                test[name] = pd.to_numeric(test[name], errors="coerce").astype(float)
            except ValueError:
                self.words.append(name)
        self.numbers = [name for name in train if name not in self.words]
        self.train, self.test = train, test

    def with_categories(self, limit: int | None = None) -> tuple[DataFrame, DataFrame]:
        """Words as pandas' categories: those of the training, the most frequent ones. Any other is a gap."""
        import pandas as pd

        train, test = self.train.copy(), self.test.copy()
        for name in self.words:
            categories = self.train[name].value_counts().index[:limit]
            for part in (train, test):
                known = part[name].where(part[name].isin(categories))
                part[name] = known.astype(pd.CategoricalDtype(categories))
        return train, test


@dataclass(frozen=True, slots=True)
class Ready:
    """What only has to be fitted, and its rows."""

    model: Any
    train: DataFrame
    test: DataFrame


def constant(rows: Rows, seed: int, threads: int) -> Ready:
    from sklearn.dummy import DummyClassifier, DummyRegressor

    model = DummyClassifier(strategy="most_frequent") if rows.is_class else DummyRegressor()
    return Ready(model, rows.train, rows.test)


def linear(rows: Rows, seed: int, threads: int) -> Ready:
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), rows.numbers),
        (OneHotEncoder(handle_unknown="ignore"), rows.words),
    )
    # Its 100 steps are too few for some of the tables, and it says so.
    model = make_pipeline(columns, LogisticRegression(max_iter=1000) if rows.is_class else RidgeCV())
    return Ready(model, rows.train, rows.test)


def hgb(rows: Rows, seed: int, threads: int) -> Ready:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if rows.is_class else HistGradientBoostingRegressor
    return Ready(kind(categorical_features="from_dtype", random_state=seed), *rows.with_categories(MAX_WORDS))


def catboost(rows: Rows, seed: int, threads: int) -> Ready:
    from catboost import CatBoostClassifier, CatBoostRegressor

    kind = CatBoostClassifier if rows.is_class else CatBoostRegressor
    quiet = {"verbose": False, "allow_writing_files": False}
    model = kind(cat_features=rows.words, random_seed=seed, thread_count=threads, **quiet)
    gaps = dict.fromkeys(rows.words, "")  # a category must be a text
    return Ready(model, rows.train.fillna(gaps), rows.test.fillna(gaps))


def realmlp(rows: Rows, seed: int, threads: int) -> Ready:
    from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor

    kind = RealMLP_TD_Classifier if rows.is_class else RealMLP_TD_Regressor
    train, test = rows.with_categories()
    medians = train[rows.numbers].median()  # it takes gaps among words, and none among numbers
    return Ready(kind(random_state=seed, n_threads=threads, device="cpu"), train.fillna(medians), test.fillna(medians))


PEERS: dict[str, Callable[[Rows, int, int], Ready]] = {
    "constant": constant,
    "linear": linear,
    "hgb": hgb,
    "catboost": catboost,
    "realmlp": realmlp,
}
