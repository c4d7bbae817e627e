/**
 * One handler in a process of its own, whose whole CPU (garbage collector and compiler threads too, the broker's not) is what a bench reads:
 * `node handler-process.ts weir|idiomatic EVENTS`, configured as any process of the pipeline is. Prints one JSON line.
 */
import { loadConfig } from "#shared/config/config.ts";
import { topicName } from "#shared/events/names.ts";
import { loadSeedRelease } from "#shared/rules/load-release.ts";
import { createGenerator } from "#loadgen/generator.ts";
import { createIdiomaticHandler, type LambdaEvent } from "./idiomatic-handler.ts";

const BATCH = 1_000;
/** Distinct events; repeated under rising offsets, as Lambda would hand them over. */
const BATCHES = 16;
const NOW_MS = 1_795_510_800_000;
const SLICE = 10;
/** The first share of the events is left out of the CPU: compiling is a cold start's cost. */
const WARM_SHARE = 0.2;

export interface HandlerRun {
  readonly events: number;
  readonly cpuNsPerEvent: number;
  /** Of the {@link SLICE} batches that took least: the machine is shared, and CPU time too grows with what others do to its caches and cores. */
  readonly bestCpuNsPerEvent: number;
  /** Of the whole, in the kernel: the socket. */
  readonly systemNsPerEvent: number;
  readonly wallNsPerEvent: number;
  readonly accepted: number;
  /** MiB, after a tenth of the events and at the end. */
  readonly rssTenthMib: number;
  readonly rssEndMib: number;
  readonly valueBytes: number;
}

export type Variant = "weir" | "idiomatic";

async function open(variant: Variant): Promise<{
  readonly handler: (event: LambdaEvent) => Promise<void>;
  readonly accepted: () => number;
  readonly close: () => Promise<void>;
}> {
  const config = loadConfig();
  if (variant === "idiomatic") {
    const { handler, counts, close } = await createIdiomaticHandler(
      config.kafka.split(","),
      topicName(config.lane, "valid"),
      loadSeedRelease(),
    );
    return { handler, accepted: () => counts.accepted, close };
  }
  const { handler } = await import("#functions/validator/handler.ts");
  return { handler, accepted: () => -1, close: async () => undefined };
}

function createEvents(lane: string): { readonly events: LambdaEvent[]; readonly valueBytes: number } {
  const shares = { late: 0.005, duplicate: 0.005, poison: 0, futureClock: 0.001 };
  const generator = createGenerator({ seed: "bench", users: 1_000_000, distribution: "uniform", shares });
  const topic = topicName(lane, "raw");
  let valueBytes = 0;
  const events = Array.from({ length: BATCHES }, (_, batch) => {
    const records = Array.from({ length: BATCH }, (_record, i) => {
      const { key, value } = generator.next(NOW_MS + batch * BATCH + i);
      valueBytes += value.length;
      return {
        topic,
        partition: 0,
        offset: 0,
        timestamp: NOW_MS + batch * BATCH + i,
        timestampType: "CREATE_TIME",
        key: Buffer.from(key).toString("base64"),
        value: Buffer.from(value).toString("base64"),
        headers: [],
      };
    });
    const event = { eventSource: "aws:kafka", eventSourceArn: "arn", bootstrapServers: "b:9092", records: { [`${topic}-0`]: records } };
    // As Lambda's runtime does: the strings are flat and the objects fresh from a parser.
    return JSON.parse(JSON.stringify(event)) as LambdaEvent;
  });
  return { events, valueBytes: valueBytes / (BATCHES * BATCH) };
}

async function run(variant: Variant, count: number): Promise<HandlerRun> {
  const { events, valueBytes } = createEvents(loadConfig().lane);
  const lists = events.map(({ records }) => Object.values(records)[0] as unknown as { offset: number }[]);
  const { handler, accepted, close } = await open(variant);
  const rounds = Math.max(20, Math.ceil(count / BATCH));
  const warm = Math.ceil(rounds * WARM_SHARE);
  let cpu = process.cpuUsage();
  let began = performance.now();
  let rssTenth = 0;
  let slice = cpu;
  let best = Infinity;
  for (let round = 0; round < rounds; round++) {
    if (round === warm) {
      cpu = process.cpuUsage();
      began = performance.now();
    }
    if (round % SLICE === 0) {
      const spent = process.cpuUsage(slice);
      if (round > warm) best = Math.min(best, spent.user + spent.system);
      slice = process.cpuUsage();
    }
    if (round === Math.ceil(rounds / 10)) rssTenth = process.memoryUsage.rss();
    const list = lists[round % BATCHES]!;
    for (let i = 0; i < BATCH; i++) list[i]!.offset = round * BATCH + i;
    await handler(events[round % BATCHES]!);
  }
  const { user, system } = process.cpuUsage(cpu);
  const measured = (rounds - warm) * BATCH;
  const result = {
    events: rounds * BATCH,
    cpuNsPerEvent: ((user + system) * 1_000) / measured,
    bestCpuNsPerEvent: (best * 1_000) / (SLICE * BATCH),
    systemNsPerEvent: (system * 1_000) / measured,
    wallNsPerEvent: ((performance.now() - began) * 1e6) / measured,
    accepted: accepted(),
    rssTenthMib: rssTenth / 2 ** 20,
    rssEndMib: process.memoryUsage.rss() / 2 ** 20,
    valueBytes,
  };
  await close();
  return result;
}

process.stdout.write(`${JSON.stringify(await run(process.argv[2] as Variant, Number(process.argv[3])))}\n`);
process.exit(0);
