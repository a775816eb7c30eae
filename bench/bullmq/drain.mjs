// node drain.mjs COUNT CONCURRENCY: work off COUNT jobs that do nothing; says how long it took.
import { now, openWorker, say } from "./shared.mjs";

const [count, concurrency] = process.argv.slice(2).map(Number);
let done = 0;
const worker = openWorker(async () => {}, { concurrency });
await worker.waitUntilReady();
const began = now();
worker.on("completed", () => {
  if (++done === count) {
    say({ seconds: (now() - began) / 1000 });
    process.exit(0);
  }
});
worker.run();
