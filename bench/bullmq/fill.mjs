// node fill.mjs COUNT BATCH: put COUNT jobs into the queue, BATCH a call; says how long it took.
import { NAME, now, openQueue, say } from "./shared.mjs";

const [count, batch] = process.argv.slice(2).map(Number);
const queue = openQueue();
await queue.waitUntilReady();
const began = now();
for (let first = 0; first < count; first += batch) {
  const size = Math.min(batch, count - first);
  if (size === 1) await queue.add(NAME, { n: first });
  else await queue.addBulk(Array.from({ length: size }, (_, i) => ({ name: NAME, data: { n: first + i } })));
}
say({ seconds: (now() - began) / 1000 });
await queue.close();
process.exit(0);
