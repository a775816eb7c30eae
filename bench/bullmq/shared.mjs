// What the peer's programs share: the connection, the queue, and how they talk to bench/queue.py (one JSON line each).
import { Queue, Worker } from "bullmq";
import IORedis from "ioredis";

export const NAME = "bench";
const url = process.env.BENCH_REDIS_URL;

// BullMQ asks for this setting: a worker waits for its server to come back instead of giving up.
export const connect = () => new IORedis(url, { maxRetriesPerRequest: null });

export const now = () => performance.timeOrigin + performance.now();

export const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");

export function openQueue() {
  const queue = new Queue(NAME, { connection: connect() });
  queue.on("error", () => {}); // a server that is away while we kill it is no news
  return queue;
}

export function openWorker(handle, options) {
  const worker = new Worker(NAME, handle, { connection: connect(), autorun: false, ...options });
  worker.on("error", () => {});
  return worker;
}
