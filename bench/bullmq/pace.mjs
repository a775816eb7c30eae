// node pace.mjs COUNT RATE: enqueue COUNT jobs at RATE a second, each carrying the moment it was handed over.
import { NAME, now, openQueue, say } from "./shared.mjs";

const [count, rate] = process.argv.slice(2).map(Number);
const queue = openQueue();
await queue.waitUntilReady();
const began = now();
const adding = [];
for (let sent = 0; sent < count; sent++) {
  const early = began + (sent * 1000) / rate - now();
  if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
  adding.push(queue.add(NAME, { at: now() }));
}
await Promise.all(adding);
say({ seconds: (now() - began) / 1000 });
process.exit(0);
