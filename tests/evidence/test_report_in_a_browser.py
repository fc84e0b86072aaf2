"""The report as a person sees it, in a real Chromium: on a telephone, on a desk, on paper."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.evidence.bundles import bundle
from tests.servers import absent

SIZES = [(390, 844), (1440, 900)]
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
CONTRAST = """() => {
  const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = node => {
    for (let up = node; up; up = up.parentElement) {
      const colour = parse(getComputedStyle(up).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement, style = getComputedStyle(node);
    if (!walk.currentNode.textContent.trim() || !node.getClientRects().length) continue;
    const svg = node.closest('svg') && node.tagName !== 'svg';
    if (svg && node.tagName !== 'text') continue;
    const front = parse(svg ? style.fill : style.color), back = svg ? [255, 255, 255] : behind(node);
    const [light, dark] = [luminance(front), luminance(back)].sort((a, b) => b - a);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.6 && style.fontWeight >= 700);
    const ratio = (light + 0.05) / (dark + 0.05);
    found.push({text: walk.currentNode.textContent.trim().slice(0, 40), ratio, enough: ratio >= (large ? 3 : 4.5)});
  }
  return found;
}"""
WIDER = """() => [...document.querySelectorAll('body *')].filter(element =>
  !element.closest('.scroll') && !element.closest('svg') && !element.closest('.skip')
  && element.getBoundingClientRect().right > innerWidth + 0.5).map(element => element.outerHTML.slice(0, 80))"""


def chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    path = chromium()
    if path is None:
        absent("Chromium is not installed: no chromium, chromium-browser or google-chrome on PATH")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_bytes(bundle()["report.html"])
    return path.as_uri()


def opened(browser: Any, address: str, size: tuple[int, int]) -> tuple[Any, list[str]]:
    """The page, and whatever it complained of or asked the network for."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: request.url == address or complaints.append(request.url))
    page.goto(address)
    return page, complaints


@pytest.mark.parametrize("size", SIZES, ids=["telephone", "desk"])
def test_fits_the_screen_asks_for_nothing_and_can_be_read(browser: Any, report: str, size: tuple[int, int]) -> None:
    page, complaints = opened(browser, report, size)
    assert complaints == []
    assert page.locator("h1").inner_text() == "Advanced lung cancer, overall survival"
    for folded in (True, False):
        if not folded:
            page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert page.evaluate(WIDER) == []
    seen = page.evaluate(CONTRAST)
    assert len(seen) > 300
    assert [text for text in seen if not text["enough"]] == []
    page.close()


def test_details_are_folded_until_asked_for(browser: Any, report: str) -> None:
    page, _ = opened(browser, report, SIZES[0])
    passed = page.locator("details.passed").first
    assert not passed.locator("article").first.is_visible()
    passed.locator("summary").first.click()
    assert passed.locator("article").first.is_visible()
    page.close()


def test_reaches_what_a_link_names_by_keyboard(browser: Any, report: str) -> None:
    page, _ = opened(browser, report, SIZES[1])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the evidence"
    page.locator("nav a", has_text="What was checked").press("Enter")
    assert abs(page.locator("#checks").bounding_box()["y"]) < 900
    page.close()


def test_prints_what_is_folded_and_leaves_out_what_paper_cannot_do(browser: Any, report: str) -> None:
    page, _ = opened(browser, report, SIZES[1])
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.locator("details.passed article").first.bounding_box()["height"] > 20
    page.close()


def test_pictures_of_the_bundle_stand_on_their_own(browser: Any, tmp_path: Path) -> None:
    for name, data in bundle().items():
        if name.endswith(".svg"):
            path = tmp_path / Path(name).name
            path.write_bytes(data)
            page, complaints = opened(browser, path.as_uri(), (480, 420))
            assert complaints == []
            assert page.evaluate("document.documentElement.tagName") == "svg", name
            page.close()
