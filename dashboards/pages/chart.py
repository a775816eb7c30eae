"""The forecast chart: weekly history, mean and median, 50 % and 80 % intervals."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from bokeh.models import ColumnDataSource, DatetimeTickFormatter, HoverTool, NumeralTickFormatter, Span
from bokeh.plotting import figure

from dashboards.api_types import DemandRow, ForecastWeek
from dashboards.theme import FONT, chart_colours

HISTORY_WEEKS = 104


def forecast_figure(history: Sequence[DemandRow], weeks: Sequence[ForecastWeek], unit: str, dark: bool) -> Any:
    """Bokeh figure in the item's unit per week; at most the last two years of history."""
    colours = chart_colours(dark)
    plot = figure(
        x_axis_type="datetime",
        height=360,
        sizing_mode="stretch_width",
        toolbar_location=None,
        tools="xpan,xwheel_zoom,reset",
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        min_border_left=8,
        min_border_right=20,
        min_border_top=12,
        min_border_bottom=36,
    )
    _history(plot, history[-HISTORY_WEEKS:], colours)
    if weeks:
        _forecast(plot, weeks, colours)
    _style(plot, unit, colours)
    return plot


def _history(plot: Any, rows: Sequence[DemandRow], colours: dict[str, str]) -> None:
    source = ColumnDataSource({"week": [_midnight(r.date) for r in rows], "quantity": [r.quantity for r in rows]})
    line = plot.line("week", "quantity", source=source, color=colours["history"], line_width=1.6, legend_label="Demand")
    plot.add_tools(
        HoverTool(
            renderers=[line],
            mode="vline",
            tooltips=[("Week", "@week{%d %b %Y}"), ("Demand", "@quantity{0,0.[00]}")],
            formatters={"@week": "datetime"},
            attachment="above",
        )
    )


def _forecast(plot: Any, rows: Sequence[ForecastWeek], colours: dict[str, str]) -> None:
    names = ("mean", "q10", "q25", "q50", "q75", "q90")
    columns: dict[str, list[float]] = {name: [getattr(r, name) for r in rows] for name in names}
    source = ColumnDataSource({"week": [_midnight(r.week) for r in rows], **columns})
    accent = colours["accent"]
    plot.varea("week", "q10", "q90", source=source, fill_color=accent, fill_alpha=0.14, legend_label="80 % interval")
    plot.varea("week", "q25", "q75", source=source, fill_color=accent, fill_alpha=0.22, legend_label="50 % interval")
    mean = plot.line("week", "mean", source=source, color=accent, line_width=2.6, legend_label="Mean")
    plot.line("week", "q50", source=source, color=accent, line_width=1.6, line_dash=[4, 4], legend_label="Median")
    plot.add_layout(
        Span(
            location=_midnight(rows[0].week),
            dimension="height",
            line_color=colours["text"],
            line_dash=[2, 4],
            line_width=1,
        )
    )
    tooltips = [
        ("Week", "@week{%d %b %Y}"),
        ("Mean", "@mean{0,0.[00]}"),
        ("Median", "@q50{0,0.[00]}"),
        ("50 %", "@q25{0,0.[00]} to @q75{0,0.[00]}"),
        ("80 %", "@q10{0,0.[00]} to @q90{0,0.[00]}"),
    ]
    plot.add_tools(
        HoverTool(
            renderers=[mean], mode="vline", tooltips=tooltips, formatters={"@week": "datetime"}, attachment="above"
        )
    )


def _midnight(day: date) -> datetime:
    """A plain date travels to the browser as text, which its time axis does not understand."""
    return datetime.combine(day, time(), UTC)


def _style(plot: Any, unit: str, colours: dict[str, str]) -> None:
    plot.xaxis.formatter = DatetimeTickFormatter(days="%d %b", months="%b %Y", years="%Y")
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0.[00]")
    plot.yaxis.axis_label = f"{unit} per week" if unit else "per week"
    plot.y_range.start = 0
    for axis in (*plot.xaxis, *plot.yaxis):
        axis.update(
            axis_line_color=None,
            major_tick_line_color=None,
            minor_tick_line_color=None,
            major_label_text_color=colours["text"],
            major_label_text_font=FONT,
            major_label_text_font_size="12px",
            axis_label_text_color=colours["text"],
            axis_label_text_font=FONT,
            axis_label_text_font_size="12px",
            axis_label_text_font_style="normal",
        )
    plot.xgrid.grid_line_color = None
    plot.ygrid.grid_line_color = colours["grid"]
    legend = plot.legend[0]
    legend.update(
        orientation="horizontal",
        background_fill_alpha=0,
        border_line_color=None,
        label_text_color=colours["text"],
        padding=4,
        label_text_font=FONT,
        label_text_font_size="12px",
        spacing=14,
        glyph_width=18,
        margin=0,
        click_policy="hide",
    )
    plot.add_layout(legend, "above")
