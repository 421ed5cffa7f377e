"""Readable: what comes from foreign files and command lines, made fit for a terminal and for JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

WORD, SENTENCE = 200, 2000  # characters


def visible(text: str) -> str:
    """The text with control characters and whatever else cannot be seen as escapes, ``\\x1b``."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def sentence(text: str) -> str:
    """One visible line, which shortens what it quotes."""
    words = re.sub(r"\S+", lambda word: _cut(word[0], WORD), text)
    return visible(_cut(" ".join(words.split()), SENTENCE))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-most // 2 :]}"


def each(value: Any, change: Callable[[Any, str], Any], path: str = "") -> Any:
    """Nested dicts and lists with ``change(leaf, path)`` in place of every leaf; a path is ``a.0.b``."""
    inner = f"{path}." if path else ""
    if isinstance(value, Mapping):
        return {change(key, ""): each(item, change, f"{inner}{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [each(item, change, f"{inner}{number}") for number, item in enumerate(value)]
    return change(value, path)


def as_json(result: Mapping[str, Any]) -> str:
    """One line of valid JSON: what is no number is null, and ``nulls`` says what it was, by path."""
    nulls: dict[str, str] = {}

    def finite(value: Any, path: str) -> Any:
        if not isinstance(value, float) or math.isfinite(value):
            return value
        nulls[path] = json.dumps(value)
        return None

    plain = each(result, finite)
    return json.dumps(plain | ({"nulls": nulls} if nulls else {}), allow_nan=False)
