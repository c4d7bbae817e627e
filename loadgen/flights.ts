/** A recorded data set: 200,000 flights out of the package vega-datasets, as events of a historical lane. */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import type { Config } from "#shared/config/config.ts";
import { encodeControl } from "#shared/events/control.ts";
import { groupId, topicName } from "#shared/events/names.ts";
import { partitionOf } from "#shared/events/partitioner.ts";
import type { Progress } from "#shared/events/progress.ts";
import { TransientError, toError, UnavailableError } from "#shared/kernel/errors.ts";
import { type MappedEvent, mapRows, readMapping } from "./mapping.ts";
import { RecordSender } from "./sender.ts";

export const FLIGHTS_MAPPING = fileURLToPath(new URL("mappings/flights.json", import.meta.url));

/** In file order, which is the order of time. The same on every machine. @throws UnavailableError without the package. */
export function* flightsEvents(): Generator<MappedEvent> {
  let rows: Record<string, unknown>[];
  try {
    const file = new URL("../data/flights-200k.json", import.meta.resolve("vega-datasets"));
    rows = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>[];
  } catch (thrown) {
    throw new UnavailableError(`the flights data cannot be read: ${toError(thrown).message}`, {
      code: "FLIGHTS_MISSING",
      hint: "npm ci --include=dev",
      cause: thrown,
    });
  }
  yield* mapRows(rows, readMapping(FLIGHTS_MAPPING));
}

export interface FlightsProgress {
  readonly step: "send" | "fold" | "drain";
  readonly done: number;
  readonly of: number;
}

export interface FlightsOptions {
  readonly kafka: Kafka;
  readonly config: Pick<Config, "lane" | "generation">;
  readonly onProgress?: (progress: FlightsProgress) => void;
  /** From the last event sent to the last event folded. Default 120,000. */
  readonly foldTimeoutMs?: number;
  readonly stop?: AbortSignal;
  /** Default: the flights. */
  readonly events?: Iterable<MappedEvent>;
}

/**
 * Sends the whole data set, waits until the processor has folded it, then appends the control record that closes every open window.
 * @returns events sent. @throws UnavailableError when the pipeline does not get there in time.
 */
export async function runFlights(options: FlightsOptions): Promise<number> {
  const { kafka, config, stop, onProgress = () => undefined, events = flightsEvents() } = options;
  const raw = topicName(config.lane, "raw");
  const partitions = await kafka.partitionCount(raw);
  const sender = new RecordSender({ kafka, topic: raw, partitions, ...(stop === undefined ? {} : { stop }) });
  let sent = 0;
  for (const { key, line } of events) {
    stop?.throwIfAborted();
    const keyBytes = Buffer.from(key);
    if (!sender.add(partitionOf(keyBytes, partitions), { key: keyBytes, value: Buffer.from(line) })) await sender.room();
    if (++sent % 10_000 === 0) onProgress({ step: "send", done: sent, of: sent });
  }
  await sender.flush();
  onProgress({ step: "send", done: sent, of: sent });
  await foldedToTheEnd(options, partitions, onProgress);
  await drain(kafka, config, partitions);
  onProgress({ step: "drain", done: partitions, of: partitions });
  return sent;
}

/** End of input: the fold closes what is open. Only after everything before it is on events.valid. */
export async function drain(kafka: Pick<Kafka, "produce">, config: Pick<Config, "lane">, partitions: number): Promise<void> {
  for (let partition = 0; partition < partitions; partition++) {
    await kafka.produce({ topic: topicName(config.lane, "valid"), partition }, [encodeControl({ kind: "drain" })]);
  }
}

async function foldedToTheEnd(
  { kafka, config, foldTimeoutMs = 120_000, stop }: FlightsOptions,
  partitions: number,
  onProgress: (progress: FlightsProgress) => void,
): Promise<void> {
  const deadline = performance.now() + foldTimeoutMs;
  const raw = topicName(config.lane, "raw");
  const all = Array.from({ length: partitions }, (_, partition) => partition);
  const ends = await Promise.all(all.map((partition) => kafka.listOffset({ topic: raw, partition }, "latest", "read_committed")));
  const of = ends.reduce((sum, end) => sum + end, 0);
  for (;;) {
    stop?.throwIfAborted();
    try {
      const valid = all.map((partition) => ({ topic: topicName(config.lane, "valid"), partition }));
      const committed = await kafka.committedOffsets(groupId(config, "processor"), valid, { requireStable: false });
      let done = 0;
      for (const { metadata } of committed) done += metadata === "" ? 0 : (JSON.parse(metadata) as Progress).hw + 1;
      onProgress({ step: "fold", done, of });
      if (done >= of) return;
    } catch (thrown) {
      if (!(thrown instanceof TransientError || thrown instanceof UnavailableError)) throw thrown;
    }
    if (performance.now() > deadline) {
      throw new UnavailableError(`the processor has not folded all of ${raw} after ${foldTimeoutMs / 1_000} s`, {
        code: "FLIGHTS_NOT_FOLDED",
        hint: "weir status",
      });
    }
    await sleep(100, undefined, stop === undefined ? {} : { signal: stop });
  }
}
