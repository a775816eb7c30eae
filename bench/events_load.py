"""The two loads of the event benchmark, each a process of its own: an actor that publishes, clients that listen."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import uuid
from collections import Counter

import msgspec
from redis.asyncio import Redis
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from actors.events import EventStream, progress_event

JOBS = 10
MAX_LENGTH = 20_000


class Place(msgspec.Struct):
    """Where in the stream an event is."""

    id: str


async def publish(rate: float, seconds: float, ids: list[uuid.UUID]) -> None:
    """Publish progress of all jobs in turn, one event a call as an actor does; each message carries the time."""
    redis = Redis.from_url(os.environ["FMRP_REDIS_URL"])
    stream = EventStream(redis, MAX_LENGTH)
    began = due = time.monotonic()
    sent, slowest_s = 0, 0.0
    while due < began + seconds:
        if (ahead_s := due - time.monotonic()) > 0:
            await asyncio.sleep(ahead_s)
        share = (due - began) / seconds
        now = time.time()
        message = f"event {sent} @{now * 1000:.1f}"
        state = {"state": "running", "progress": share, "step": "load", "message": message}
        pace = {"rate": 1 / seconds, "eta_s": seconds * (1 - share)}
        event = progress_event("job.progressed", ids[sent % len(ids)], None, "day", **state, **pace)
        await stream.publish(event)
        slowest_s = max(slowest_s, time.time() - now)
        sent += 1
        due += 1 / rate
    took_s = time.monotonic() - began
    await stream.close()
    await redis.aclose()
    print(json.dumps({"sent": sent, "rate": sent / took_s, "slowest_ms": slowest_s * 1000}))


async def listen(count: int, url: str) -> None:
    """Open so many sockets, say so, and count what they get until standard input ends."""
    counts: Counter[str] = Counter()
    headers = {"Authorization": f"Bearer {os.environ['FMRP_TOKEN']}"}
    opened = asyncio.Semaphore(20)
    all_open = asyncio.Event()

    async def client() -> None:
        after = ""
        while True:
            async with opened:
                address = url + (f"&after={after}" if after else "")
                socket = await connect(address, additional_headers=headers, compression=None, proxy=None)
            counts["open"] += 1
            if counts["open"] == count:
                all_open.set()
            try:
                async for frame in socket:
                    counts["frames"] += 1
                    counts["bytes"] += len(frame)
                    events = msgspec.json.decode(frame, type=list[msgspec.Raw])
                    counts["events"] += len(events)
                    after = msgspec.json.decode(events[-1], type=Place).id or after
            except WebSocketException:
                pass
            counts[f"closed {socket.close_code}"] += 1

    tasks = [asyncio.create_task(client()) for _ in range(count)]
    await asyncio.wait_for(all_open.wait(), 60)
    loop = asyncio.get_running_loop()
    while True:
        # Every line asks for the counts.
        print(json.dumps({"at": time.time(), **counts}), flush=True)
        if not await loop.run_in_executor(None, sys.stdin.readline):
            break
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    role, *arguments = sys.argv[1:]
    if role == "publish":
        asyncio.run(publish(float(arguments[0]), float(arguments[1]), [uuid.UUID(each) for each in arguments[2:]]))
    else:
        asyncio.run(listen(int(arguments[0]), arguments[1]))
