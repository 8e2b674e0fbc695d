"""Twenty public tables, five seeds, the same rows for all: trainkit's config of three lines, and what others would use.

    python scripts/bench/tables.py --root DIR prepare        # DIR/raw -> DIR/prepared; says which files to download
    python scripts/bench/tables.py --root DIR run            # every method, table and seed that has no result yet
    python scripts/bench/tables.py --root DIR table          # the results in Markdown, and the counts
    python scripts/bench/tables.py --root DIR time --tables telco ames       # on a machine that does nothing else

The tables are in table_sources.py. 20 % of the rows are the test, drawn by the seed, of each class where there are
classes. All methods are at their defaults: a linear model after scikit-learn's usual preparation, scikit-learn's
boosted trees (`hgb`), CatBoost, RealMLP-TD of pytabkit, and the constant answer. A score is the accuracy, or R2. A
method keeps up with another if its mean difference over the seeds is no worse than minus its standard error.

`run` uses one thread, so that others may work on the machine meanwhile; the times that `table` shows are those of the
processor, of fitting alone, and no better than a rough guide. `time` measures by the clock with all cores, in turns,
with seed 0. Ours is all that one call does: reading the files, training, checkpoints, evaluation. Each method trains on
a small table before anything is measured.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import itertools
import json
import os
import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from table_peers import PEERS, Rows
from table_sources import TABLES, Table

MAX_ROWS = 10_000  # of a longer table so many, drawn once: RealMLP takes a minute or more for each seed of them
SEEDS = 5
SMALL = {"classification": "penguins", "regression": "mpg"}
OURS = "trainkit"
TIMED = ("realmlp", "hgb")  # whose times ours is divided by
VERSIONS = ("trainkit", "torch", "scikit-learn", "catboost", "pytabkit")


def prepare(options: argparse.Namespace) -> None:
    """Write train.csv and test.csv for every table and seed: the cells of the source without white space around."""
    from sklearn.model_selection import train_test_split

    root = options.root
    if wanted := [line for table in TABLES if (line := _wanted(table, root))]:
        sys.exit("\n".join(wanted))
    listed: list[dict[str, Any]] = []
    for table in TABLES:
        header, rows = _read_raw(table, root)
        answers = [row[header.index(table.target)] for row in rows]
        stratify = answers if table.task == "classification" else None
        for seed in range(SEEDS):
            folder = root / "prepared" / table.name / str(seed)
            folder.mkdir(parents=True, exist_ok=True)
            split = train_test_split(rows, test_size=0.2, random_state=seed, stratify=stratify)
            for part, chosen in zip(("train", "test"), split, strict=True):
                with open(folder / f"{part}.csv", "w", newline="") as file:
                    csv.writer(file, lineterminator="\n").writerows([header, *chosen])
        facts = {"name": table.name, "task": table.task, "target": table.target}
        listed.append({**facts, "rows": len(rows), "columns": len(header) - 1})
    (root / "prepared" / "tables.json").write_text(json.dumps(listed, indent=1) + "\n")


def _raw(table: Table, root: Path) -> Path:
    return root / "raw" / f"{table.name}.csv"


def _wanted(table: Table, root: Path) -> str | None:
    path = _raw(table, root)
    if not path.exists():
        return f"{path} is missing: save {table.url} there"
    if hashlib.sha256(path.read_bytes()).hexdigest() != table.sha256:
        return f"{path} is not the file that was measured: save {table.url} there"
    return None


def _read_raw(table: Table, root: Path) -> tuple[list[str], list[list[str]]]:
    with open(_raw(table, root), encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, skipinitialspace=True))
    header = list(table.header) or rows.pop(0)
    target = header.index(table.target)
    kept = [at for at, name in enumerate(header) if name not in table.ignore]
    assert all(len(row) == len(header) for row in rows if row), table.name
    chosen = [[row[at].strip() for at in kept] for row in rows if row and row[target].strip() not in ("", "NA")]
    if len(chosen) > MAX_ROWS:
        chosen = random.Random(0).sample(chosen, MAX_ROWS)
    return [header[at] for at in kept], chosen


@dataclass(slots=True)
class Clock:
    """Seconds by the clock, and of the processor, within `with`."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        begin, cpu = time.perf_counter(), sum(os.times()[:4])  # with those of child processes that have ended
        yield
        self.seconds, self.cpu_seconds = time.perf_counter() - begin, sum(os.times()[:4]) - cpu


def ours(table: Table, folder: Path, seed: int, words: Sequence[str], clock: Clock) -> dict[str, float]:
    """Write the config beside the rows and train it; what it says of the test."""
    from trainkit import load, train

    metrics = ["accuracy"] if table.task == "classification" else ["rmse", "r2"]
    config = folder / "trainkit.yaml"
    config.write_text(
        f"name: {table.name}\n"
        f"data: {{name: csv, path: {folder / 'train.csv'}, test: {folder / 'test.csv'}, target: {table.target}, "
        f"task: {table.task}, missing: mean}}\n"
        f"metrics: [{', '.join(metrics)}]\n"
    )
    with tempfile.TemporaryDirectory() as place, redirect_stdout(sys.stderr), clock.running():
        result = train(load(config, [f"seed={seed}", *words]), run_dir=Path(place, "run"), quiet=True)
    return {name: result.metrics[f"test/{name}"] for name in metrics}


def theirs(method: str, table: Table, folder: Path, seed: int, threads: int, clock: Clock) -> dict[str, float]:
    """Fit one of the others and compare its answers."""
    from sklearn.metrics import accuracy_score, r2_score, root_mean_squared_error

    rows = Rows(table, folder)
    ready = PEERS[method](rows, seed, threads)
    with clock.running():
        ready.model.fit(ready.train, rows.answers)
    said, true = ready.model.predict(ready.test).ravel(), rows.test_answers
    if table.task == "classification":
        return {"accuracy": float(accuracy_score(true, said))}
    return {"rmse": float(root_mean_squared_error(true, said)), "r2": float(r2_score(true, said))}


def measure(method: str, table: Table, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Train one method on one table: scores and seconds."""
    clock, folder = Clock(), options.root.absolute() / "prepared" / table.name / str(seed)
    if method == OURS:
        scores = ours(table, folder, seed, options.set, clock)
    else:
        scores = theirs(method, table, folder, seed, options.threads, clock)
    return {**scores, **asdict(clock)}


def warm_up(method: str, table: Table, options: argparse.Namespace, done: set[tuple[str, str]]) -> None:
    """Train on the smallest table of the kind: imports, and what a library does only once, are not measured."""
    if (method, table.task) not in done:
        small = next(one for one in TABLES if one.name == SMALL[table.task])
        measure(method, small, 0, options)
        done.add((method, table.task))


def run(options: argparse.Namespace) -> None:
    """Measure what has no result yet, one seed of all tables after the other."""
    from timing import machine

    about = {**machine(), **{name: version(name) for name in VERSIONS}, "threads": options.threads}
    warm: set[tuple[str, str]] = set()
    for seed, method, table in itertools.product(options.seeds, options.methods, options.tables):
        path = result_path(method, table, seed, options)
        if path.exists():
            continue
        warm_up(method, table, options, warm)
        found = measure(method, table, seed, options)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**found, **about}) + "\n")
        print(time.strftime("%H:%M:%S"), method, table.name, seed, json.dumps(found), flush=True)


def result_path(method: str, table: Table, seed: int, options: argparse.Namespace) -> Path:
    folder = options.label if method == OURS else method
    return Path(options.root, "results", folder, f"{table.name}-{seed}.json")


def measure_time(options: argparse.Namespace) -> None:
    """Print the seconds by the clock of trainkit and others on some tables, with all cores, in turns."""
    from timing import ratio, rounds, spread

    sides = (OURS, *TIMED)
    warm: set[tuple[str, str]] = set()
    print("|", " | ".join(["table", *(f"{side}, s" for side in sides), *(f"of {method}'s" for method in TIMED)]), "|")
    print("|-" * (len(sides) + len(TIMED) + 1) + "|")
    for table in options.tables:
        for side in sides:
            warm_up(side, table, options, warm)
        calls = {side: partial(_seconds, side, table, options) for side in sides}
        found = rounds(calls, options.rounds)
        ratios = [f"{ratio(found[OURS], found[method]):.2f}" for method in TIMED]
        print("|", " | ".join([table.name, *(spread(found[side]) for side in sides), *ratios]), "|", flush=True)
    print(f"\n{about_versions()}, {options.threads} threads")


def _seconds(method: str, table: Table, options: argparse.Namespace) -> float:
    return measure(method, table, 0, options)["seconds"]


def about_versions() -> str:
    from timing import machine

    return ", ".join([machine()["cpu"], *(f"{name} {version(name)}" for name in VERSIONS)])


class Results:
    """What is there of the tables and seeds asked for."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.found: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
        for method in (*PEERS, OURS):
            for table in options.tables:
                paths = {seed: result_path(method, table, seed, options) for seed in options.seeds}
                there = {seed: json.loads(path.read_text()) for seed, path in paths.items() if path.exists()}
                self.found[method, table.name] = there

    def mean(self, method: str, table: Table) -> str:
        scores = [result[_score(table)] for result in self.found[method, table.name].values()]
        return f"{statistics.mean(scores):.4f}" if scores else ""

    def pairs(self, method: str, table: Table, key: str) -> list[tuple[float, float]]:
        """Ours and theirs, of the seeds that both have."""
        mine, theirs = self.found[OURS, table.name], self.found[method, table.name]
        return [(mine[seed][key], theirs[seed][key]) for seed in mine if seed in theirs]

    def keeps_up(self, method: str, table: Table) -> bool:
        differences = [one - other for one, other in self.pairs(method, table, _score(table))]
        error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else 0.0
        return statistics.mean(differences) >= (0 if method == "constant" else -error)

    def time_ratio(self, method: str, tables: Sequence[Table]) -> float | None:
        """Our time for some tables in all, divided by theirs."""
        pairs = [pair for table in tables for pair in self.pairs(method, table, "cpu_seconds")]
        return sum(one for one, _ in pairs) / sum(other for _, other in pairs) if pairs else None


def _score(table: Table) -> str:
    return "accuracy" if table.task == "classification" else "r2"


def show(options: argparse.Namespace) -> None:
    """Print a row for each table, how often trainkit keeps up with each method, and the times."""
    results = Results(options)
    sizes = {one["name"]: one for one in json.loads((options.root / "prepared" / "tables.json").read_text())}
    methods = (*PEERS, OURS)
    heads = ["table", "rows", "columns", "score", *methods, *(f"time of {method}'s" for method in TIMED)]
    print("|", " | ".join(heads), "|")
    print("|-" * len(heads) + "|")
    for table in options.tables:
        size = sizes[table.name]
        ratios = [results.time_ratio(method, [table]) for method in TIMED]
        cells = [table.name, f"{size['rows']:,}", str(size["columns"]), _score(table)]
        cells += [results.mean(method, table) for method in methods]
        print("|", " | ".join([*cells, *("" if ratio is None else f"{ratio:.2f}" for ratio in ratios)]), "|")
    print()
    for method in PEERS:
        both = [table for table in options.tables if results.pairs(method, table, "seconds")]
        level = sum(results.keeps_up(method, table) for table in both)
        print(f"- at least level with {method} on {level} of {len(both)} tables")
    for method in TIMED:
        known = [ratio for table in options.tables if (ratio := results.time_ratio(method, [table])) is not None]
        if known:
            total = results.time_ratio(method, options.tables)
            print(f"- {statistics.median(known):.2f} of {method}'s time (median of the tables), {total:.2f} in all")
    counts = {name: sum(len(results.found[name, table.name]) for table in options.tables) for name in methods}
    print(f"- results: {', '.join(f'{name} {count}' for name, count in counts.items())}\n- {about_versions()}")


def main() -> None:
    names = {table.name: table for table in TABLES}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["prepare", "run", "table", "time"])
    parser.add_argument("--root", type=Path, required=True, help="folder that holds raw/, and gets the rest")
    parser.add_argument("--methods", nargs="+", choices=[*PEERS, OURS], default=[*PEERS, OURS])
    parser.add_argument("--seeds", nargs="+", type=int, default=range(SEEDS))
    parser.add_argument("--tables", nargs="+", choices=names, default=list(names))
    parser.add_argument("--rounds", type=int, default=3, help="of time")
    parser.add_argument("--set", nargs="+", default=[], help="values for trainkit's config, such as optimizer.lr=1e-3")
    parser.add_argument("--label", default=OURS, help="folder in results/ for trainkit's, to tell variants apart")
    options = parser.parse_args()
    options.tables = [names[name] for name in options.tables]
    options.threads = (os.cpu_count() or 1) if options.what == "time" else 1
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # read when torch and scikit-learn are imported
    warnings.filterwarnings("ignore", category=FutureWarning)  # of torch, for what lightning uses
    commands = {"prepare": prepare, "run": run, "table": show, "time": measure_time}
    commands[options.what](options)


if __name__ == "__main__":
    main()
