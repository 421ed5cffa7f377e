"""Tokens: the numbers of a text that are no characters or words, alike in every vocabulary.

A text is its ids, END, and PADDING up to the length of its modality. One that fills the length has no END. START is
never stored: decoders are given it in the place of the first token's predecessor.
"""

PADDING, UNKNOWN, START, END = SPECIAL = range(4)
