"""What must be equal in two runs of the same job, as hashes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from tests.conftest import records


def golden(run: Path) -> dict[str, str]:
    """Hashes of everything that a run leaves: both checkpoints and the records, without what depends on the clock."""
    found = {"records": _hash(records(run))}
    for name in ("last", "best"):
        payload = torch.load(run / "checkpoints" / f"{name}.pt", weights_only=True)
        for key in ("model", "ema", "optimizer", "scheduler", "scaler", "progress", "rng"):
            content = payload[key]
            if key == "progress":  # a run that was stopped was saved more often
                content = {name: value for name, value in content.items() if name != "kept"}
            found[f"{name} {key}"] = _hash(content)
    return found


def _hash(value: Any) -> str:
    sha = hashlib.sha256()
    _feed(sha, value)
    return sha.hexdigest()[:16]


def _feed(sha: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        sha.update(f"{value.dtype} {tuple(value.shape)}".encode() + value.contiguous().numpy().tobytes())
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            sha.update(f"{key}:".encode())
            _feed(sha, value[key])
    elif isinstance(value, list | tuple):
        for item in value:
            _feed(sha, item)
    else:
        sha.update(json.dumps(value).encode())
