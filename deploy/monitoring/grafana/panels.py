"""Building blocks of the dashboards: what all panels share, so that a dashboard reads as a list of questions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models.common import BigValueGraphMode, LegendDisplayMode, LegendPlacement, VisibilityMode
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef, Threshold, ThresholdsMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
Panel = timeseries.Panel | stat.Panel | table.Panel | heatmap.Panel
Query = tuple[str, str]
"""PromQL and legend."""


def course(title: str, said: str, unit: str, *queries: Query, width: int = 12) -> timeseries.Panel:
    """How something went over time."""
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    panel = timeseries.Panel().legend(legend.show_legend(True)).tooltip(common.VizTooltipOptions())
    return _with(panel.fill_opacity(5).show_points(VisibilityMode.NEVER).unit(unit), title, said, queries, width)


def now(title: str, said: str, unit: str, *queries: Query, bad_from: float | None = None, width: int = 6) -> stat.Panel:
    """One number; red from `bad_from` on."""
    panel = stat.Panel().unit(unit).graph_mode(BigValueGraphMode.AREA)
    if bad_from is not None:
        steps = [Threshold(value=None, color="green"), Threshold(value=bad_from, color="red")]
        limits = dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
        panel = panel.thresholds(limits)
    return _with(panel, title, said, queries, width)


def listing(title: str, said: str, *queries: Query, width: int = 12) -> table.Panel:
    """The labels of what is so at present."""
    panel = table.Panel().show_header(True).title(title).description(said).datasource(SOURCE).span(width).height(8)
    for index, (expression, _) in enumerate(queries):
        panel = panel.with_target(_query(expression, "", index).format(PromQueryFormat.TABLE).instant())
    return panel


def spread(title: str, said: str, expression: str, width: int = 12) -> heatmap.Panel:
    """A histogram over time; `expression` gives the rate of each bucket `le`."""
    panel = heatmap.Panel().show_legend().title(title).description(said).datasource(SOURCE).span(width).height(8)
    return panel.with_target(_query(expression, "{{le}}", 0).format(PromQueryFormat.HEATMAP))


def board(uid: str, title: str, said: str, rows: Sequence[tuple[str, Sequence[Panel]]]) -> dashboard.Dashboard:
    """A dashboard of rows of panels, for one or all cancer types."""
    cancers = (
        dashboard.QueryVariable("cancer")
        .label("cancer type")
        .query("label_values(clinical_model_role, cancer)")
        .datasource(SOURCE)
        .include_all(True)
        .all_value(".*")
        .multi(True)
    )
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(said)
        .tags(["clinical"])
        .refresh("10s")
        .time("now-1h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(cancers)
    )
    numbers = count(1)
    for name, panels in rows:
        made = made.with_row(dashboard.Row(name).id(next(numbers)))
        for panel in panels:
            made = made.with_panel(panel.id(next(numbers)))
    return made


def _with(panel, title: str, said: str, queries: Sequence[Query], width: int):
    panel = panel.title(title).description(said).datasource(SOURCE).span(width).height(8)
    for index, (expression, legend) in enumerate(queries):
        panel = panel.with_target(_query(expression, legend, index))
    return panel


def _query(expression: str, legend: str, index: int) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + index)).range()
