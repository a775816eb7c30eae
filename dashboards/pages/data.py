"""Data: where it comes from, what became of every row, and the upload of a file."""

from __future__ import annotations

import asyncio
from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboards import format as f
from dashboards.api_client import ApiProblem
from dashboards.api_types import Mapping, RejectedRow, Source, SourceRun
from dashboards.fragments import badge, card, empty, failure, skeleton, table, title
from dashboards.markup import Markup
from dashboards.shell.context import Context
from dashboards.theme import FIELD_SX, NATURAL_HEIGHT

LARGEST_UPLOAD = 64 * 2**20


class DataPage:
    """Sources with their last runs, rejected rows of the chosen run, and the upload for roles that may."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sources = Markup(skeleton("Runs"), on_action=self._act, css_classes=["fmrp-runs"])
        self._rejected = Markup(css_classes=["fmrp-rejected"], on_action=self._act)
        self._mapping = pmui.Select(
            label="Mapping", options={}, width=300, size="small", margin=0, sx=FIELD_SX, css_classes=["fmrp-mapping"]
        )
        self._file = pmui.FileInput(
            label="Choose a file",
            accept=".csv,.gz,.xlsx,.txt,.tsv",
            variant="outlined",
            margin=0,
            css_classes=["fmrp-file"],
        )
        self._upload = pmui.Button(
            label="Upload",
            color="primary",
            variant="contained",
            disabled=True,
            width=110,
            margin=0,
            css_classes=["fmrp-upload"],
        )
        self._file.param.watch(self._file_chosen, "value")
        self._upload.on_click(self._send)
        upload = pn.Column(
            Markup(
                '<h2>Upload a file</h2><p class="soft small" style="margin-top:4px">CSV or XLSX, up to 64'
                " MB. The mapping says how its columns "
                "are read; nothing changes when the file is refused.</p>",
                margin=(0, 0, 12, 0),
            ),
            pn.FlexBox(self._mapping, self._file, self._upload, align_items="center", gap="12px", margin=(0, 0, 20, 0)),
            visible=context.user.may_operate,
            sizing_mode="stretch_width",
            styles=NATURAL_HEIGHT,
        )
        self.view = pn.Column(
            Markup(title("Data", "Every row is accounted for: read = taken + merged + rejected.")),
            upload,
            self._sources,
            self._rejected,
            sizing_mode="stretch_width",
            css_classes=["fmrp-page-data"],
            styles=NATURAL_HEIGHT,
        )
        self._active: frozenset[str] = frozenset()

    async def load(self) -> None:
        """Sources, the newest runs of each, and the mappings an upload may use."""
        api = self._context.api
        try:
            sources, mappings = await asyncio.gather(api.sources(), api.mappings())
            runs = await asyncio.gather(*(api.source_runs(source.code) for source in sources))
        except ApiProblem as problem:
            self._sources.html = card("Runs", failure(self._context.explain(problem)))
            return
        self._offer(mappings)
        if not sources:
            self._sources.html = card("Sources", empty("No source yet", "Upload a file, or set up a watched folder."))
            return
        cards = (_source_card(source, found[:10]) for source, found in zip(sources, runs, strict=True))
        self._sources.html = f'<div style="display:grid;gap:16px">{"".join(cards)}</div>'

    def jobs_changed(self) -> None:
        """When an ingestion ends its run is in the list: read it."""
        active = frozenset(job.id for job in self._context.board.jobs() if job.kind == "ingest" and job.active)
        if self._active - active:
            pn.state.execute(self.load)
        self._active = active

    def dark_changed(self, dark: bool) -> None:
        """Nothing here depends on the theme."""

    def _offer(self, mappings: list[Mapping]) -> None:
        options = {f"{m.name} ({f.label(m.target).lower()})" if m.target else m.name: m.name for m in mappings}
        if options != self._mapping.options:
            self._mapping.options = options
            self._mapping.value = next(iter(options.values()), None)

    def _file_chosen(self, event: Any) -> None:
        self._upload.disabled = not event.new

    async def _send(self, _: object) -> None:
        content, mapping = self._file.value, self._mapping.value
        if not content or not mapping:
            self._context.notify("Choose a file and a mapping first.", "error")
            return
        if len(content) > LARGEST_UPLOAD:
            self._context.notify("This file is larger than 64 MB. Put it into the watched folder instead.", "error")
            return
        self._upload.disabled = True
        try:
            job = await self._context.api.upload(str(self._file.filename or "upload"), content, str(mapping))
        except ApiProblem as problem:
            self._context.notify(self._context.explain(problem), "error")
        else:
            self._context.board.put(job)
            self._context.notify("The file is in. Its rows are being read; see Jobs for the progress.", "")
        finally:
            self._upload.disabled = False

    async def _act(self, action: str, value: str) -> None:
        if action == "reload":
            await self.load()
        elif action == "rejected":
            try:
                page = await self._context.api.rejected_rows(value)
            except ApiProblem as problem:
                self._rejected.html = card("Rejected rows", failure(self._context.explain(problem)))
                return
            self._rejected.html = _rejected_card(page.items, page.total)


def _source_card(source: Source, runs: list[SourceRun]) -> str:
    if not runs:
        return card(source.name or source.code, empty("Nothing read yet", "The first run of this source shows here."))
    heads = (
        ("File", ""),
        ("Mapping", ""),
        ("State", ""),
        ("Read", "num"),
        ("Taken", "num"),
        ("Merged", "num"),
        ("Rejected", "num"),
        ("Finished", "nowrap"),
        ("", "num"),
    )
    body = table(heads, (_run_row(run) for run in runs), "fmrp-run-table")
    return card(source.name or source.code, body, f'<span class="mono">{f.text(source.code)}</span>')


def _run_row(run: SourceRun) -> str:
    rejected = f'<span class="late">{f.number(run.rejected)}</span>' if run.rejected else "0"
    show = (
        f'<button class="btn small fmrp-show-rejected" data-action="rejected"'
        f' data-value="{f.text(run.id)}">Show rejected</button>'
        if run.rejected
        else ""
    )
    error = f.sentence(run.error)
    note = f'<span class="sub late">{f.text(error)}</span>' if error else ""
    return (
        f'<tr class="fmrp-run" data-key="{f.text(run.id)}"><td><span class="mono">{f.text(run.file)}</span>{note}</td>'
        f"<td>{f.text(run.mapping)}</td><td>{badge(run.state)}</td>"
        f'<td class="num">{f.number(run.read)}</td><td class="num">{f.number(run.taken)}</td><td'
        f' class="num">{f.number(run.merged)}</td>'
        f'<td class="num">{rejected}</td><td class="nowrap">{f.moment(run.finished_at)}</td><td'
        f' class="num">{show}</td></tr>'
    )


def _rejected_card(rows: list[RejectedRow], total: int | None) -> str:
    if not rows:
        return card("Rejected rows", empty("No rejected rows", "Every row of this file was taken or merged."))
    body = table(
        (("Line", "num"), ("Field", ""), ("Reason", ""), ("Row as read", "")),
        (
            f'<tr class="fmrp-rejected-row"><td class="num">{f.number(row.line)}</td>'
            f"<td>{f.text(row.field)}</td><td>{f.text(row.reason)}</td>"
            f'<td class="mono cut">{f.text(row.raw)}</td></tr>'
            for row in rows
        ),
    )
    shown = (
        f"First {f.number(len(rows))} of {f.number(total)}"
        if total and total > len(rows)
        else f"{f.number(len(rows))} rows"
    )
    return card("Rejected rows", body, shown)
