"""A real HTTP and WebSocket server that speaks the API's contract over seeded data; its day job really progresses.

`python tests/dashboards/fake_api.py --port 8000` serves it on its own, to look at the dashboard without the stack.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import email
import json
import math
import random
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

PASSWORD = "correct horse"
USERS = {
    "planner@example.com": {"email": "planner@example.com", "name": "Maria Keller", "role": "operator"},
    "viewer@example.com": {"email": "viewer@example.com", "name": "Jonas <b>Weber</b>", "role": "viewer"},
}
TODAY = date(2025, 11, 24)
PRIORITIES = ("critical", "high", "medium", "low")
NAMES = (
    "Bearing housing",
    "Drive shaft",
    "Gear wheel 32T",
    "Control board",
    "Cable harness",
    "Steel sheet 2 mm",
    "Hex bolt M8",
    "Sealing ring",
    "Carton 400x300",
    "Pump unit",
    "Valve block",
    "Filter cartridge",
)
SUPPLIERS = (
    ("S-104", "Nordmetall GmbH"),
    ("S-117", "Kessler Antriebe"),
    ("S-122", "Elektro Pohl & Sohn"),
    ("S-130", "Packwerk AG"),
)


def problem(status: int, title: str, detail: str = "") -> JSONResponse:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "instance": ""}
    return JSONResponse(body, status, media_type="application/problem+json")


def series_of(seed: int, weeks: int = 104) -> list[float]:
    rng = random.Random(seed)
    level, season = rng.uniform(40, 300), rng.uniform(0.05, 0.35)
    return [
        round(max(0.0, level * (1 + season * math.sin(2 * math.pi * w / 52) + rng.gauss(0, 0.12)) * (1 + w / 600)), 1)
        for w in range(weeks)
    ]


class World:
    """Everything the fake API knows; `hold` stops the day at a share until `release` is set."""

    def __init__(self, step_s: float = 0.02, orders: int = 130) -> None:
        self.step_s = step_s
        self.tokens: dict[str, str] = {}
        self.refresh_tokens: dict[str, str] = {}
        self.must_change: set[str] = set()
        self.passwords: dict[str, str] = {}
        self.token_ttl_s = 3600.0
        self.tickets: dict[str, str] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.sockets: set[WebSocket] = set()
        self.handshakes: list[str | None] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.uploads: list[tuple[str, int, str]] = []
        self.requests: list[tuple[str, str, str]] = []
        self.items = [(f"FG-{1000 + i}", f"{NAMES[i % len(NAMES)]} {chr(65 + i // len(NAMES))}") for i in range(40)]
        self.orders = self._orders(orders)
        self.broken: set[str] = set()

    def _orders(self, count: int) -> list[dict[str, Any]]:
        rng = random.Random(7)
        rows = []
        for i in range(count):
            item, name = rng.choice(self.items)
            supplier = rng.choice(SUPPLIERS)
            late = rng.choice((0, 0, 0, 1, 3, 6)) if i < 40 else 0
            qty, cost = float(rng.choice((50, 120, 400, 1250))), round(rng.uniform(0.4, 60), 2)
            kind = "purchase" if i % 4 else "production"
            release = TODAY + timedelta(days=0 if late else rng.randint(0, 40))
            rows.append(
                {
                    "id": f"o{i}",
                    "kind": kind,
                    "item": item,
                    "name": name,
                    "supplier": supplier[0] if kind == "purchase" else None,
                    "supplier_name": supplier[1] if kind == "purchase" else None,
                    "quantity": qty,
                    "unit": "pcs",
                    "release_date": release.isoformat(),
                    "due_date": (release + timedelta(days=12)).isoformat(),
                    "priority": PRIORITIES[min(3, i * 9 // count // 2)] if count > 8 else PRIORITIES[i % 4],
                    "past_due_days": late,
                    "unit_cost": cost,
                    "value": round(qty * cost, 2),
                    "cause": "net requirement",
                }
            )
        return sorted(rows, key=lambda r: (PRIORITIES.index(r["priority"]), r["release_date"], r["id"]))

    def publish(self, job: dict[str, Any], kind: str = "job.progressed") -> None:
        data = {
            k: job.get(k)
            for k in ("parent_id", "kind", "state", "progress", "step", "message", "rate", "eta_s", "error")
        }
        n = len(self.events) + 1
        self.events.append(
            {
                "id": f"{n}-0",
                "type": kind,
                "version": 1,
                "topic": "jobs",
                "at": datetime.now(UTC).isoformat(),
                "seq": n,
                "data": {"job_id": job["id"], **data},
            }
        )

    def snapshot(self) -> dict[str, Any]:
        n = len(self.events)
        jobs = [{**{k: v for k, v in job.items() if k != "id"}, "job_id": job["id"]} for job in self.jobs.values()]
        return {
            "id": f"{n}-0",
            "type": "snapshot",
            "version": 1,
            "topic": "jobs",
            "at": datetime.now(UTC).isoformat(),
            "seq": 0,
            "data": {"jobs": jobs},
        }

    def new_job(self, kind: str, parent: str | None = None) -> dict[str, Any]:
        job = {
            "id": f"j{len(self.jobs) + 1}",
            "kind": kind,
            "state": "waiting",
            "progress": 0.0,
            "step": None,
            "message": None,
            "attempts": 1,
            "max_attempts": 3,
            "parameters": {},
            "result": None,
            "error": None,
            "parent_id": parent,
            "requested_by": "planner@example.com",
            "created_at": datetime.now(UTC).isoformat(),
            "started_at": None,
            "finished_at": None,
        }
        self.jobs[job["id"]] = job
        self.publish(job, "job.changed")
        return job

    def set_job(self, job: dict[str, Any], **changes: Any) -> None:
        job.update(changes)
        now = datetime.now(UTC).isoformat()
        if changes.get("state") == "running":
            job["started_at"] = now
        elif changes.get("state") in {"done", "failed", "cancelled"}:
            job["finished_at"] = now
        self.publish(job, "job.changed" if "state" in changes else "job.progressed")

    def spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def drop_sockets(self, code: int = 1011) -> None:
        for socket in list(self.sockets):
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await socket.close(code)

    async def run_day(self, day: dict[str, Any]) -> None:
        self.set_job(day, state="running")
        for place, (kind, note) in enumerate(
            (("ingest", "Reading sales.csv"), ("forecast", "Series 1 to 500"), ("plan", "Low-level code 3"))
        ):
            child = self.new_job(kind, day["id"])
            self.set_job(child, state="running", message=note)
            for step in range(1, 11):
                if day["state"] == "cancelled":
                    return
                await asyncio.sleep(self.step_s)
                self.set_job(child, progress=step / 10, message=note, eta_s=(10 - step) * self.step_s)
                self.set_job(day, progress=(place + step / 10) / 3)
            self.set_job(child, state="done", progress=1.0, message="Done", eta_s=None)
        self.set_job(day, state="done", progress=1.0)


def build(world: World) -> Starlette:
    def guard(request: Request) -> dict[str, str]:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in world.tokens:
            raise HTTPException(401, "The token has expired.")
        world.requests.append((request.method, request.url.path, world.tokens[token]))
        if request.url.path.removeprefix("/api/v1") in world.broken:
            raise HTTPException(503, "The database is restarting. Try again in a moment.")
        return USERS[world.tokens[token]]

    def operator(request: Request) -> None:
        if guard(request)["role"] == "viewer":
            raise HTTPException(403, "Your role may not do this.")

    def page(request: Request, rows: list[dict[str, Any]]) -> JSONResponse:
        limit, at = int(request.query_params.get("limit", 50)), int(request.query_params.get("cursor") or 0)
        following = str(at + limit) if at + limit < len(rows) else None
        return JSONResponse({"items": rows[at : at + limit], "next_cursor": following, "total": len(rows)})

    async def login(request: Request) -> Response:
        body = await request.json()
        user = USERS.get(body["email"])
        if user is None or body["password"] != world.passwords.get(body["email"], PASSWORD):
            return problem(401, "Unauthorized", "Email and password do not match.")
        return pair(body["email"])

    def pair(email: str) -> JSONResponse:
        token, refresh_token = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        world.tokens[token] = world.refresh_tokens[refresh_token] = email
        return JSONResponse(
            {
                "access_token": token,
                "token_type": "Bearer",
                "expires_in": world.token_ttl_s,
                "refresh_token": refresh_token,
                "refresh_expires_in": 14 * 86400,
                "user": {**USERS[email], "must_change_password": email in world.must_change},
            }
        )

    async def refresh(request: Request) -> Response:
        if "/auth/refresh" in world.broken:
            raise HTTPException(503, "The database is restarting. Try again in a moment.")
        email = world.refresh_tokens.pop((await request.json())["refresh_token"], None)
        world.requests.append((request.method, request.url.path, email or "nobody"))
        return pair(email) if email else problem(401, "Not logged in", "This refresh token is no longer good.")

    async def logout(request: Request) -> Response:
        world.refresh_tokens.pop((await request.json())["refresh_token"], None)
        return Response(status_code=204)

    async def password(request: Request) -> Response:
        user, body = guard(request), await request.json()
        if len(body["new_password"]) < 12:
            return problem(400, "Bad request", "new_password: expected at least 12 characters")
        world.passwords[user["email"]] = body["new_password"]
        world.must_change.discard(user["email"])
        return pair(user["email"])

    async def me(request: Request) -> Response:
        return JSONResponse(guard(request))

    async def ticket(request: Request) -> Response:
        user = guard(request)
        key = secrets.token_urlsafe(8)
        world.tickets[key] = user["email"]
        return JSONResponse({"ticket": key})

    async def events(socket: WebSocket) -> None:
        if world.tickets.pop(socket.query_params.get("ticket", ""), None) is None:
            await socket.close(4401)
            return
        await socket.accept()
        world.sockets.add(socket)
        after = socket.query_params.get("after")
        world.handshakes.append(after)
        sent = int(after.split("-")[0]) if after else len(world.events)
        is_batch = socket.query_params.get("frames") == "batch"
        if not after:
            first = world.snapshot()
            await socket.send_text(json.dumps([first] if is_batch else first))
        reader = asyncio.create_task(socket.receive())
        try:
            while not reader.done():
                unsent, sent = world.events[sent:], len(world.events)
                frames = [unsent] if is_batch and unsent else unsent
                for frame in frames:
                    await socket.send_text(json.dumps(frame))
                await asyncio.sleep(0.01)
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            reader.cancel()
            world.sockets.discard(socket)

    async def jobs(request: Request) -> Response:
        if request.method == "POST":
            operator(request)
            job = world.new_job((await request.json())["kind"])
            world.spawn(world.run_day(job))
            return JSONResponse(job, 202)
        guard(request)
        rows = sorted(world.jobs.values(), key=lambda j: j["created_at"], reverse=True)
        return page(request, rows)

    async def job(request: Request) -> Response:
        guard(request)
        found = world.jobs.get(request.path_params["id"])
        if found is None:
            return problem(404, "Not found", "There is no such job.")
        return JSONResponse({**found, "traceback": "ValueError: no such source\n  in fetch(), line 7"})

    async def retry_dead(request: Request) -> Response:
        operator(request)
        dead = [each for each in world.jobs.values() if each["state"] in ("failed", "held")]
        for each in dead:
            world.set_job(each, state="waiting", error=None)
        return JSONResponse({"retried": len(dead)}, 202)

    async def job_action(request: Request) -> Response:
        operator(request)
        job = world.jobs.get(request.path_params["id"])
        if job is None:
            return problem(404, "Not found", "There is no such job.")
        if request.path_params["action"] == "cancel":
            world.set_job(job, state="cancelled")
        else:
            world.set_job(job, state="waiting", progress=0.0, error=None, attempts=job["attempts"] + 1)
            world.spawn(world.run_day(job))
        return JSONResponse(job, 202)

    async def plan(request: Request) -> Response:
        guard(request)
        if not world.orders:
            return problem(404, "Not found", "There is no plan yet.")
        counts = {p: sum(o["priority"] == p for o in world.orders) for p in PRIORITIES}
        bought = [o for o in world.orders if o["kind"] == "purchase"]
        summary = {
            "orders": len(world.orders),
            "purchase_orders": len(bought),
            "production_orders": len(world.orders) - len(bought),
            "purchase_value": sum(o["value"] for o in bought),
            **counts,
            "past_due": sum(o["past_due_days"] > 0 for o in world.orders),
            "warnings": 3,
        }
        return JSONResponse(
            {
                "id": "p1",
                "created_at": datetime.now(UTC).isoformat(),
                "as_of": TODAY.isoformat(),
                "forecast_run_id": "f1",
                "horizon_days": 91,
                "summary": summary,
                "warnings": [],
            }
        )

    def chosen(request: Request) -> list[dict[str, Any]]:
        query = request.query_params
        rows = world.orders
        for name in ("kind", "priority", "supplier"):
            rows = [o for o in rows if not query.get(name) or o[name] == query[name]]
        needle = query.get("search", "").lower()
        return [o for o in rows if needle in f"{o['item']} {o['name']}".lower()]

    async def orders(request: Request) -> Response:
        guard(request)
        return page(request, chosen(request))

    async def orders_csv(request: Request) -> Response:
        guard(request)
        lines = ["priority,item,quantity", *(f"{o['priority']},{o['item']},{o['quantity']}" for o in chosen(request))]
        return PlainTextResponse("\n".join(lines) + "\n", media_type="text/csv")

    async def forecast(request: Request) -> Response:
        guard(request)
        metrics = []
        for cls, n, base in (
            ("smooth", 61, 0.21),
            ("erratic", 24, 0.38),
            ("intermittent", 40, 0.62),
            ("lumpy", 25, 0.81),
        ):
            for model, factor in (
                ("seasonal_naive", 1.0),
                ("moving_average", 0.94),
                ("auto_ets", 0.8),
                ("theta", 0.83),
            ):
                metrics.append(
                    {
                        "model": model,
                        "demand_class": cls,
                        "series": n,
                        "wql": base * factor,
                        "rmsse": 0.9 * factor,
                        "mase": 0.95 * factor,
                        "wape": base * factor * 1.2,
                        "bias": 0.02 - 0.03 * factor,
                        "coverage_80": 0.79,
                    }
                )
        return JSONResponse(
            {
                "id": "f1",
                "created_at": datetime.now(UTC).isoformat(),
                "as_of": TODAY.isoformat(),
                "horizon_weeks": 13,
                "items": len(world.items),
                "metrics": metrics,
            }
        )

    def series_row(i: int) -> dict[str, Any]:
        item, name = world.items[i]
        return {
            "item": item,
            "name": name,
            "demand_class": ("smooth", "erratic", "intermittent", "lumpy")[i % 4],
            "adi": 1.1,
            "cv2": 0.2,
            "abc": "ABC"[i % 3],
            "xyz": "XYZ"[i % 3],
            "model": ("auto_ets", "theta", "sba", "tsb")[i % 4],
            "reason": "smooth demand, 104 weeks of history: lowest WQL of 4 candidates over 3 cutoffs",
            "service_level": 0.97,
            "lead_time_weeks": 2.4,
            "lead_time_mean": 480.5,
            "lead_time_quantile": 611.0,
        }

    async def series(request: Request) -> Response:
        guard(request)
        needle = request.query_params.get("search", "").lower()
        rows = [series_row(i) for i in range(len(world.items))]
        return page(request, [r for r in rows if needle in f"{r['item']} {r['name']}".lower()])

    async def item_forecast(request: Request) -> Response:
        guard(request)
        codes = [code for code, _ in world.items]
        if request.path_params["code"] not in codes:
            return problem(404, "Not found", "This item has no forecast.")
        i = codes.index(request.path_params["code"])
        last = sum(series_of(i)[-8:]) / 8
        rows = []
        for w in range(13):
            wide = 0.1 + 0.012 * w
            rows.append(
                {
                    "week": (TODAY + timedelta(weeks=w)).isoformat(),
                    "mean": last * 1.02,
                    "q10": last * (1 - 1.6 * wide),
                    "q25": last * (1 - 0.8 * wide),
                    "q50": last,
                    "q75": last * (1 + 0.8 * wide),
                    "q90": last * (1 + 1.7 * wide),
                }
            )
        row = series_row(i)
        return JSONResponse(
            {k: row[k] for k in ("item", "name", "model", "demand_class", "reason", "abc", "xyz")} | {"rows": rows}
        )

    async def demand(request: Request) -> Response:
        guard(request)
        codes = [code for code, _ in world.items]
        values = series_of(codes.index(request.path_params["item"]))
        first = TODAY - timedelta(weeks=len(values))
        rows = [
            {"date": (first + timedelta(weeks=w)).isoformat(), "quantity": v, "revenue": None}
            for w, v in enumerate(values)
        ]
        return JSONResponse({"item": request.path_params["item"], "grain": "week", "rows": rows})

    async def sources(request: Request) -> Response:
        guard(request)
        return page(
            request,
            [
                {"code": "demo-folder", "name": "Demo factory folder", "kind": "folder", "active": True},
                {"code": "uploads", "name": "Uploads", "kind": "upload", "active": True},
            ],
        )

    async def runs(request: Request) -> Response:
        guard(request)
        if request.path_params["code"] == "uploads":
            return page(request, [])
        at = datetime.now(UTC).isoformat()
        return page(
            request,
            [
                {
                    "id": "r1",
                    "file": "sales_2025-11-23.csv",
                    "mapping": "demo-sales",
                    "target": "demand",
                    "state": "done",
                    "read": 62114,
                    "taken": 61998,
                    "merged": 104,
                    "rejected": 12,
                    "started_at": at,
                    "finished_at": at,
                    "error": None,
                },
                {
                    "id": "r2",
                    "file": "items.csv",
                    "mapping": "demo-items",
                    "target": "items",
                    "state": "failed",
                    "read": 0,
                    "taken": 0,
                    "merged": 0,
                    "rejected": 0,
                    "started_at": at,
                    "finished_at": at,
                    "error": "Column “item code” is missing; found: sku, name.",
                },
            ],
        )

    async def rejected(request: Request) -> Response:
        guard(request)
        return page(
            request,
            [
                {
                    "line": 17 + i,
                    "field": "quantity",
                    "reason": "not a number: <script>alert(1)</script>",
                    "raw": "FG-1000;x;12",
                }
                for i in range(12)
            ],
        )

    async def mappings(request: Request) -> Response:
        guard(request)
        return page(
            request, [{"name": "demo-sales", "target": "demand"}, {"name": "online-retail", "target": "sales_lines"}]
        )

    async def upload(request: Request) -> Response:
        operator(request)
        head = b"Content-Type: " + request.headers["content-type"].encode() + b"\r\n\r\n"
        parts = {}
        for part in email.message_from_bytes(head + await request.body()).get_payload():
            parts[part.get_param("name", header="content-disposition")] = part
        content = parts["file"].get_payload(decode=True)
        mapping = parts["mapping"].get_payload(decode=True).decode()
        world.uploads.append((parts["file"].get_filename(), len(content), mapping))
        return JSONResponse(world.new_job("ingest"), 202)

    async def refused(_: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 500)
        return problem(status, "Refused", getattr(error, "detail", ""))

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        for task in world.tasks:
            task.cancel()

    v1 = "/api/v1"
    routes: list[Any] = [
        Route(v1 + "/auth/login", login, methods=["POST"]),
        Route(v1 + "/auth/me", me),
        Route(v1 + "/auth/refresh", refresh, methods=["POST"]),
        Route(v1 + "/auth/logout", logout, methods=["POST"]),
        Route(v1 + "/auth/password", password, methods=["PUT"]),
        Route(v1 + "/events/ticket", ticket, methods=["POST"]),
        WebSocketRoute(v1 + "/events", events),
        Route(v1 + "/jobs", jobs, methods=["GET", "POST"]),
        Route(v1 + "/jobs/retry-dead", retry_dead, methods=["POST"]),
        Route(v1 + "/jobs/{id}", job),
        Route(v1 + "/jobs/{id}/{action}", job_action, methods=["POST"]),
        Route(v1 + "/plans/latest", plan),
        Route(v1 + "/plans/latest/orders", orders),
        Route(v1 + "/plans/latest/orders.csv", orders_csv),
        Route(v1 + "/forecasts/latest", forecast),
        Route(v1 + "/forecasts/latest/series", series),
        Route(v1 + "/forecasts/latest/items/{code}", item_forecast),
        Route(v1 + "/demand/{item}", demand),
        Route(v1 + "/sources", sources),
        Route(v1 + "/sources/mappings", mappings),
        Route(v1 + "/sources/uploads", upload, methods=["POST"]),
        Route(v1 + "/sources/{code}/runs", runs),
        Route(v1 + "/sources/runs/{id}/rejected-rows", rejected),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: refused}, lifespan=lifespan)


class FakeApi:
    """The server on a free port of 127.0.0.1, inside the running event loop."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._server = uvicorn.Server(
            uvicorn.Config(build(world), host="127.0.0.1", port=0, log_level="warning", ws="websockets-sansio")
        )
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> FakeApi:
        self._task = asyncio.create_task(self._server.serve())
        while not self._server.started:  # noqa: ASYNC110  (uvicorn offers a flag, no event)
            await asyncio.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/api/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.world.drop_sockets()
        self._server.should_exit = True
        if self._task:
            await self._task


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--step", type=float, default=0.4)
    given = parser.parse_args()
    uvicorn.run(build(World(step_s=given.step)), host="127.0.0.1", port=given.port, ws="websockets-sansio")
