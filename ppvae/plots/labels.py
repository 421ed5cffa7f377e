"""Labels: names as a figure can draw them, short, and in characters that its font has."""

from __future__ import annotations

from matplotlib.font_manager import FontProperties, findfont, get_font

LONGEST = 32  # characters


def drawn(name: str, longest: int = LONGEST) -> str:
    """The name with its middle left out where it is long, and with numbers for characters that the font lacks.

    A figure whose labels leave no room for its panels is drawn without them, and unknown characters as empty boxes.

    >>> drawn("expression_of_genes_in_the_left_ventricle")
    'expression_of_g…e_left_ventricle'
    >>> drawn("量")
    'U+91CF'
    """
    font = get_font(findfont(FontProperties()))
    known = "".join(c if font.get_char_index(ord(c)) else f"U+{ord(c):04X}" for c in name)
    kept = longest - 1
    return known if len(known) <= longest else f"{known[: kept // 2]}…{known[kept // 2 - kept :]}"
