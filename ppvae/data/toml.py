"""Toml: a file of a user's own as what it may say, and the sentence for what it may not."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

Said = TypeVar("Said", bound=BaseModel)


def parsed(path: Path, said: type[Said], tagged: str, file: str) -> Said:
    """What a TOML file says.

    Args:
        path: the file.
        said: what it may say.
        tagged: the key of a table whose entries are each of some kind.
        file: what to call a file that is missing.

    Raises:
        ValueError: it is missing, no TOML, or says what it may not.
    """
    if not path.is_file():
        raise ValueError(f"there is no {file} {str(path)!r}")
    try:
        return said.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise ValueError(f"{str(path)!r}: {_told(error, tagged)}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"cannot read {str(path)!r} as TOML: {error}") from None


def _told(error: ValidationError, tagged: str) -> str:
    """The first thing that is wrong, by its key in the file."""
    first = error.errors()[0]
    top, *inner = first["loc"]
    key = ".".join(map(str, [top, *inner[:1], *inner[2 if top == tagged else 1 :]]))  # without the name of the kind
    match first["type"]:
        case "extra_forbidden":
            return f"there is no key {key}; is it misspelled?"
        case "missing" | "union_tag_not_found":
            return f"the key {key}{'.kind' if first['type'] != 'missing' else ''} is missing"
        case "union_tag_invalid":
            return f"{key}.kind is {first['ctx']['tag']!r}; choose one of {first['ctx']['expected_tags']}"
        case "value_error":
            return f"{key} is {first['input']!r}: {first['ctx']['error']}"
    return f"{key} is {first['input']!r}: {first['msg'].lower()}"
