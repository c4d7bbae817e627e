/** The load generator as a process: sends until it is stopped or the count is reached, then says what it sent. */
import { setTimeout as sleep } from "node:timers/promises";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import { topicName } from "#shared/events/names.ts";
import { partitionOf } from "#shared/events/partitioner.ts";
import { describeError } from "#shared/kernel/errors.ts";
import { runService } from "#shared/telemetry/service.ts";
import { createGenerator, EVENT_KINDS, type EventKind } from "./generator.ts";
import { parseLoadOptions } from "./options.ts";
import { Pacer } from "./pacer.ts";
import { RecordSender } from "./sender.ts";

/** How often what is due is sent; with the sender's linger below the 10 ms that producers may wait. */
const TICK_MS = 4;
const BURST = 10_000;

await runService("loadgen", async (service) => {
  const { config, log, stop } = service;
  const options = parseLoadOptions(process.argv.slice(2), () => Date.now().toString(36));
  const kafka = await openKafka({ ...(await kafkaOptions(config)), clientId: "weir-loadgen" });
  const topic = topicName(config.lane, "raw");
  const partitions = await kafka.partitionCount(topic);
  const sender = new RecordSender({
    kafka,
    topic,
    partitions,
    lingerMs: 4,
    stop,
    onRetry: (error, attempt) => log.warn("produce failed, sending again", { error: describeError(error), attempt }),
  });
  const generator = createGenerator(options);
  const counts: Record<EventKind, number> = { normal: 0, late: 0, duplicate: 0, poison: 0, futureClock: 0 };
  const pacer = new Pacer({ ratePerSecond: options.ratePerSecond, startMs: performance.now() });
  let sent = 0;
  service.ready({ seed: options.seed, rate: options.ratePerSecond });

  while (!stop.aborted && sent < options.count) {
    const due = pacer.take(performance.now(), Math.min(BURST, options.count - sent));
    const nowMs = Date.now();
    let room = true;
    for (let i = 0; i < due; i++) {
      const event = generator.next(nowMs);
      counts[event.kind]++;
      room = sender.add(partitionOf(event.key, partitions), { key: event.key, value: event.value, timestampMs: nowMs });
    }
    sent += due;
    if (!room) await Promise.race([sender.room(), aborted(stop)]);
    else await sleep(TICK_MS, undefined, { signal: stop }).catch(() => undefined);
  }

  await sender.flush().catch((thrown: unknown) => {
    // Stopped while the broker is away: what waits is lost with this process, and was never acknowledged to anyone.
    if (!stop.aborted) throw thrown;
    log.warn("stopped with events unsent", { error: describeError(thrown), unsent: sender.counts.waiting });
  });
  const { acknowledged, acknowledgedBytes, retries } = sender.counts;
  const facts = { sent: acknowledged, bytes: acknowledgedBytes, retries, forgotten: pacer.forgotten, seed: options.seed };
  log.info("load ended", { ...facts, ...Object.fromEntries(EVENT_KINDS.map((kind) => [kind, counts[kind]])) });
  process.stdout.write(`${JSON.stringify({ ...facts, kinds: counts })}\n`);
  await kafka.close();
});

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
