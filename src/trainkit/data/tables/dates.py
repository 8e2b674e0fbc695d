"""Dates and times as people and programs write them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

TIME = (
    r"(?:[T ]+(\d{1,2}):(\d{2})(?::(\d{2})(\.\d+)?)?(?: ?([AaPp])\.?[Mm]\.?)?"
    r"\s*(Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?)?"
)
NUMERIC = re.compile(rf"(\d{{1,4}})([-/.])(\d{{1,2}})\2(\d{{1,4}}){TIME}")
COMPACT = re.compile(rf"(\d{{4}})()(\d{{2}})(\d{{2}}){TIME}")
MONTH = re.compile(r"\d{4}-\d{2}")
WEEKDAY = re.compile(r"^(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? +", re.IGNORECASE)
WITH_TIME = re.compile(rf"(.*?){TIME}")
NAMED = ("%d %b %Y", "%d %B %Y", "%b %d %Y", "%B %d %Y", "%d %b %y", "%b %Y", "%B %Y")
NOTHING = (math.nan, math.nan)

ORDERS = {"iso": "ymd", "ymd": "ymd", "dmy": "dmy", "mdy": "mdy"}


def seconds(text: str, form: str) -> tuple[float, float]:
    """Seconds since 1970 by the clock on the wall, and in UTC; NaN for a text that is no date in this format."""
    with suppress(ValueError, OverflowError):
        moment = _moment(text, form)
        if moment is not None:
            wall = moment.replace(tzinfo=UTC).timestamp()
            return wall, moment.timestamp() if moment.tzinfo else wall
    return NOTHING


def _moment(text: str, form: str) -> datetime | None:
    if form == "named":
        if (parted := WITH_TIME.fullmatch(WEEKDAY.sub("", text, count=1))) is None:
            return None
        plain = re.sub(r"[,\-./\s]+", " ", parted[1]).strip()
        day = next(filter(None, (_strptime(plain, each) for each in NAMED)), None)
        return day and _at(day, *parted.groups()[1:])
    if form not in (*ORDERS, "compact"):
        return _strptime(text, form)
    if MONTH.fullmatch(text) and form in ("iso", "ymd"):
        text += "-01"
    match = (COMPACT if form == "compact" else NUMERIC).fullmatch(text)
    if match is None:
        return None
    one, _, two, three, *rest = match.groups()
    order = "ymd" if form == "compact" else ORDERS[form]
    given = dict(zip(order, (one, two, three), strict=True))
    if len(given["y"]) not in (2, 4) or any(len(given[key]) > 2 for key in "md"):
        return None
    year = int(given["y"])
    if len(given["y"]) == 2:
        year += 2000 if year < 69 else 1900  # as strptime
    return _at(datetime(year, int(given["m"]), int(given["d"])), *rest)  # noqa: DTZ001


def _at(day: datetime, hour: str, minute: str, second: str, fraction: str, half: str, zone: str) -> datetime:
    if hour:
        hours = int(hour) % 12 + 12 * (half.lower() == "p") if half else int(hour)
        day = day.replace(hour=hours, minute=int(minute), second=int(second or 0))
        day += timedelta(seconds=float(fraction or 0))
    if zone:
        sign = -1 if zone[0] == "-" else 1
        offset = (
            timedelta(hours=int(zone[1:3]), minutes=int(zone[3:].lstrip(":") or 0)) if zone[0] in "+-" else timedelta()
        )
        day = day.replace(tzinfo=timezone(sign * offset))
    return day


def _strptime(text: str, form: str) -> datetime | None:
    with suppress(ValueError):
        return datetime.strptime(text, form)  # noqa: DTZ007
    return None


def formats(texts: Iterable[str]) -> list[str]:
    """The formats in which all of these texts are dates; several where day and month cannot be told apart."""
    left = ["ymd", "dmy", "mdy", "named"]
    some = False
    for text in texts:
        some = True
        left = [form for form in left if not math.isnan(seconds(text, form)[0])]
        if "dmy" in left and "." in text.partition(" ")[0]:  # nobody puts points after a month
            left = [form for form in left if form != "mdy"]
        if not left:
            break
    return left if some else []
