"""Dates and times as people and programs write them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest

from trainkit.data.tables.dates import formats, seconds

DAY = 86400.0


def utc(*when: int) -> float:
    year, month, day, *time = when
    hour, minute, second = (*time, 0, 0, 0)[:3]
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("1970-01-02", "ymd", DAY),
        ("1969-12-31", "ymd", -DAY),
        ("2020-02-29", "iso", utc(2020, 2, 29)),
        ("2020-02", "ymd", utc(2020, 2, 1)),
        ("2020/2/9", "ymd", utc(2020, 2, 9)),
        ("09.02.2020", "dmy", utc(2020, 2, 9)),
        ("9-2-20", "dmy", utc(2020, 2, 9)),
        ("2/9/2020", "mdy", utc(2020, 2, 9)),
        ("2/9/68", "mdy", utc(2068, 2, 9)),
        ("2/9/69", "mdy", utc(1969, 2, 9)),
        ("20200209", "compact", utc(2020, 2, 9)),
        ("9 Feb 2020", "named", utc(2020, 2, 9)),
        ("Feb 9, 2020", "named", utc(2020, 2, 9)),
        ("february 9 2020", "named", utc(2020, 2, 9)),
        ("09-FEB-20", "named", utc(2020, 2, 9)),
        ("9. February 2020", "named", utc(2020, 2, 9)),
        ("Feb 2020", "named", utc(2020, 2, 1)),
        # Times
        ("2020-02-09 10:30", "ymd", utc(2020, 2, 9, 10, 30)),
        ("2020-02-09T10:30:15", "ymd", utc(2020, 2, 9, 10, 30, 15)),
        ("2020-02-09 10:30:15.250", "ymd", utc(2020, 2, 9, 10, 30, 15) + 0.25),
        ("2020-02-09 10:30:15.123456789", "ymd", utc(2020, 2, 9, 10, 30, 15) + 0.123457),
        ("2/9/2020 1:05 PM", "mdy", utc(2020, 2, 9, 13, 5)),
        ("2/9/2020 12:05 am", "mdy", utc(2020, 2, 9, 0, 5)),
        ("2/9/2020 12:05:01 p.m.", "mdy", utc(2020, 2, 9, 12, 5, 1)),
        ("09.02.2020  23:59", "dmy", utc(2020, 2, 9, 23, 59)),
        ("Sun, 09 Feb 2020 10:30:15 +0000", "named", utc(2020, 2, 9, 10, 30, 15)),
        ("Sunday 9 February 2020", "named", utc(2020, 2, 9)),
        # A format of one's own
        ("2020_02_09", "%Y_%m_%d", utc(2020, 2, 9)),
        ("Week 06 of 2020, Mon", "Week %W of %Y, %a", utc(2020, 2, 10)),
    ],
)
def test_seconds(text: str, form: str, expected: float) -> None:
    assert list(seconds(text, form)) == pytest.approx([expected, expected], abs=1e-6)


@pytest.mark.parametrize(
    ("text", "offset_h"),
    [
        ("2020-02-09T10:30:00Z", 0),
        ("2020-02-09 10:30:00 UTC", 0),
        ("2020-02-09 10:30 GMT", 0),
        ("2020-02-09T10:30:00+02:00", 2),
        ("2020-02-09 10:30:00.000000-0530", -5.5),
        ("2020-02-09 10:30:00+02", 2),  # as PostgreSQL writes it
    ],
)
def test_the_clock_on_the_wall_and_in_utc(text: str, offset_h: float) -> None:
    wall = utc(2020, 2, 9, 10, 30)
    assert seconds(text, "ymd") == (wall, wall - 3600 * offset_h)


@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M%z"])
def test_zones_in_a_format_of_one_s_own(form: str) -> None:
    expected = datetime(2020, 2, 9, 10, 30, tzinfo=timezone(timedelta(hours=2))).timestamp()
    assert seconds("2020-02-09T10:30+0200", form) == (expected + 7200, expected)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("", "ymd"),
        ("2020-02-30", "ymd"),
        ("2020-13-01", "ymd"),
        ("0000-00-00", "ymd"),
        ("2020-02/09", "ymd"),
        ("202-02-09", "ymd"),
        ("2020-02-09 25:00", "ymd"),
        ("2020-02-09 10:61", "ymd"),
        ("2020-02-09 10:30:00+99:00", "ymd"),
        ("2020-02-09x", "ymd"),
        ("2/13/2020", "dmy"),
        ("13/2/2020", "mdy"),
        ("2020-2-9", "dmy"),
        ("20201301", "compact"),
        ("2020021", "compact"),
        ("30 Feb 2020", "named"),
        ("9 Fev 2020", "named"),
        ("2020-02-09", "%d.%m.%Y"),
        ("tomorrow", "named"),
        ("1.2.3.4", "dmy"),
    ],
)
def test_what_is_no_date(text: str, form: str) -> None:
    assert all(map(math.isnan, seconds(text, form)))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], []),
        (["2020-02-09"], ["ymd"]),
        (["25.12.2020"], ["dmy"]),
        (["01.02.2020"], ["dmy"]),  # nobody puts points after a month
        (["01.02.2020 10:30"], ["dmy"]),
        (["12/25/2020"], ["mdy"]),
        (["25/12/2020"], ["dmy"]),
        (["01/02/2020"], ["dmy", "mdy"]),
        (["01-02-2020", "05-06-2021"], ["dmy", "mdy"]),
        (["01/02/2020", "13/02/2020"], ["dmy"]),
        (["01/02/2020", "02/13/2020"], ["mdy"]),
        (["10-11-12"], ["ymd", "dmy", "mdy"]),
        (["13/02/2020", "02/13/2020"], []),
        (["Feb 9, 2020", "9 March 2021"], ["named"]),
        (["2020-02-09", "soon"], []),
        (["192.168.0.1"], []),
        (["1.2.3"], []),
        (["3-5"], []),
        (["2020"], []),
        (["10:30"], []),
        (["2020-02-09", "2020-02-09 10:30", "2020-02-09T10:30:00Z"], ["ymd"]),
    ],
)
def test_formats(texts: list[str], expected: list[str]) -> None:
    assert formats(texts) == expected


def test_a_time_behind_a_month_as_a_word() -> None:
    assert formats(["9 Feb 2020 10:30"]) == formats(["Feb 9, 2020 10:30:15"]) == ["named"]
    assert seconds("9 Feb 2020 10:30", "named")[0] == utc(2020, 2, 9, 10, 30)
