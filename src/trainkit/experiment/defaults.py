"""What a config leaves open and its data or model knows: which model, and how that one is best trained."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pydantic_core import PydanticCustomError

from trainkit.config.base import Component, Config
from trainkit.data import DataConfig
from trainkit.models import ModelConfig


def filled(plain: Mapping[str, Any]) -> dict[str, Any]:
    """A config in plain data with the model that suits its data, where it names none, and with what that model wants of
    the other sections, where they do not say otherwise."""
    filled = dict(plain)
    data = _class("data", plain.get("data"))
    given = plain.get("model", {})
    own = plain.get("data")
    learns = data.model_for(own if isinstance(own, Mapping) else {}) if data and issubclass(data, DataConfig) else None
    if learns and isinstance(given, Mapping) and "name" not in given:
        filled["model"] = {"name": learns, **given} if given else learns
    model = _class("model", filled.get("model"))
    if model is None or not issubclass(model, ModelConfig):
        return filled
    for section, wanted in model.defaults.items():
        given = filled.get(section, {})
        if section == "data":
            wanted = {key: value for key, value in wanted.items() if data and key in data.model_fields}
        if section == "train" and isinstance(given, Mapping) and "epochs" in given:  # who asks for so many, gets them
            wanted = {key: value for key, value in wanted.items() if key != "min_steps"}
        if wanted:
            filled[section] = _under(given, wanted)
    return filled


def _class(family: str, given: object) -> type[Config] | None:
    with suppress(PydanticCustomError):  # which validation will tell of
        return Component(family).config_class(given)
    return None


def _under(given: object, wanted: Mapping[str, Any]) -> object:
    """Defaults below what is given; a component with another name is given as a whole."""
    keys = {"name": given} if isinstance(given, str) else given
    if not isinstance(keys, Mapping) or keys.get("name", wanted.get("name")) != wanted.get("name", keys.get("name")):
        return given
    return {**wanted, **keys}
