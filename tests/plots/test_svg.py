from __future__ import annotations

import re

import torch

from trainkit.plots.figures import COLOURS, Series
from trainkit.plots.svg import chart

EVIL = "<script>alert(1)<&"


def test_a_chart_is_the_same_every_time_small_and_in_the_colours_of_the_page() -> None:
    random = torch.Generator().manual_seed(0)
    noise = torch.rand(200_000, generator=random).tolist()
    series = [
        Series("train", range(200_000), noise, "faint"),
        *(Series(str(n), [0, 1], [n, 0]) for n in range(len(COLOURS))),
    ]
    one, other = (chart(EVIL, series, xlabel="epoch $a^b$ font: 9px <b>", log=(False, False)) for _ in range(2))
    assert one == other
    assert len(one.svg) < 100_000
    assert "<b>" not in one.svg
    assert EVIL not in one.svg
    assert "epoch $a^b$ font: 9px &lt;b&gt;" in one.svg
    assert not re.search(r"xmlns|DejaVu|<style|metadata|#[0-9a-f]{6}\b", one.svg)
    assert {f"var(--line{number})" for number in range(len(COLOURS))} <= set(re.findall(r"var\(--line\d\)", one.svg))
    assert "currentColor" in one.svg
    assert [line.style for line in one.legend] == ["solid"] * len(COLOURS) + ["dashed"]
