"""The report is one file that anybody can open, read and trust to say what the evidence says."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from clinical_assets.evidence.report import numbers_shown
from tests.evidence.bundles import bundle, platform

COHORTS = ["lung_advanced", "breast_fna"]
VOID = {"meta", "link", "br", "img", "rect", "path", "circle"}


class Outline(HTMLParser):
    """Headings, identifiers, references and the tags left open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: set[str] = set()
        self.images: list[dict[str, str | None]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.add(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if "id" in found:
            self.ids.append(str(found["id"]))
        self.references += [str(found[name]) for name in ("href", "src", "action", "data") if name in found]
        self.references += [f"#{id}" for id in str(found.get("aria-labelledby") or "").split()]
        if tag == "svg":
            self.images.append(found)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def html(slug: str) -> str:
    return bundle(slug)["report.html"].decode()


@pytest.mark.parametrize("slug", COHORTS)
class TestTheFile:
    def test_is_small_and_needs_nothing_else(self, slug: str) -> None:
        text = html(slug)
        outline = Outline(text)
        assert len(text.encode()) < 2_000_000
        assert not {"script", "link", "img", "iframe", "object", "embed", "form"} & outline.tags
        assert all(reference.startswith("#") for reference in outline.references)
        assert "@import" not in text
        assert "url(" not in text
        assert not re.search(r"\son\w+=", text)

    def test_is_well_formed_and_every_reference_leads_somewhere(self, slug: str) -> None:
        outline = Outline(html(slug))
        assert outline.open == []
        assert len(set(outline.ids)) == len(outline.ids)
        assert {reference[1:] for reference in outline.references} <= set(outline.ids)

    def test_has_an_outline_without_gaps(self, slug: str) -> None:
        headings = Outline(html(slug)).headings
        assert headings[0] == 1
        assert headings.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(headings))

    def test_describes_every_picture_to_those_who_cannot_see_it(self, slug: str) -> None:
        images = Outline(html(slug)).images
        assert len(images) >= 6
        assert all(image["role"] == "img" and image["aria-labelledby"] for image in images)
        descriptions = re.findall(r"<desc[^>]*>([^<]+)</desc>", html(slug))
        assert len(descriptions) == len(images)

    def test_claims_no_compliance(self, slug: str) -> None:
        assert "complian" not in re.sub(r"security and compliance practices", "", html(slug).lower())

    def test_cites_its_numbers(self, slug: str) -> None:
        assert len(numbers_shown(html(slug))) > 60


def test_says_first_what_stands_in_the_way() -> None:
    text = html("lung_advanced")
    checks = re.findall(r'<article class="check (\w+)"', text)
    order = ["error", "block", "inconclusive", "warn", "pass"]
    assert checks == sorted(checks, key=order.index)
    assert len(checks) == sum(len(report.checks) for report in platform().signed.record.reports.values())


def test_speaks_of_patients_before_it_speaks_of_statistics() -> None:
    text = re.sub("<[^>]+>", "", html("lung_advanced"))
    assert text.index("Of 100 such patients") < text.index("95 %")
    assert re.search(r"Not for\s*Clinical decisions", text)


def test_text_from_outside_is_only_text() -> None:
    """A declaration that holds markup is shown, not executed."""
    from clinical_assets.evidence.report import _marked

    assert str(_marked("<script>`x`</script>")) == "&lt;script&gt;<code>x</code>&lt;/script&gt;"
