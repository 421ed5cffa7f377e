"""Entries: what a description of data may say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from ppvae.data import toml


class Entry(BaseModel):
    """What every modality may say of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    likelihood: str | None = None


class Pictures(Entry):
    """A folder of pictures; the id of each is its name without the ending."""

    kind: Literal["image"]
    folder: str
    size: tuple[PositiveInt, PositiveInt] | None = None
    channels: Literal[1, 3] | None = None
    levels: Literal[256] | None = None


class Recordings(Entry):
    """A folder of sounds; the id of each is its name without the ending."""

    kind: Literal["sound"]
    folder: str
    rate: PositiveInt | None = None
    bands: PositiveInt = 32
    seconds: PositiveFloat | None = None
    hop: PositiveFloat = 0.01
    window: PositiveFloat = 0.04


class Traces(Entry):
    """A folder of tables, each a series with a column ``time``, whose id is its name; or one table of all, by id."""

    kind: Literal["series"]
    folder: str | None = None
    table: str | None = None
    id: str | None = None
    start: float | None = None
    step: PositiveFloat | None = None
    times: PositiveInt | None = None

    @model_validator(mode="after")
    def _somewhere(self) -> Traces:
        if (self.folder is None) == (self.table is None):
            raise ValueError("say a folder of files or a table, and not both")
        return self


class Captions(Entry):
    """A column of texts in a table."""

    kind: Literal["text"]
    table: str
    id: str | None = None
    column: str
    tokens: Literal["characters", "words", "bpe"] = "characters"
    vocabulary: PositiveInt | None = None
    length: PositiveInt | None = None


class Names(Entry):
    """A column of categories in a table."""

    kind: Literal["category"]
    table: str
    id: str | None = None
    column: str


class Numbers(Entry):
    """Columns of numbers in a table; all that no other entry names where these are left out."""

    kind: Literal["vector"]
    table: str
    id: str | None = None
    columns: Annotated[list[str] | None, Field(min_length=1)] = None


class Label(BaseModel):
    """A column of labels in a table: never seen by a program."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str
    id: str | None = None
    column: str


class Description(BaseModel):
    """The whole file: modalities and labels by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    modalities: Annotated[
        dict[str, Annotated[Pictures | Recordings | Traces | Captions | Names | Numbers, Field(discriminator="kind")]],
        Field(min_length=1),
    ]
    labels: dict[str, Label] = {}


def parsed(path: Path) -> Description:
    """A description from its TOML file.

    Raises:
        ValueError: it is missing, no TOML, or says what it may not.
    """
    return toml.parsed(path, Description, "modalities", "data file")
