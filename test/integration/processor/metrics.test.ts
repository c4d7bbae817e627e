/** The processor's process as a scraper, CloudWatch's agent and a trace collector see it. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from "vitest";
import { freePorts } from "#local/services/port.ts";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { type Config, environmentOf, loadConfig } from "#shared/config/config.ts";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import { type Metric, METRICS } from "#shared/telemetry/metrics-catalogue.ts";
import { prometheusName } from "#shared/telemetry/prometheus.ts";
import { settles } from "#test/support/process.ts";
import { parsePrometheus } from "#test/support/prometheus-text.ts";
import { uniqueLane } from "#test/support/stack.ts";
import { BlockFeed, expectCaughtUp } from "./block-feed.ts";
import { ProcessorProcess } from "./processor-process.ts";

type Families = ReturnType<typeof parsePrometheus>;

let folder: string;
let kafka: Kafka;
let brokers: string[];
const processes: ProcessorProcess[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "weir-metrics-"));
  brokers = inject("stack").kafka.split(",");
  kafka = await openKafka({ brokers, clientId: "weir-metrics-test" });
});

afterEach(() => {
  for (const each of processes.splice(0)) each.kill();
});

afterAll(async () => {
  await kafka.close();
  await rm(folder, { recursive: true, force: true });
});

async function pipeline(more: Partial<Config> = {}): Promise<Config> {
  const lane = uniqueLane();
  const given = {
    lane,
    kafka: brokers.join(","),
    partitions: 2,
    dataDir: join(folder, lane),
    snapshotIntervalMs: 300,
    cutMs: 100,
    ...more,
  };
  await createTopics(brokers, topicSpecs(lane, 2, { replicationFactor: 1 }));
  return loadConfig(environmentOf(given));
}

async function started(config: Config): Promise<ProcessorProcess> {
  const processor = new ProcessorProcess(config);
  processes.push(processor);
  await processor.ready;
  return processor;
}

async function scrape(port: number): Promise<Families> {
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
  expect(answer.status).toBe(200);
  return parsePrometheus(await answer.text());
}

const sumOf = (families: Families, name: string): number =>
  families.get(name)?.samples.reduce((sum, { value }) => sum + value, 0) ?? Number.NaN;

/** On one thread and on two workers: readings come together however they are spread. */
describe.each([1, 2])("with %i thread(s), the page", (processorWorkers) => {
  test("shows every metric of the catalogue, and rows as they were committed", async () => {
    const [metricsPort] = await freePorts(1);
    const config = await pipeline({ metricsPort: metricsPort!, processorWorkers });
    const feed = new BlockFeed({ ...config, kafka, startMs: Date.now() - 3 * 3_600_000 });
    const processor = await started(config);
    // Long enough in event time for windows to close, so that something is late.
    for (let block = 0; block < 60; block++) await feed.write();
    // A snapshot is taken with a commit, when there is room for it: without events there is one commit a minute.
    await settles(
      async () => {
        await feed.write();
        expect(sumOf(await scrape(metricsPort!), "weir_checkpoints_total")).toBeGreaterThan(1);
      },
      { limitMs: 60_000, intervalMs: 200 },
    );
    await settles(() => expectCaughtUp({ ...config, kafka, startMs: 0 }), { limitMs: 30_000 });
    const families = await settles(
      async () => {
        const seen = await scrape(metricsPort!);
        expect(sumOf(seen, "weir_rows_in_total")).toBe(feed.rows);
        expect(sumOf(seen, "weir_offset_lag")).toBe(0);
        return seen;
      },
      { limitMs: 30_000 },
    );
    const expected = Object.entries<Metric>(METRICS).filter(([, { emitter }]) => emitter === "processor");
    expect([...families.keys()].toSorted()).toEqual(expected.map(([name]) => prometheusName(name as keyof typeof METRICS)).toSorted());
    const fates = ["weir_late_total", "weir_dead_letters_total", "weir_duplicates_total"].map((name) => sumOf(families, name));
    const clean = families.get("weir_rows_out_total")!.samples.find(({ labels }) => labels["output"] === "clean")!.value;
    // The feed's repeated ids carry other bytes: conflicts, which are dead letters and no duplicates.
    for (const rows of [fates[0]!, fates[1]!, clean]) expect(rows).toBeGreaterThan(0);
    expect(fates.reduce((sum, rows) => sum + rows, clean)).toBe(feed.rows);
    expect(sumOf(families, "weir_redelivered_total")).toBeGreaterThan(0);
    expect(sumOf(families, "weir_partitions_running")).toBe(2);
    const partitions = families.get("weir_watermark_lag_seconds")!.samples.map(({ labels }) => labels["partition"]);
    expect(new Set(partitions)).toEqual(new Set(["0", "1"]));
    expect(partitions).toHaveLength(2);
    expect(sumOf(families, "weir_state_bytes")).toBeGreaterThan(1_000);
    expect(sumOf(families, "weir_resident_bytes")).toBeGreaterThan(20e6);
    const commits = families.get("weir_commit_duration_seconds")!.samples.find(({ name }) => name.endsWith("_count"))!.value;
    expect(commits).toBe(sumOf(families, "weir_epochs_total"));
    // Of each epoch with events; others have only control records, or blocks that came before.
    const latencies = families.get("weir_end_to_end_seconds")!.samples;
    const measured = latencies.find(({ name }) => name.endsWith("_count"))!.value;
    expect(measured).toBeGreaterThan(0);
    expect(measured).toBeLessThanOrEqual(commits);
    expect(latencies.find(({ name }) => name.endsWith("_sum"))!.value).toBeGreaterThan(0);
    expect(await processor.leave()).toBe(0);
  });
});

test("a page of another site cannot read it, and nothing but /metrics is there", async () => {
  const [metricsPort] = await freePorts(1);
  await started(await pipeline({ metricsPort: metricsPort! }));
  const page = `http://127.0.0.1:${metricsPort}`;
  expect((await fetch(`${page}/metrics`, { method: "POST" })).status).toBe(405);
  expect((await fetch(`${page}/`)).status).toBe(404);
  const { request } = await import("node:http");
  const status = await new Promise<number>((resolve, reject) => {
    request(`${page}/metrics`, { headers: { host: "evil.example" } }, (answer) => resolve(answer.statusCode!))
      .once("error", reject)
      .end();
  });
  expect(status).toBe(403);
});

test("a taken port does not keep the processor from its work: another is used, and the log says which", async () => {
  const squatter = createServer();
  await new Promise<void>((resolve) => squatter.listen(0, "127.0.0.1", resolve));
  try {
    const processor = await started(await pipeline({ metricsPort: (squatter.address() as AddressInfo).port }));
    const line = processor.log.find(({ message }) => message === "metrics page");
    expect((await fetch(String(line!["url"]))).status).toBe(200);
  } finally {
    squatter.close();
  }
});

test("CloudWatch's agent finds documents on stdout whose rows add up to what was committed", async () => {
  const config = await pipeline({ metrics: "emf", environment: "staging" });
  const feed = new BlockFeed({ ...config, kafka, startMs: Date.now() - 3 * 3_600_000 });
  const processor = await started(config);
  let out = "";
  processor.child.stdout!.on("data", (chunk: Buffer) => (out += chunk.toString()));
  for (let block = 0; block < 5; block++) await feed.write();
  const documents = await settles(
    () => {
      const lines = out.split("\n").filter((line) => line.includes('"_aws"'));
      const parsed = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
      expect(parsed.reduce((sum, { RowsIn }) => sum + Number(RowsIn ?? 0), 0)).toBe(feed.rows);
      return parsed;
    },
    { limitMs: 40_000 },
  );
  expect(documents[0]).toMatchObject({ service: "processor", environment: "staging", lane: config.lane, PartitionsOwned: 2 });
});

test("a collector gets a trace per epoch that links to the traces which the blocks carry", async () => {
  const bodies: string[] = [];
  const collector: Server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      bodies.push(body);
      response.end("{}");
    });
  });
  await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
  try {
    const config = await pipeline({ otlpUrl: `http://127.0.0.1:${(collector.address() as AddressInfo).port}` });
    const traceparent = `00-${"ab".repeat(16)}-${"cd".repeat(8)}-01`;
    const traced: Kafka = Object.assign(Object.create(kafka) as Kafka, {
      produce: ((to, records) => {
        const header = ["traces", Buffer.from(traceparent)] as const;
        const withTraces = records.map((record) => ({ ...record, headers: [...(record.headers ?? []), header] }));
        return kafka.produce(to, to.topic.endsWith("events.valid") ? withTraces : records);
      }) satisfies Kafka["produce"],
    });
    await started(config);
    await new BlockFeed({ ...config, kafka: traced, startMs: Date.now() - 3 * 3_600_000 }).write();
    await settles(() => {
      const text = bodies.join("\n");
      for (const name of ["epoch", "fetch", "fold", "produce", "commit"]) expect(text).toContain(`"name":"${name}"`);
      expect(text).toContain(`"links":[{"traceId":"${"ab".repeat(16)}","spanId":"${"cd".repeat(8)}","flags":1}]`);
    });
  } finally {
    collector.close();
    collector.closeAllConnections();
  }
});
