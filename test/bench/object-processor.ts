/**
 * The usual way to process the same stream: kafkajs, JSON.parse, Map, an object per event. For comparison only; a process of its own, as the processor
 * is. It does less: it writes no output, keeps no position and survives nothing.
 *
 * `node test/bench/object-processor.ts BROKER TOPIC EVENTS OUT_OF_ORDERNESS_MS` reads partition 0 and prints one JSON object.
 */
import { randomUUID } from "node:crypto";
import { kafkaJs } from "#shared/clients/kafka/kafkajs-client.ts";
import { ObjectFold, WindowDigest } from "./object-fold.ts";
import { peakMemoryMib } from "./process-cost.ts";

export interface ObjectProcessorResult {
  /** Over the second half of the events. */
  readonly cpu_ns_per_event: number;
  readonly peak_memory_mib: number;
  readonly digest: string;
}

const [broker, topic, count, outOfOrdernessMs] = process.argv.slice(2);
if (broker === undefined || topic === undefined || count === undefined || outOfOrdernessMs === undefined)
  throw new Error("usage: object-processor.ts BROKER TOPIC EVENTS OUT_OF_ORDERNESS_MS");
const events = Number(count);
const fold = new ObjectFold(Number(outOfOrdernessMs));
const digest = new WindowDigest();
const consumer = kafkaJs([broker], "weir-bench").consumer({
  groupId: `weir-bench-${randomUUID()}`,
  maxWaitTimeInMs: 100,
  maxBytesPerPartition: 4 << 20,
});
let seen = 0;
let warm: { readonly events: number; readonly usage: NodeJS.CpuUsage } | undefined;

await consumer.connect();
await consumer.subscribe({ topic, fromBeginning: true });
const cpuNs = await new Promise<number>((resolve, reject) => {
  consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
  consumer
    .run({
      autoCommit: false,
      eachBatch: async ({ batch }) => {
        for (const { value } of batch.messages) fold.apply(value!.toString());
        seen += batch.messages.length;
        digest.addClosed(fold.take());
        if (seen >= events / 2) warm ??= { events: seen, usage: process.cpuUsage() };
        if (seen < events || warm === undefined) return;
        const { user, system } = process.cpuUsage(warm.usage);
        resolve(((user + system) * 1_000) / (events - warm.events));
      },
    })
    .catch(reject);
});
fold.finish();
digest.addClosed(fold.take());
const result: ObjectProcessorResult = {
  cpu_ns_per_event: Math.round(cpuNs),
  peak_memory_mib: peakMemoryMib(process.pid),
  digest: digest.text(),
};
process.stdout.write(`${JSON.stringify(result)}\n`);
await consumer.disconnect();
