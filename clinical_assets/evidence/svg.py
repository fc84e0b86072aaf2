"""Charts as plain SVG: text stays text, shapes differ by more than colour, and the same numbers give the same bytes.

Every chart carries a title and a description for those who cannot see it. Drawn 480 units wide, so that its words can
still be read on a telephone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

WIDTH = 480.0
INK, QUIET, RULE = "#1d2b36", "#52616d", "#d9e0e6"
BLUE, VERMILION, GREEN, PURPLE = "#0072b2", "#c04a00", "#00795a", "#8a4f7d"
"""Okabe and Ito's palette (2008), the light ones darkened to a contrast of 4.5 on white."""
SERIES = ((BLUE, ""), (VERMILION, "7 4"), (GREEN, "2 3"))
"""Colour and dash of the first, second and third line of a chart."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """Data range and the labelled ticks of one axis."""

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def share(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)


@dataclass
class Chart:
    """A picture in the making; `below` is room for rows of text under the x axis."""

    name: str
    title: str
    description: str
    x: Axis
    y: Axis
    height: float = 320.0
    below: float = 0.0
    left: float = 62.0
    _parts: list[str] = field(default_factory=list)

    def at(self, x: float, y: float) -> Point:
        """Data to picture."""
        right, top, bottom = WIDTH - 14.0, 14.0, self.height - 52.0 - self.below
        return self.left + self.x.share(x) * (right - self.left), bottom - self.y.share(y) * (bottom - top)

    def line(self, points: Sequence[Point], colour: str = BLUE, dash: str = "", width: float = 2.4) -> None:
        if len(points) > 1:
            path = _path([self.at(*point) for point in points])
            dashed = f' stroke-dasharray="{dash}"' if dash else ""
            self._parts.append(
                f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"{dashed} '
                'stroke-linejoin="round" stroke-linecap="round"/>'
            )

    def steps(self, points: Sequence[Point], colour: str = BLUE, dash: str = "") -> None:
        """A right-continuous step function."""
        corners = [points[0]] if points else []
        for (_, before), (time, after) in pairwise(points):
            corners += [(time, before), (time, after)]
        self.line(corners, colour, dash)

    def band(self, low: Sequence[Point], high: Sequence[Point], colour: str = BLUE) -> None:
        if len(low) > 1:
            path = _path([self.at(*point) for point in (*high, *reversed(low))])
            self._parts.append(f'<path d="{path}Z" fill="{colour}" fill-opacity="0.14"/>')

    def whisker(self, low: Point, high: Point, colour: str = BLUE) -> None:
        self.line((low, high), colour, width=1.6)

    def dot(self, point: Point, colour: str = BLUE, size: float = 4.5) -> None:
        x, y = self.at(*point)
        self._parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:g}" fill="{colour}" stroke="#fff" stroke-width="1.5"/>'
        )

    def rule(self, start: Point, end: Point, dash: str = "4 4") -> None:
        """A reference, quieter than what is measured."""
        self.line((start, end), QUIET, dash, 1.3)

    def label(self, point: Point, text: str, anchor: str = "start", colour: str = INK, rise: float = 0.0) -> None:
        """Words at a place of the data, on a white halo so that lines under them do no harm."""
        x, y = self.at(*point)
        self._parts.append('<g stroke="#fff" stroke-width="4" stroke-linejoin="round" paint-order="stroke">')
        self.text(x, y - rise, text, anchor, colour)
        self._parts.append("</g>")

    def text(self, x: float, y: float, text: str, anchor: str = "start", colour: str = INK, size: float = 13.5) -> None:
        """At a place of the picture, not of the data."""
        place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
        self._parts.append(f'<text {place} fill="{colour}" font-size="{size:g}">{escape(text)}</text>')

    def box(self, x: float, y: float, width: float, text: str, number: str, last: bool = False) -> None:
        """A step of a flow: words at the left, a number at the right, an arrow to the next one."""
        height, room = 44.0, int((width - 70) / 6.9)
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" fill="#f4f7f9" stroke="{RULE}"/>'
        )
        self.text(x + 14, y + height / 2 + 5, text if len(text) <= room else f"{text[: room - 1]}…")
        self.text(x + width - 14, y + height / 2 + 5, number, "end")
        if not last:
            middle = x + width / 2
            arrow = f"M{middle:g} {y + height:g}v12m-5 -5l5 6l5 -6"
            self._parts.append(f'<path d="{arrow}" fill="none" stroke="{QUIET}" stroke-width="1.5"/>')

    def render(self) -> bytes:
        body = "".join((*self._frame(), *self._parts))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {self.height:g}" role="img" '
            f'aria-labelledby="{self.name}-title {self.name}-description" '
            'font-family="system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif">'
            f'<title id="{self.name}-title">{escape(self.title)}</title>'
            f'<desc id="{self.name}-description">{escape(self.description)}</desc>'
            f'<rect width="{WIDTH:g}" height="{self.height:g}" fill="#fff"/>{body}</svg>'
        ).encode()

    def _frame(self) -> list[str]:
        kept, self._parts = self._parts, []
        for value, text in self.y.ticks:
            x, y = self.at(self.x.low, value)
            end = self.at(self.x.high, value)[0]
            self._parts.append(f'<path d="M{x:.1f} {y:.1f}H{end:.1f}" stroke="{RULE}" stroke-width="1"/>')
            self.text(x - 8, y + 4.5, text, "end", QUIET)
        floor = self.height - 52.0 - self.below
        for value, text in self.x.ticks:
            x = self.at(value, self.y.low)[0]
            self._parts.append(f'<path d="M{x:.1f} {floor:.1f}v5" stroke="{QUIET}" stroke-width="1"/>')
            self.text(x, floor + 20, text, "middle", QUIET)
        if self.x.title:
            self.text((self.left + WIDTH - 14) / 2, floor + 41, self.x.title, "middle", INK)
        middle = (14.0 + floor) / 2
        self._parts.append(
            f'<text transform="translate(15 {middle:.1f}) rotate(-90)" text-anchor="middle" fill="{INK}" '
            f'font-size="13.5">{escape(self.y.title)}</text>'
            if self.y.title
            else ""
        )
        frame, self._parts = self._parts, kept
        return frame


def percent_axis(title: str, high: float = 1.0) -> Axis:
    """From 0 to `high` (a probability), in per cent."""
    step = next((step for step in (0.05, 0.1, 0.2) if high / step <= 6), 0.25)
    ticks = tuple((step * index, f"{100 * step * index:.0f} %") for index in range(int(high / step + 1e-9) + 1))
    return Axis(title, 0.0, high, ticks)


def time_axis(horizon: float) -> Axis:
    """Days shown as years, or as months where the horizon is short."""
    unit, name = (365.25, "years") if horizon > 730 else (30.4375, "months")
    end = horizon / unit
    step = next((step for step in (1, 2, 3, 5, 6, 12, 24) if end / step <= 7), 60)
    ticks = tuple((step * index * unit, f"{step * index}") for index in range(int(end / step + 1e-6) + 1))
    return Axis(f"{name} since the prediction", 0.0, horizon, ticks)


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
