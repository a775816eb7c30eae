// node effects.mjs CONCURRENCY PAUSE_MS LOCK_MS TRIES: a worker whose jobs have a side effect: their number appended to a
// list in the same Redis, which is as close to the queue as an effect can be. Runs until killed.
import { connect, openWorker, say } from "./shared.mjs";

const [concurrency, pause, lock, tries] = process.argv.slice(2).map(Number);
const effects = connect();
effects.on("error", () => {});
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const worker = openWorker(
  async (job) => {
    await sleep(Math.random() * pause);
    await effects.rpush("effects", job.data.n);
    await sleep(Math.random() * pause); // a job seldom ends with the very moment of its effect
  },
  { concurrency, lockDuration: lock, stalledInterval: lock, maxStalledCount: tries },
);
await worker.waitUntilReady();
worker.run();
say({ ready: true });
