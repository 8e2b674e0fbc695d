#!/usr/bin/env bash
# pydantic 2.14.4: in a strict model, model_validate_json takes a JSON array for a tuple, as documented. Adding a
# model_validator(mode="before") that gives back what it was given makes the same text fail ("Input should be a valid
# tuple"): its return value is validated as Python data, in which strictness refuses a list. So a config that is
# strict, frozen (and therefore made of tuples) and read from JSON cannot fill in defaults in such a validator.
#
# Seen on Python 3.11, Linux:
#   without: values=(1, 2)
#   Filled: tuple_type
#   Copied: tuple_type
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pydantic==2.14.4
"$folder/venv/bin/python" - <<'PY'
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator


class Plain(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)
    values: tuple[int, ...]


class Filled(Plain):
    @model_validator(mode="before")
    @classmethod
    def same(cls, data: Any) -> Any:
        return data


class Copied(Plain):
    @model_validator(mode="before")
    @classmethod
    def same(cls, data: Any) -> Any:
        return dict(data)


text = '{"values": [1, 2]}'
assert Plain.model_validate_json(text).values == (1, 2)
print("without:", Plain.model_validate_json(text))
for kind in (Filled, Copied):
    try:
        kind.model_validate_json(text)
    except ValidationError as error:
        found = error.errors()[0]["type"]
        print(f"{kind.__name__}: {found}")
        assert found == "tuple_type", found
    else:
        raise SystemExit(f"{kind.__name__} accepts it now")
PY
