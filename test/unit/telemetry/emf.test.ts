import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { EmfMetrics } from "#shared/telemetry/emf.ts";
import { BASE_DIMENSIONS, type Metric, METRICS } from "#shared/telemetry/metrics-catalogue.ts";

interface Document {
  readonly _aws: {
    readonly Timestamp: number;
    readonly CloudWatchMetrics: readonly {
      readonly Namespace: string;
      readonly Dimensions: readonly (readonly string[])[];
      readonly Metrics: readonly { readonly Name: string; readonly Unit: string }[];
    }[];
  };
  readonly [key: string]: unknown;
}

let lines: string[];
let nowMs: number;
const create = (intervalMs = 0): EmfMetrics =>
  new EmfMetrics({
    dimensions: { service: "validator", environment: "test", lane: "live" },
    intervalMs,
    now: () => nowMs,
    write: (line) => lines.push(line),
  });
const documents = (): Document[] => lines.map((line) => JSON.parse(line) as Document);

beforeEach(() => {
  lines = [];
  nowMs = 1_000_000;
});

describe("a metrics document", () => {
  test("names every metric it holds, its unit from the catalogue and the dimensions of all", () => {
    const metrics = create();
    metrics.count("EventsIn", 900);
    metrics.count("EventsIn", 100);
    metrics.sample("BatchDurationMs", 12.5);
    metrics.gauge("RulesVersion", 7);
    metrics.flush();
    const [document] = documents();
    expect(document!._aws.Timestamp).toBe(1_000_000);
    expect(document!._aws.CloudWatchMetrics).toEqual([
      {
        Namespace: "Weir",
        Dimensions: [["service", "environment", "lane"]],
        Metrics: [
          { Name: "EventsIn", Unit: "Count" },
          { Name: "BatchDurationMs", Unit: "Milliseconds" },
          { Name: "RulesVersion", Unit: "None" },
        ],
      },
    ]);
    expect(document).toMatchObject({ service: "validator", lane: "live", EventsIn: 1_000, BatchDurationMs: [12.5], RulesVersion: 7 });
  });

  test("of a metric by reason is one line per reason that occurred", () => {
    const metrics = create();
    metrics.countBy("RejectsByReason", "json.syntax", 2);
    metrics.countBy("RejectsByReason", "time.future", 1);
    metrics.countBy("RejectsByReason", "json.syntax", 3);
    metrics.flush();
    expect(documents().map(({ reason, RejectsByReason }) => [reason, RejectsByReason])).toEqual([
      ["json.syntax", 5],
      ["time.future", 1],
    ]);
    expect(documents()[0]!._aws.CloudWatchMetrics[0]!.Dimensions).toEqual([["service", "environment", "lane", "reason"]]);
  });

  test("is written by each flush, empty ones apart, and starts anew behind it", () => {
    const metrics = create();
    metrics.flush();
    metrics.count("EventsIn", 1);
    metrics.flush();
    metrics.flush();
    metrics.count("EventsIn", 2);
    metrics.flush();
    expect(documents().map(({ EventsIn }) => EventsIn)).toEqual([1, 2]);
  });

  test("with an interval adds up what came in between and loses none of it", () => {
    const metrics = create(1_000);
    for (let batch = 0; batch < 30; batch++) {
      metrics.count("EventsIn", 10);
      metrics.sample("BatchDurationMs", batch);
      metrics.flush();
      nowMs += 100;
    }
    nowMs += 1_000;
    metrics.flush();
    expect(lines.length).toBeLessThan(6);
    expect(documents().reduce((sum, { EventsIn }) => sum + (EventsIn as number), 0)).toBe(300);
    expect(documents().flatMap(({ BatchDurationMs }) => BatchDurationMs)).toEqual(Array.from({ length: 30 }, (_, i) => i));
  });

  test("stays within CloudWatch's limits: 100 values per metric, 100 metrics, 30 dimensions, 256 KB", () => {
    const metrics = create(60_000);
    metrics.flush();
    for (let batch = 0; batch < 1_000; batch++) {
      for (const [name, { kind }] of Object.entries(METRICS)) if (kind === "sample") metrics.sample(name as "BatchDurationMs", 123_456.789);
      metrics.countBy("RejectsByReason", "x".repeat(5_000), 1);
      metrics.flush();
    }
    expect(lines.length).toBeGreaterThan(9);
    for (const line of lines) expect(line.length).toBeLessThan(256 * 1_024);
    for (const document of documents()) {
      const [directive] = document._aws.CloudWatchMetrics;
      expect(directive!.Metrics.length).toBeLessThanOrEqual(100);
      expect(directive!.Dimensions[0]!.length).toBeLessThanOrEqual(30);
      for (const name of directive!.Dimensions[0]!) expect(String(document[name]).length).toBeLessThanOrEqual(1_024);
      for (const { Name } of directive!.Metrics) {
        const value = document[Name];
        if (Array.isArray(value)) expect(value.length).toBeLessThanOrEqual(100);
      }
    }
    expect(Object.keys(METRICS).length).toBeLessThanOrEqual(100);
  });
});

describe("the catalogue", () => {
  const ROOT = resolve(import.meta.dirname, "../../..");

  test("holds every name that code emits, and no name that none does, each emitted as the kind it is", () => {
    const listed = execFileSync(
      "git",
      ["ls-files", "--cached", "--others", "--exclude-standard", "functions", "processor", "sinks", "shared"],
      {
        cwd: ROOT,
        encoding: "utf8",
      },
    );
    const files = [...new Set(listed.split("\n"))].filter((name) => name.endsWith(".ts") && !name.endsWith("metrics-catalogue.ts"));
    const sources = files.map((file) => readFileSync(join(ROOT, file), "utf8"));
    const named = new Set(sources.flatMap((source) => [...source.matchAll(/"([A-Z][A-Za-z]+)"/g)].map(([, name]) => name!)));
    expect(Object.keys(METRICS).filter((name) => !named.has(name))).toEqual([]);
    const emitted = new Map<string, string>();
    for (const source of sources) {
      for (const [, call, name] of source.matchAll(/\bmetrics\.(count|countBy|sample|gauge)\(\s*"(\w+)"/g)) emitted.set(name!, call!);
    }
    expect(emitted.size).toBeGreaterThan(15);
    for (const [name, call] of emitted) {
      const metric: Metric | undefined = (METRICS as Record<string, Metric>)[name];
      expect([name, call]).toEqual([name, metric?.dimension === undefined ? metric?.kind : "countBy"]);
    }
  });

  test("has names that say their unit, a help text each, and few dimensions", () => {
    for (const [name, { unit, help, dimension }] of Object.entries<Metric>(METRICS)) {
      expect(name).toMatch(/^[A-Z][A-Za-z]+$/);
      expect(name.endsWith("Ms"), name).toBe(unit === "Milliseconds");
      expect(name.endsWith("Seconds"), name).toBe(unit === "Seconds");
      expect(help.length, name).toBeGreaterThan(15);
      expect([undefined, "reason"], name).toContain(dimension);
    }
    expect(BASE_DIMENSIONS.length).toBeLessThan(5);
  });
});
