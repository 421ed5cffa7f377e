"""Texts: strings as rows of token ids, and back, by the library ``tokenizers``."""

from __future__ import annotations

import itertools
import json
import warnings
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import Any, Literal

import numpy as np
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from ppvae.data.preprocessing.extra import extra
from ppvae.data.preprocessing.lengths import bounded
from ppvae.data.preprocessing.stacking import stacked
from ppvae.language.intake import is_missing
from ppvae.language.modality import Modality
from ppvae.language.tokens import END, PADDING, SPECIAL

NAMES = (
    " padding",
    "\N{REPLACEMENT CHARACTER}",
    " start",
    " end",
)  # of the special tokens: no text is split into these

Tokens = Literal["characters", "words", "bpe"]


@dataclass(frozen=True, config={"extra": "forbid"})
class Texts:
    """Rows of ``length`` tokens: a text's own, END, and PADDING.

    What the training rows did not hold is UNKNOWN, and is decoded as the replacement character. Of a text that has more
    than ``length`` tokens the first ``length`` are kept.

    Attributes:
        tokenizer: the tokenizer, as the library writes it in JSON.
        length: tokens in a row.
    """

    tokenizer: dict[str, Any]
    length: PositiveInt

    @property
    def shape(self) -> tuple[int, ...]:
        """``(length,)``."""
        return (self.length,)

    @property
    def levels(self) -> int:
        """The size of the vocabulary."""
        return int(self._loaded.get_vocab_size())

    def encode(self, raw: Iterable[str | None]) -> tuple[np.ndarray, np.ndarray]:
        """Texts, None for a hole, as ids ``(items, length)``, and which are there, ``(items,)``.

        Warns:
            UserWarning: texts are cut off.

        Raises:
            ValueError: one is no text.
        """
        rows = [None if is_missing(text) else _ids(self._loaded, text) for text in raw]
        lengths = [len(row or ()) for row in rows]
        if cut := sum(length > self.length for length in lengths):
            warnings.warn(
                f"{cut} of {len(rows)} texts are cut off after {self.length} tokens; length = {max(lengths) + 1} keeps "
                "all, and makes every row so long",
                UserWarning,
                stacklevel=2,
            )
        return stacked(self._row, rows, self.shape)

    def decode(self, array: np.ndarray) -> list[str]:
        """Texts from ids ``(items, length)``, up to END."""
        rows = [list(itertools.takewhile(lambda token: token != END, row)) for row in np.asarray(array, int).tolist()]
        return list(self._loaded.decode_batch([[token for token in row if token != PADDING] for row in rows]))

    def plain(self) -> dict[str, Any]:
        """What JSON holds of it."""
        return {"kind": "text", "tokenizer": self.tokenizer, "length": self.length}

    @cached_property
    def _loaded(self) -> Any:
        load = extra("tokenizers").Tokenizer.from_str
        try:
            return load(json.dumps(self.tokenizer))
        except Exception as error:  # the library raises nothing more special
            raise ValueError(f"the tokenizer of a text modality is damaged: {error}") from None

    def _row(self, ids: list[int]) -> np.ndarray:
        return np.array(([*ids, END] + [PADDING] * self.length)[: self.length])


def fitted(
    raw: Iterable[str | None], tokens: Tokens = "characters", vocabulary: int | None = None, length: int | None = None
) -> Texts:
    """The tokens of texts, and rows as long as the longest text and its END, unless that is far longer than the rest.

    Args:
        raw: the texts to train on, None where there is none.
        tokens: ``characters``; ``words`` between white space, which comes back as single spaces; or pairs of bytes that
            are often neighbours, joined again and again (``bpe``, Sennrich et al. 2016).
        vocabulary: at most so many tokens, the four special ones among them: the most frequent. All if None, and 1,000
            of ``bpe``; this has at least one for each byte that occurs.
        length: tokens in a row; if None as :func:`~ppvae.data.preprocessing.lengths.bounded` says.

    Raises:
        ValueError: there is no text, or one that is none.
    """
    texts = [text for text in raw if not is_missing(text)]
    if tokens not in MAKERS:
        raise ValueError(f"unknown tokens {tokens!r}; choose one of {', '.join(MAKERS)}")
    if not texts:
        raise ValueError("there is no text to find tokens in")
    made = MAKERS[tokens]([_checked(text) for text in texts], vocabulary)
    needed = [len(_ids(made, text)) + 1 for text in texts]
    return Texts(json.loads(made.to_str()), bounded(needed) if length is None else length)


def modality(name: str, raw: Iterable[str | None], **options: Any) -> Modality:
    """A modality of such texts, written token after token; options are those of :func:`fitted`.

    >>> from ppvae.data.preprocessing import preprocessing
    >>> caption = modality("caption", ["a red square", "a blue circle", None], tokens="words")
    >>> preprocessing("caption", caption.preprocessing).encode(["a blue square", None])[0].astype(int)
    array([[4, 5, 8, 3],
           [0, 0, 0, 0]])
    """
    made = fitted(raw, **options)
    return Modality(name, made.shape, "autoregressive", levels=made.levels, kind="text", preprocessing=made.plain())


def _checked(text: Any) -> str:
    """The text.

    Raises:
        ValueError: it is none, or cannot be written in UTF-8.
    """
    if not isinstance(text, str):
        raise ValueError(f"a text must be a str, and {str(text)[:40]!r} is a {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the text {text[:40]!r} holds half of a surrogate pair: {error.reason}") from None
    return text


def _ids(tokenizer: Any, text: Any) -> list[int]:
    return list(tokenizer.encode(_checked(text)).ids)


def _characters(texts: list[str], vocabulary: int | None) -> Any:
    library = extra("tokenizers")
    every = library.pre_tokenizers.Split(library.Regex(r"[\s\S]"), "isolated")
    return _listed(Counter(itertools.chain.from_iterable(texts)), vocabulary, every, library.decoders.Fuse())


def _words(texts: list[str], vocabulary: int | None) -> Any:
    spaces = extra("tokenizers").pre_tokenizers.WhitespaceSplit()
    found = Counter(word for text in texts for word, _ in spaces.pre_tokenize_str(text))
    return _listed(found, vocabulary, spaces, None)


def _listed(found: Counter[str], vocabulary: int | None, split: Any, joined: Any) -> Any:
    """A tokenizer that looks the pieces of a text up in a list: the most frequent, in alphabetical order."""
    library = extra("tokenizers")
    by_count = sorted(found, key=lambda token: (-found[token], token))
    kept = sorted(by_count[: None if vocabulary is None else max(vocabulary - len(SPECIAL), 0)])
    numbers = {token: number for number, token in enumerate((*NAMES, *(token for token in kept if token not in NAMES)))}
    made = library.Tokenizer(library.models.WordLevel(numbers, unk_token=NAMES[1]))
    made.pre_tokenizer = split
    if joined is not None:
        made.decoder = joined
    return made


def _pairs(texts: list[str], vocabulary: int | None) -> Any:
    library = extra("tokenizers")
    made = library.Tokenizer(library.models.BPE())
    made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    size = (1000 if vocabulary is None else vocabulary) - len(SPECIAL)
    made.train_from_iterator(texts, library.trainers.BpeTrainer(vocab_size=max(size, 0), show_progress=False))
    learned = json.loads(made.to_str())["model"]
    numbers = {token: number for number, token in enumerate((*NAMES, *learned["vocab"]))}
    merges = [tuple(pair) for pair in learned["merges"]]
    made.model = library.models.BPE(vocab=numbers, merges=merges, unk_token=NAMES[1])
    made.decoder = library.decoders.ByteLevel()
    return made


MAKERS = {"characters": _characters, "words": _words, "bpe": _pairs}
