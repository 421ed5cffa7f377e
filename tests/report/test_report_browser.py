"""Reports in a browser: no error, no request, nothing wider than the screen, on phones and desks, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import report_harness as harness
from browsers import OUTSIDE, Look, needs_chromium
from playwright.sync_api import Browser

SCREENS = [(width, scheme) for width in (390, 1400) for scheme in ("light", "dark")]

pytestmark = needs_chromium

# The contrast of every text with what lies behind it (WCAG 2.2, success criterion 1.4.3), and its size.
CONTRASTS = """() => {
    const numbers = colour => (colour.match(/[\\d.]+/g) || []).map(Number)
    const light = colour => {
        const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4
        const [r, g, b] = numbers(colour).map(v => linear(v / 255))
        return 0.2126 * r + 0.7152 * g + 0.0722 * b
    }
    const behind = e => {
        const colour = getComputedStyle(e).backgroundColor
        return numbers(colour)[3] === 0 ? (e.parentElement ? behind(e.parentElement) : "rgb(255, 255, 255)") : colour
    }
    const texts = [...document.querySelectorAll("body *")].filter(
        e => [...e.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.textContent.trim()))
    return texts.map(e => {
        const style = getComputedStyle(e)
        const [a, b] = [light(style.color), light(behind(e))].sort()
        return [(b + 0.05) / (a + 0.05), parseFloat(style.fontSize), e.outerHTML.slice(0, 80)]
    })
}"""


# Tables and figures of which a part is hidden.
CUT = """() => [...document.querySelectorAll(".scroll")].filter(e => e.scrollWidth > e.clientWidth + 1)
    .map(e => e.getAttribute("aria-label") || e.outerHTML.slice(0, 80))"""


@pytest.fixture(params=SCREENS, ids=[f"{width}-{scheme}" for width, scheme in SCREENS])
def look(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Look]:
    found = Look(browser, harness.page(), *request.param)
    yield found
    found.page.close()


def test_the_page_reads_well_on_every_screen(look: Look) -> None:
    assert look.said == []
    assert [url for url in look.asked if not url.startswith("data:")] == [harness.page().as_uri()]
    assert look.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert look.page.evaluate(OUTSIDE) == []
    images = look.page.evaluate("[...document.images].map(i => [i.alt.length > 20, i.naturalWidth > 0])")
    assert len(images) == 10
    assert all(words and drawn for words, drawn in images)
    texts = look.page.evaluate(CONTRASTS)
    assert len(texts) > 100
    assert [text for text in texts if text[0] < 4.5 or text[1] < 13] == []


def test_six_modalities_stand_whole_on_a_short_page(browser: Browser) -> None:
    for width, most in ((390, 6000), (1400, 7000)):
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto(harness.six().as_uri())
        assert page.evaluate("document.documentElement.scrollHeight") <= most
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        for _ in range(2):
            assert page.evaluate(CUT) == []
            page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        page.close()


def test_figures_are_drawn_for_the_paper_they_lie_on(browser: Browser) -> None:
    shown = []
    for scheme in ("light", "dark"):
        look = Look(browser, harness.page(), 390, scheme)
        shown.append(
            look.page.evaluate("[document.images[0].currentSrc, getComputedStyle(document.body).backgroundColor]")
        )
        look.page.close()
    assert shown[0][0] != shown[1][0]
    assert shown[0][1] != shown[1][1]


def test_markup_that_comes_from_a_run_does_nothing(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    path.write_text(harness.hostile(), encoding="utf-8")
    look = Look(browser, path, 390, "light")
    assert look.said == []
    assert look.page.evaluate("document.images.length") == 1
    assert look.page.locator("td, th, b, h1", has_text=harness.HOSTILE).count() > 5
    assert look.page.evaluate(OUTSIDE) == []
    look.page.close()
