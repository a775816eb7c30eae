"""Log-ins, tries, waits and bounds of the REST connector, on a real HTTP server."""

import gzip
import logging
import time
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from erp_api_source import STOCK, TAKEN, Plant, Reply, Request, config, prepare, read_rows, reply_json, shared_server

from fmrp_sdk import FatalError, RetriableError

CLIENT = {"kind": "oauth2", "client_id": "planner", "client_secret": "client secret/long", "scope": "read"}


@pytest.fixture
def plant() -> Plant:
    """An API with a stock of one item."""
    plant = Plant(shared_server())
    plant.lists["stock"] = STOCK
    return plant


# -- log-in ----------------------------------------------------------------------------------------------------------

LOGINS: dict[str, tuple[dict[str, Any], Any]] = {
    "bearer": (
        {"kind": "bearer", "token": "abc-def-ghi"},
        lambda r: r.headers.get("authorization") == "Bearer abc-def-ghi",
    ),
    "basic": (
        {"kind": "basic", "user": "ann", "password": "päss:word"},
        lambda r: r.headers.get("authorization") == "Basic YW5uOnDDpHNzOndvcmQ=",
    ),
    "key in a header": ({"kind": "api_key", "key": "k-e-y-1234"}, lambda r: r.headers.get("x-api-key") == "k-e-y-1234"),
    "key in the query": (
        {"kind": "api_key", "name": "key", "key": "a+b&c=d e", "placed_in": "query"},
        lambda r: r.query.get("key") == "a+b&c=d e",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("auth", "allows"), LOGINS.values(), ids=LOGINS)
def test_each_log_in_is_sent_as_it_should_be(plant: Plant, auth: dict[str, Any], allows: Any) -> None:
    plant.allows = allows
    assert read_rows(config(plant, auth=auth)) == TAKEN
    with pytest.raises(FatalError, match=r"does not accept the log-in; check auth \(status 401\)"):
        read_rows(config(plant))


def test_a_gateways_key_goes_beside_the_log_in(plant: Plant) -> None:
    plant.allows = lambda r: (
        (r.headers.get("ocp-apim-key"), r.headers.get("authorization")) == ("gate-1234", "Bearer abcd")
    )
    auth = {"kind": "bearer", "token": "abcd"}
    assert read_rows(config(plant, auth=auth, secret_headers={"Ocp-Apim-Key": "gate-1234"})) == TAKEN


def by_token(plant: Plant) -> None:
    plant.allows = lambda r: r.headers.get("authorization", "").removeprefix("Bearer ") in plant.tokens


def paths(plant: Plant) -> list[str]:
    return [request.path.split("/")[2] for request in plant.requests]


@pytest.mark.parametrize("place", ["header", "body"])
def test_a_token_is_fetched_once_and_used_for_its_life(plant: Plant, place: str) -> None:
    by_token(plant)
    streams = [{"name": f"stock{number}", "path": "plain/stock"} for number in range(3)]
    auth = {**CLIENT, "token_url": f"{plant.url}/token", "credentials_in": place, "audience": "erp"}
    assert read_rows(config(plant, auth=auth, streams=streams)) == TAKEN * 3
    assert paths(plant) == ["token", "plain", "plain", "plain"]
    assert b"scope=read&audience=erp" in plant.requests[0].body


def test_a_token_taken_back_is_replaced_once(plant: Plant) -> None:
    by_token(plant)
    streams = [{"name": f"stock{number}", "path": "plain/stock"} for number in range(2)]
    given = config(plant, auth={**CLIENT, "token_url": f"{plant.url}/token"}, streams=streams)
    plant.prepared.extend([lambda _: None, lambda _: None, lambda _: plant.tokens.clear()])
    assert read_rows(given) == TAKEN * 2
    assert paths(plant) == ["token", "plain", "plain", "token", "plain"]
    plant.allows = lambda _: False
    with pytest.raises(FatalError, match="check auth"):
        read_rows(given)
    assert paths(plant)[5:] == ["token", "plain", "token", "plain"]


def test_a_token_that_has_lived_is_fetched_anew(plant: Plant) -> None:
    by_token(plant)
    plant.token_life_s = 0.1
    streams = [{"name": f"stock{number}", "path": "plain/stock"} for number in range(2)]
    # The second turn comes after the token's life.
    read_rows(
        config(plant, auth={**CLIENT, "token_url": f"{plant.url}/token"}, streams=streams, requests_per_minute=400)
    )
    assert paths(plant) == ["token", "plain", "token", "plain"]


@pytest.mark.parametrize(
    ("reply", "error", "told"),
    [
        (
            None,
            FatalError,
            r"no token for the log-in; check client_id, client_secret and scope.*status 401.*invalid_client",
        ),
        (reply_json({"token": "x"}), FatalError, "holds no access_token; check token_url"),
        (Reply(b"[" * 100_000), FatalError, "holds no access_token"),
        (reply_json({"access_token": "a\nb"}), FatalError, "holds no access_token"),
        (Reply(status=503), RetriableError, "cannot answer now"),
    ],
)
def test_without_a_token_there_is_a_sentence(
    plant: Plant, reply: Reply | None, error: type[Exception], told: str
) -> None:
    plant.prepared.append(lambda _: reply)
    auth = {**CLIENT, "client_secret": "wrong secret/of mine", "token_url": f"{plant.url}/token"}
    with pytest.raises(error, match=told) as raised:
        read_rows(config(plant, auth=auth))
    assert "of mine" not in str(raised.value)


@pytest.mark.parametrize("login", LOGINS)
def test_no_secret_is_told_by_a_server_that_says_all_it_was_sent(
    plant: Plant, login: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    auth, _ = LOGINS[login]
    secret = auth.get("token") or auth.get("password") or auth["key"]

    def tell(request: Request) -> Reply:
        said = f"{request.headers} {request.query} {secret}"
        return reply_json({"message": said}, 403, x_said=said.encode("ascii", "replace").decode())

    plant.prepared.append(tell)
    with pytest.raises(FatalError, match="does not allow this account") as raised:
        read_rows(config(plant, auth=auth))
    told = f"{raised.value!r} {raised.value.__cause__!r} {raised.value.__context__!r} {caplog.text}"
    assert "***" in told
    assert secret not in told
    assert "YW5uOnDDpHNzOndvcmQ=" not in told


# -- tries and waits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [Reply(status=503), Reply(status=500), Reply(status=429), Reply(status=408), Reply(b"[{}", is_cut=True)],
    ids=["503", "500", "429", "408", "cut"],
)
def test_what_may_pass_is_tried_again_and_then_put_off(plant: Plant, reply: Reply) -> None:
    prepare(plant, reply)
    assert read_rows(config(plant, attempts=2)) == TAKEN
    prepare(plant, reply, reply)
    with pytest.raises(RetriableError):
        read_rows(config(plant, attempts=2))


def test_a_short_wait_asked_for_is_sat_out(plant: Plant) -> None:
    in_a_second = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    now = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
    prepare(plant, Reply(status=429, headers={"retry-after": "1"}))
    prepare(plant, Reply(status=503, headers={"retry-after": in_a_second, "date": now}))
    began = time.monotonic()
    assert read_rows(config(plant, attempts=3)) == TAKEN
    assert 1.9 < time.monotonic() - began < 15


@pytest.mark.parametrize(
    ("reply", "wait_s"),
    [
        (Reply(status=429, headers={"retry-after": "120"}), 120),
        (Reply(status=503, headers={"retry-after": "99999999"}), 86_400),
        (Reply(status=403, headers={"retry-after": "70"}), 70),
        (Reply(status=429, headers={"x-ratelimit-remaining": "0", "x-ratelimit-reset": "300"}), 300),
        (Reply(status=429, headers={"ratelimit-reset": "301"}), 301),
        (Reply(status=403, headers={"x-rate-limit-remaining": "0", "x-rate-limit-reset": "302"}), 302),
        (Reply(status=429, headers={"ratelimit": '"burst";r=5;t=900, "day";r=0;t=303'}), 303),
        (Reply(status=429, headers={"ratelimit": "limit=100, remaining=0, reset=304"}), 304),
        (Reply(status=429, headers={"retry-after": "305", "ratelimit-remaining": "0", "ratelimit-reset": "9"}), 305),
    ],
)
def test_a_long_wait_asked_for_is_handed_on(plant: Plant, reply: Reply, wait_s: float) -> None:
    prepare(plant, reply)
    with pytest.raises(RetriableError, match="asks to wait") as raised:
        read_rows(config(plant, attempts=3))
    assert raised.value.retry_after_s == wait_s
    assert len(plant.requests) == 1


def test_a_wait_until_a_time_is_reckoned_by_the_sources_clock(plant: Plant) -> None:
    source_now = datetime(2020, 1, 1, 12, tzinfo=UTC)
    for header, value in [
        ("retry-after", format_datetime(source_now + timedelta(minutes=10), usegmt=True)),
        ("x-ratelimit-reset", str(int(source_now.timestamp()) + 600)),
        ("x-ratelimit-reset", f"{int(source_now.timestamp()) + 600}000"),
    ]:
        date = format_datetime(source_now, usegmt=True)
        prepare(plant, Reply(status=429, headers={"date": date, header: value}))
        with pytest.raises(RetriableError) as raised:
            read_rows(config(plant))
        assert raised.value.retry_after_s == 600


@pytest.mark.parametrize("told", ["soon", "-5", "", "9" * 40, "Tue, 99 Foo 2026"])
def test_a_wait_that_says_nothing_is_none(plant: Plant, told: str) -> None:
    prepare(plant, Reply(status=429, headers={"retry-after": told, "ratelimit": told, "ratelimit-reset": told}))
    with pytest.raises(RetriableError, match="cannot answer now") as raised:
        read_rows(config(plant))
    assert raised.value.retry_after_s is None


def test_a_403_with_a_limit_that_is_not_reached_is_a_matter_of_rights(plant: Plant) -> None:
    prepare(plant, Reply(status=403, headers={"x-ratelimit-remaining": "7", "x-ratelimit-reset": "300"}))
    with pytest.raises(FatalError, match="does not allow this account"):
        read_rows(config(plant))


def test_no_request_is_sent_while_none_is_left(plant: Plant) -> None:
    streams = [{"name": f"stock{number}", "path": "plain/stock"} for number in range(2)]
    prepare(plant, reply_json(STOCK, RateLimit_Remaining="0", RateLimit_Reset="1"))
    began = time.monotonic()
    assert read_rows(config(plant, streams=streams)) == TAKEN * 2
    assert 0.9 < time.monotonic() - began < 15
    prepare(plant, reply_json(STOCK, RateLimit='"hour";r=0;t=500'))
    with pytest.raises(RetriableError, match="asks to wait, as its limit of requests is reached") as raised:
        read_rows(config(plant, streams=streams))
    assert raised.value.retry_after_s == pytest.approx(500, abs=15)
    assert len(plant.requests) == 2 + 1


def test_no_more_requests_are_sent_in_a_minute_than_allowed(plant: Plant) -> None:
    streams = [{"name": f"stock{number}", "path": "plain/stock"} for number in range(4)]
    began = time.monotonic()
    read_rows(config(plant, streams=streams, requests_per_minute=600))
    assert time.monotonic() - began >= 0.3


def test_a_reading_has_an_end(plant: Plant) -> None:
    prepare(plant, Reply(pieces=[b" "] * 100, pause_s=0.05))
    with pytest.raises(RetriableError, match=r"no whole answer within 0\.3 s"):
        read_rows(config(plant, request_timeout_s=0.3))
    streams = [{"name": f"stock{number}", "path": "plain/stock"} for number in range(9)]
    with pytest.raises(RetriableError, match=r"longer at the source than max_run_s, 0\.2 s"):
        read_rows(config(plant, streams=streams, requests_per_minute=600, max_run_s=0.2))


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (
            reply_json({"title": "No \x00such\nlist", "detail": "x" * 300}, 404),
            r'check base_url and path.*"No such list - x+\.\.\."',
        ),
        (Reply(b"<html><title>Forbidden &amp; more</title>", 403), r'the right at the source.*"Forbidden & more"'),
        (reply_json({"error": {"code": 7, "message": "bad filter"}}, 400), r'paging and cursor.*"bad filter"'),
        (reply_json({"errors": [{"message": "one"}, {"message": "two"}]}, 422), r'refuses the request.*"one - two"'),
        (Reply(b"plain words", 418, {"content-type": "text/plain"}), r"status 418.*plain words"),
        (Reply(b"\xff" * 5_000_000, 400), "status 400|larger than"),
    ],
)  # fmt: skip
def test_a_refusal_is_told_with_advice_and_the_servers_own_words(plant: Plant, reply: Reply, told: str) -> None:
    prepare(plant, reply)
    with pytest.raises(FatalError, match=told) as raised:
        read_rows(config(plant, attempts=3))
    assert len(plant.requests) == 1
    assert len(str(raised.value)) < 500
    assert str(raised.value).isprintable()


# -- bounds ----------------------------------------------------------------------------------------------------------


def packed(content: bytes, *, as_deflate: bool = False) -> Reply:
    coding, body = ("deflate", zlib.compress(content)) if as_deflate else ("gzip", gzip.compress(content))
    return Reply(body, headers={"content-encoding": coding})


def test_packed_answers_are_unpacked(plant: Plant) -> None:
    halves = gzip.compress(b'[{"item": "I-1",') + gzip.compress(b' "on_hand": 4}]')
    prepare(
        plant, packed(b'[{"item": "I-1", "on_hand": 4}]'), packed(b'[{"item": "I-1", "on_hand": 4}]', as_deflate=True)
    )
    prepare(plant, Reply(pieces=[halves[:9], halves[9:40], halves[40:]], headers={"content-encoding": "gzip"}))
    for _ in range(3):
        assert read_rows(config(plant)) == TAKEN


@pytest.mark.parametrize(
    ("reply", "error", "told"),
    [
        (Reply(b" " * 1_000_001), FatalError, "larger than 1,000,000 bytes"),
        (Reply(pieces=[b" " * 1000] * 2000), FatalError, "larger than 1,000,000 bytes"),
        (packed(b" " * 50_000_000), FatalError, "larger than 1,000,000 bytes"),
        (Reply(b"x", headers={"content-encoding": "gzip, gzip"}), FatalError, "packed as 'gzip, gzip'"),
        (Reply(b"x", headers={"content-encoding": "br"}), FatalError, "packed as 'br'; only gzip and deflate"),
        (Reply(b"no gzip", headers={"content-encoding": "gzip"}), RetriableError, "damaged"),
        (Reply(gzip.compress(b"[]" * 100)[:-9], headers={"content-encoding": "gzip"}), RetriableError, "cut off"),
    ],
)  # fmt: skip
def test_an_answer_has_bounds(plant: Plant, reply: Reply, error: type[Exception], told: str) -> None:
    prepare(plant, reply)
    with pytest.raises(error, match=told):
        read_rows(config(plant, max_response_bytes=1_000_000))


def test_a_bomb_is_refused_by_its_ratio(plant: Plant) -> None:
    prepare(plant, packed(b" " * 20_000_000))
    with pytest.raises(FatalError, match="more than 200 times its size"):
        read_rows(config(plant))
