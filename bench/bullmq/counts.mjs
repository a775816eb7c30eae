// node counts.mjs: how many jobs stand in each state, and every effect seen.
import { connect, openQueue, say } from "./shared.mjs";

const queue = openQueue();
const redis = connect();
const counts = await queue.getJobCounts("waiting", "active", "delayed", "completed", "failed");
say({ counts, effects: (await redis.lrange("effects", 0, -1)).map(Number) });
process.exit(0);
