"""Palette: the colours of all plots: they stand out on white and on black, and colour-blind readers tell them apart.

Of the eight of Okabe & Ito (2008, "Color Universal Design") those whose contrast to white and to black is 3 or more.
"""

from __future__ import annotations

BLUE, VERMILION, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#808080"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE)
SHADES = "cividis"  # from low to high, even for colour-blind readers (Nuñez et al. 2018)
