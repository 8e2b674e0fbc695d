from __future__ import annotations

import pytest

from trainkit.config.base import Config


class Sized(Config):
    """For tests of what every config has."""

    size: int = 1


def test_configs_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Sized().size = 4  # type: ignore[misc]
