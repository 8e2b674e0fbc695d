"""What a word of another tool is called here: loaded when an error is written, and asked where the word stands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from trainkit.config import other_words, registry

_OWN_CODE = ("_target_", "class_path", "_component_")


class _Word(NamedTuple):
    """A word, or one of the table."""

    joined: str
    """Without capitals and separators."""
    core: frozenset[str]
    """Those of its parts that say something."""
    last: str
    """The last of them, which is what a name is about."""
    meaning: str


def hint_for_key(word: str, place: str, has: Callable[[str], bool], *, loosely: bool = False) -> str:
    """`; did you mean 'optimizer.lr'?`, or `; ` and what to do instead; empty for a word that is not known.

    Args:
        place: the section in which the word is no key, such as `train`; empty at the top of a file.
        has: whether the config at hand has such a `section.key`; what keys a component has depends on its name.
        loosely: the word need not be one that is known, only have all its parts.
    """
    found, instead = _meanings("keys", _end(word), loosely=loosely, but=f"{place}.{word}")
    key, remark = _chosen(found, place, has) if found else ("", "")
    if (others := _owners(f"{place}.{word}")) and not (found and has(key)):
        return f"; it is a key{others.removeprefix(',')}"
    if not found:
        return instead
    if key == place:
        return "; did you mean 'name'?"
    owners = "" if has(key) else _owners(key)
    return f"; did you mean {key.removeprefix(f'{place}.')!r}{owners}{remark}?"


def hint_for_value(word: str, known: Collection[str], *, loosely: bool = False) -> str:
    """The same for a value, in a place where some values are known."""
    word = word.partition(",")[0]  # the first of several
    word = word.rpartition(".")[2] if word.count(".") > 1 else word  # torch.optim.AdamW
    found, instead = _meanings("values", word, loosely=loosely, known=known)
    if found:
        return f"; did you mean {found[0]!r}?"
    for library, beginnings in other_words.ARCHITECTURES.items():
        if library in known and word.lower().startswith(tuple(beginnings.split())):
            return f"; write name: {library}, arch: {word}"
    return instead


def hint_for_flag(flag: str, value: str | None, *, loosely: bool = False) -> str:
    """`; overrides are written train.epochs=3` for `--epochs 3` and `-e 3`."""
    word = _end(flag)
    if not flag.startswith("--") and len(word) < 3:  # short flags mean other things than short keys
        found, instead = [key for key, words in other_words.SHORT_FLAGS.items() if word in words.split()], ""
    elif not loosely and (negative := re.match("(no|disable|without)[-_](?=..)", word)) and not _is_word(word):
        found, instead = _meanings("keys", word[negative.end() :])
        key = found[0].partition(",")[0].partition("=")[0] if found else ""
        return f"; overrides are written {key}={other_words.OFF.get(key, 'null')}" if found else instead
    else:
        found, instead = _meanings("keys", word, loosely=loosely)
    if not found:
        return instead
    key, equals, ours = _chosen(found, "", lambda key: True)[0].partition("=")
    if not equals:
        values, _ = _meanings("values", value or "") if key in registry.FAMILIES else ([], "")
        ours = shlex.quote(next(iter(values), value)) if value else "…"
    return f"; overrides are written {key}={ours}"


def hint_for_name(key: str, value: object, known: Collection[str]) -> str:
    """What to write instead of a key by which others name a component, such as `type`; empty for other keys."""
    own_code = "; own code comes in through imports" if key in _OWN_CODE else ""
    if not known or key not in other_words.NAMES.split():
        return own_code
    found, _ = _meanings("values", str(value).rpartition(".")[2], known=known)
    return f"; write name: {found[0]}" if found else own_code or "; did you mean 'name'?"


def known_inside(value: object) -> dict[str, str]:
    """Of the words in a section that we do not have, those whose keys we have."""
    words = [word for word in value if isinstance(word, str)] if isinstance(value, Mapping | list) else []
    found = {word: _meanings("keys", _end(word))[0] or _meanings("keys", _end(word), loosely=True)[0] for word in words}
    return {word: keys[0].partition(",")[0] for word, keys in found.items() if keys}


def _is_word(word: str) -> bool:
    """Whether somebody has it just so, such as `no_cuda`."""
    joined = _word(word, "", frozenset()).joined
    return any(other.joined == joined for table in ("keys", "none") for other in _table(table))


def _end(word: str) -> str:
    """What stands behind the section in `trainer.max_epochs` and `optimizer__lr`."""
    return re.split(r"\.|__", word.strip("-_"))[-1]


def _meanings(
    table: str, word: str, *, loosely: bool = False, known: Collection[str] | None = None, but: str = ""
) -> tuple[list[str], str]:
    """What a word means, as the table has it, or what to do instead where we have nothing of the kind."""
    little = _little(table)
    ours = [other for other in _table(table) if known is None or other.meaning in known]
    ours += [_word(value, value, little) for value in known or ()]
    for like in (_like,) if loosely else (_same, _same_parts):
        if found := like(_word(word, "", little), ours):
            return [one for one in found if one != but], ""
        if found := like(_word(word, "", _little("none")), _table("none")):
            return [], f"; {found[0]}"
    return [], ""


def _same(word: _Word, words: Sequence[_Word]) -> list[str]:
    return [other.meaning for other in words if other.joined == word.joined]


def _same_parts(word: _Word, words: Sequence[_Word]) -> list[str]:
    return [] if _weak(word.core) else [other.meaning for other in words if other.core == word.core]


def _like(word: _Word, words: Sequence[_Word]) -> list[str]:
    """Those of which all parts are in a word, and make up half of it."""
    parts = word.core | {part.rstrip("0123456789") for part in word.core}
    inside = [other for other in words if other.core <= parts and 2 * len(other.core) >= len(word.core)]
    inside = [other for other in inside if not _weak(other.core)]
    most = max((len(other.core) for other in inside), default=0)
    best = [other for other in inside if len(other.core) == most]
    return [other.meaning for other in best if other.last == word.last] or [other.meaning for other in best]


def _weak(core: frozenset[str]) -> bool:
    """Whether parts do not make words alike."""
    return core <= set(other_words.NOTHING_ALONE.split()) or all(len(part) < 2 for part in core)


def _chosen(meanings: Sequence[str], place: str, has: Callable[[str], bool]) -> tuple[str, str]:
    """The key that suits its place best, and the remark that belongs to it."""
    split = [(key, comma + remark) for key, comma, remark in (text.partition(", ") for text in meanings)]
    here = [each for each in split if _section(each[0]) == place]
    return next((each for each in here or split if has(each[0])), (here or split)[0])


def _section(key: str) -> str:
    return key.partition("=")[0].rpartition(".")[0]


def _owners(key: str) -> str:
    """`, of sgd, rmsprop`: the components that have a key."""
    family, _, last = key.partition("=")[0].rpartition(".")
    names = registry.names(family) if family in registry.FAMILIES else []
    owners = [name for name in names if last in registry.find(family, name).model_fields]
    return f", of {', '.join(owners[:4])}" if owners else ""


def _little(table: str) -> frozenset[str]:
    return frozenset((other_words.LITTLE if table == "keys" else other_words.LITTLE_OF_VALUES).split())


@cache
def _table(name: str) -> list[_Word]:
    if name == "none":
        lines = [(words, text) for text, words in other_words.NONE.items()]
    elif name == "values":
        lines = [(f"{value} {words}", value) for value, words in other_words.VALUES.items()]
    else:
        lines = [(f"{_last(key)} {words}", key) for key, words in other_words.KEYS.items()]
    return [_word(word, meaning, _little(name)) for words, meaning in lines for word in words.split()]


def _last(key: str) -> str:
    """What a key is called in its section; nothing for one with a value."""
    return "" if "=" in key else key.partition(",")[0].rpartition(".")[2]


def _word(word: str, meaning: str, little: frozenset[str]) -> _Word:
    parts = [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])[0-9]*|[A-Z]?[a-z]+[0-9]*", word)]
    same = other_words.SAME_PARTS
    parts = [same.get(part) or re.sub("(?<=[a-z]{2}[a-rt-z])s$", "", part) for part in parts]  # without the plural's s
    parts = [part for part in parts if part not in little] or parts
    return _Word(re.sub(r"[^a-z0-9]", "", word.lower()), frozenset(parts), "".join(parts[-1:]), meaning)
