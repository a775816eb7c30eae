// node starts.mjs COUNT CONCURRENCY: a worker that says how long each of COUNT jobs waited from enqueue to start (ms).
import { now, openWorker, say } from "./shared.mjs";

const [count, concurrency] = process.argv.slice(2).map(Number);
const waits = [];
const worker = openWorker(async (job) => void waits.push(now() - job.data.at), { concurrency });
await worker.waitUntilReady();
worker.on("completed", () => {
  if (waits.length === count) {
    say({ waits });
    process.exit(0);
  }
});
worker.run();
say({ ready: true });
