"""Examples in the OpenAPI document: one value for each word of the vocabulary, put together wherever it is used.

It is the same made-up plant everywhere, so that the parts of the document fit each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_REFERENCE = "#/components/schemas/"
_MISSING = object()
_RUN = "0199a3c4-6f1e-7c55-9d0b-5a2f4e8b7c10"
_JOB = "0199a3c4-5b2d-7e11-8f3a-1c9d7b6a2e43"
_MORNING = "2026-11-23T05:30:00Z"
_FORMATS = {"date-time": _MORNING, "date": "2026-11-23", "uuid": _RUN}

WORDS: dict[str, Any] = {
    # Who and what
    "id": _RUN,
    "job_id": _JOB,
    "run_id": _RUN,
    "parent_id": _JOB,
    "schedule_id": "0199a3c4-7a90-7d02-a6e4-3b1f9c8d5e21",
    "last_job_id": _JOB,
    "forecast_run_id": _RUN,
    "email": "planner@example.com",
    "password": "correct horse battery",
    "name": "Pump, large",
    "code": "A-200",
    "item": "A-200",
    "component": "B-110",
    "supplier": "S-1",
    "supplier_name": "Smith & Sons",
    "unit": "pcs",
    "category": "pumps",
    "work_centre": "W-1",
    "role": "operator",
    "requested_by": "planner@example.com",
    "changed_by": "planner@example.com",
    "access_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.signature",
    "token_type": "Bearer",
    "expires_in": 3600,
    "ticket": "c2luZ2xlLXVzZS10aWNrZXQ",
    # Quantities and money
    "quantity": 40.0,
    "quantity_per": 2.5,
    "scrap_share": 0.02,
    "revenue": 5960.0,
    "cost": 80.0,
    "price": 149.0,
    "unit_cost": 80.0,
    "value": 3200.0,
    "on_hand": 10.0,
    "safety_stock": 12.0,
    "service_level": 0.95,
    "lead_time_days": 7,
    "min_order_qty": 10.0,
    "order_multiple": 5.0,
    # Days and moments
    "date": "2026-11-23",
    "week": "2026-11-23",
    "as_of": "2026-11-23",
    "start": "2026-11-23",
    "from": "2026-01-01",
    "to": "2026-11-23",
    "release_date": "2026-11-24",
    "due_date": "2026-12-02",
    "created_at": _MORNING,
    "updated_at": _MORNING,
    "changed_at": _MORNING,
    "started_at": _MORNING,
    "finished_at": "2026-11-23T05:34:10Z",
    "heartbeat_at": _MORNING,
    "run_at": _MORNING,
    "next_run_at": "2026-11-24T05:30:00Z",
    "last_run_at": _MORNING,
    "at": _MORNING,
    "horizon": 13,
    "horizon_weeks": 26,
    "horizon_days": 182,
    "cron": "30 6 * * 1-5",
    "time_zone": "Europe/Berlin",
    # Forecasts
    "demand_class": "smooth",
    "abc": "A",
    "xyz": "X",
    "model": "AutoETS",
    "reason": "smallest error in the backtest",
    "series": 180,
    "values": [12.0, 9.0, None, 14.0],
    "adi": 1.1,
    "cv2": 0.2,
    "lead_time_weeks": 1.0,
    "lead_time_mean": 41.0,
    "lead_time_quantile": 55.0,
    "mean": 40.0,
    "q10": 28.0,
    "q25": 34.0,
    "q50": 40.0,
    "q75": 46.0,
    "q90": 53.0,
    "wql": 0.18,
    "rmsse": 0.82,
    "mase": 0.79,
    "wape": 0.24,
    "bias": -0.01,
    "coverage_80": 0.81,
    "ForecastRunOut.items": 180,
    # Plans
    "summary": {"orders": 214, "critical": 3},
    "warnings": [{"item": "A-200", "field": "cost", "message": "missing"}],
    "past_due_days": 0,
    "cause": "forecast",
    "load_hours": 31.5,
    "capacity_hours": 40.0,
    "load_share": 0.79,
    # Jobs
    "state": "done",
    "cancel_requested": False,
    "paused": False,
    "kind": "plan",
    "progress": 0.4,
    "step": "netting",
    "message": "180 of 450 items",
    "attempt": 1,
    "attempts": 1,
    "failures": 0,
    "losses": 0,
    "max_attempts": 4,
    "priority": 0,
    "TermOut.priority": 1,
    "delay_s": 0.0,
    "parameters": {"today": "2026-11-23"},
    "result": {"orders": 214},
    "error": "work centre W-1: no calendar",
    "last_error": "2 missed times were skipped",
    "traceback": "Traceback (most recent call last): ...",
    "worker": "0199a3c4-8b01-7f44-b5d2-6e7f8a9b0c11",
    "owner": "planning",
    "stages": ["ingest", "forecast", "plan"],
    "concurrency": 4,
    "default_concurrency": 4,
    "timeout_s": 1800.0,
    "retried": 3,
    "asked": 1,
    "limit": 50,
    "count": 5,
    "host": "node-1",
    "pid": 4711,
    "LogLine.id": 42,
    "KindOut.name": "plan",
    "WorkerOut.name": "dispatcher-1",
    "ScheduleIn.name": "Every morning",
    "ScheduleOut.name": "Every morning",
    "Idempotency-Key": "morning-plan-2026-11-23",
    # Sources
    "source": "inbox",
    "file": "items.csv",
    "mapping": "erp_items",
    "target": "items",
    "connector": "folder",
    "rules": [{"pattern": "items*.csv", "mapping": "erp_items"}],
    "pattern": "items*.csv",
    "revision": 3,
    "version": "0.1.0",
    "sheet": "Items",
    "key": "A-200",
    "config": {"path": "/data/inbox"},
    "config_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    "secret_fields": ["password"],
    "capabilities": ["check", "discover", "read"],
    "distribution": "fmrp-folder",
    "problem": "import failed",
    "ok": True,
    "SourceCheckOut.message": "/data/inbox: 3 file(s) match *.csv",
    "own": True,
    "columns": {"code": {"names": ["Article", "Item no."]}, "name": {"names": ["Description"]}},
    "MappingColumn.names": ["Article", "Item no."],
    "MappingColumn.type": "text",
    "constant": "main",
    "MappingColumn.default": "pcs",
    "MappingColumn.values": {"St": "pcs"},
    "MappingColumn.required": True,
    "date_formats": ["%d.%m.%Y"],
    "MappingCondition.field": "code",
    "matches": "^X-",
    "not_matches": "^TEST",
    "is_one_of": ["old", "test"],
    "below": 0.0,
    "at_most": 0.0,
    "above": 0.0,
    "at_least": 1.0,
    "filters": [{"reason": "a test item", "when": [{"field": "code", "matches": "^TEST"}]}],
    "MappingFilter.reason": "a test item",
    "name_from": "name",
    "price_from": "price",
    "MappingIn.name": "own_items",
    "MappingDetail.name": "own_items",
    "rows": [{"code": "A-200", "name": "Pump, large"}],
    "description": "Items as the ERP exports them",
    "read": 10,
    "taken": 6,
    "merged": 1,
    "rejected": 3,
    "line": 9,
    "field": "cost",
    "raw": "A-200;Pump, large;eighty",
    "MappingOut.name": "erp_items",
    "SourceOut.code": "inbox",
    "SourceOut.name": "Inbox",
    # Pages, problems, health
    "search": "pump",
    "cursor": "WyJuYW1lIiwiUHVtcCIsIkEtMTAwIl0",
    "next_cursor": "WyJuYW1lIiwiUHVtcCIsIkEtMTAwIl0",
    "total": 180,
    "title": "Not valid",
    "Problem.status": 400,
    "detail": "limit: expected at most 500",
    "instance": "/api/v1/items",
    "type": "about:blank",
    "FieldError.field": "limit",
    "FieldError.message": "Expected `int` <= 500",
    "connectors": ["folder"],
    "switched_off": {},
    "dispatchers": 1,
}
"""By name of a field or parameter; by 'Schema.field' where a name means something else."""


def add_examples(document: dict[str, Any]) -> None:
    """Put an example on every schema, parameter and body for which all the words are there."""
    schemas: dict[str, Any] = document["components"]["schemas"]
    examples = {name: _example(schema, name, schemas) for name, schema in schemas.items()}
    for name, schema in schemas.items():
        for field, each in schema.get("properties", {}).items():
            found = _of_field(each, name, field, schemas)
            if "$ref" not in each and found is not _MISSING:
                each.setdefault("examples", [found])
        if examples[name] is not _MISSING and "enum" not in schema:
            schema["examples"] = [examples[name]]
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                found = _of_field(parameter["schema"], "", parameter["name"], schemas)
                if found is not _MISSING:
                    parameter["example"] = found
            answers = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
            for holder in (operation.get("requestBody", {}), *answers):
                for media in holder.get("content", {}).values():
                    found = _example(media.get("schema", {}), "", schemas)
                    if found is not _MISSING:
                        media["example"] = found


def _of_field(schema: Mapping[str, Any], owner: str, field: str, schemas: Mapping[str, Any]) -> Any:
    for word in (f"{owner}.{field}", field):
        if word in WORDS and _may_be(schema, WORDS[word], schemas):
            return WORDS[word]
    return _example(schema, field, schemas)


def _example(schema: Mapping[str, Any], name: str, schemas: Mapping[str, Any]) -> Any:
    """An example of a schema, or _MISSING."""
    if "$ref" in schema:
        target = str(schema["$ref"]).removeprefix(_REFERENCE)
        if target not in schemas:
            return _MISSING
        # Within itself, as a node of a tree is, it is not shown again.
        return _example(schemas[target], target, {each: schemas[each] for each in schemas if each != target})
    given = [*schema.get("examples", ()), *([schema["const"]] if "const" in schema else ()), *schema.get("enum", ())]
    choices = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    given += [found for choice in choices if (found := _example(choice, name, schemas)) is not _MISSING]
    kind = schema.get("type")
    if given:
        found = given[0]
    elif kind == "array":
        items = schema.get("items", {})
        inner = _example(items, name, schemas)
        ends = "$ref" in items and str(items["$ref"]).removeprefix(_REFERENCE) not in schemas
        found = [] if ends else _MISSING if inner is _MISSING else [inner]
    elif kind == "object" and "properties" in schema:
        fields = {field: _of_field(each, name, field, schemas) for field, each in schema["properties"].items()}
        found = _MISSING if any(each is _MISSING for each in fields.values()) else fields
    else:
        fallback = True if kind == "boolean" else _FORMATS.get(schema.get("format", ""), _MISSING)
        found = schema.get("default", fallback)
    return found


_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def _may_be(schema: Mapping[str, Any], value: Any, schemas: Mapping[str, Any]) -> bool:
    """Whether a word's value has the type, and is among the values, of a schema."""
    if "$ref" in schema:
        return _may_be(schemas.get(str(schema["$ref"]).removeprefix(_REFERENCE), {"enum": []}), value, schemas)
    for choices in (schema.get("anyOf"), schema.get("oneOf")):
        if choices:
            return any(_may_be(choice, value, schemas) for choice in choices)
    if "enum" in schema:
        return value in schema["enum"]
    kind = schema.get("type")
    if kind == "array" and isinstance(value, list):
        return all(_may_be(schema.get("items", {}), each, schemas) for each in value)
    if kind == "object" and "properties" in schema:
        return False
    return kind is None or isinstance(value, _JSON_TYPES[kind])
