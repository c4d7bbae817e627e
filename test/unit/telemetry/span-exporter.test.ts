/** Against a real HTTP collector, a slow one, a broken one, and none. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { createLogger } from "#shared/telemetry/logger.ts";
import { type Span, SpanExporter } from "#shared/telemetry/span-exporter.ts";
import { EpochSpans } from "#processor/observe/epoch-spans.ts";

interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly status?: { readonly code: number };
}

interface OtlpRequest {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly { readonly key: string; readonly value: object }[] };
    readonly scopeSpans: readonly { readonly spans: readonly OtlpSpan[] }[];
  }[];
}

class Collector {
  readonly requests: OtlpRequest[] = [];
  readonly paths: string[] = [];
  answer: "ok" | "error" | "silence" = "ok";
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => {
        this.paths.push(`${request.method} ${request.url} ${request.headers["content-type"]}`);
        if (this.answer === "silence") return;
        if (this.answer === "ok") this.requests.push(JSON.parse(body) as OtlpRequest);
        response.writeHead(this.answer === "ok" ? 200 : 503, { "Content-Type": "application/json" }).end("{}");
      });
    });
  }

  async open(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get spans(): OtlpSpan[] {
    return this.requests.flatMap(({ resourceSpans }) =>
      resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)),
    );
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

const collectors: Collector[] = [];
const log = createLogger({}, () => undefined);
const resource = { "service.name": "weir-test", "process.pid": 7 };
const span = (name: string): Span => ({ traceId: "1".repeat(32), spanId: "2".repeat(16), name, kind: "internal", startMs: 1.5, endMs: 2 });

async function opened(): Promise<{ collector: Collector; url: string }> {
  const collector = new Collector();
  collectors.push(collector);
  return { collector, url: await collector.open() };
}

afterEach(() => {
  for (const collector of collectors.splice(0)) collector.close();
});

test("an epoch arrives as one trace of five spans, linked to the traces of its blocks and to no others", async () => {
  const { collector, url } = await opened();
  const exporter = new SpanExporter({ url: `${url}/`, resource, log });
  let nowMs = 1_800_000_000_000;
  const spans = new EpochSpans(exporter, { "weir.partition": 2 }, () => (nowMs += 1.25));
  const links = ["a", "b"].map((digit) => `00-${digit.repeat(32)}-${digit.repeat(16)}-01`);
  const block = (value: string) => ({ headers: [["traces", Buffer.from(value)]] as const });
  spans.recovered();
  spans.fetched([]);
  spans.fetched([block(links.join(",")), block(links[0]!), block("no traceparent"), { headers: [] }]);
  spans.folded();
  spans.sent();
  spans.produced();
  spans.committed(9, { hw: 400, rulesVersion: 3 } as Parameters<EpochSpans["committed"]>[1]);
  await exporter.close();

  expect(collector.paths).toEqual(["POST /v1/traces application/json"]);
  expect(collector.requests[0]!.resourceSpans[0]!.resource.attributes).toContainEqual({ key: "process.pid", value: { intValue: "7" } });
  const [epoch, ...children] = collector.spans;
  expect(epoch).toMatchObject({ name: "epoch", kind: 5 });
  expect(epoch!.links.map(({ traceId, spanId }) => `00-${traceId}-${spanId}-01`)).toEqual(links);
  expect(children.map(({ name }) => name)).toEqual(["fetch", "fold", "produce", "commit"]);
  expect(new Set(collector.spans.map(({ traceId }) => traceId)).size).toBe(1);
  expect(new Set(collector.spans.map(({ spanId }) => spanId)).size).toBe(5);
  let before = BigInt(epoch!.startTimeUnixNano);
  for (const child of children) {
    expect(child.parentSpanId).toBe(epoch!.spanId);
    expect(BigInt(child.startTimeUnixNano)).toBeGreaterThanOrEqual(before);
    expect(BigInt(child.endTimeUnixNano)).toBeGreaterThan(BigInt(child.startTimeUnixNano));
    before = BigInt(child.endTimeUnixNano);
  }
  expect(before).toBe(BigInt(epoch!.endTimeUnixNano));
  expect(epoch!.startTimeUnixNano).toMatch(/^18000000000\d{8}$/);
});

test("an epoch that did not get through is a trace with an error, and nothing of it stays for the next one", async () => {
  const { collector, url } = await opened();
  const exporter = new SpanExporter({ url, resource, log });
  const spans = new EpochSpans(exporter, {}, () => performance.timeOrigin + performance.now());
  spans.fetched([{ headers: [["traces", Buffer.from(`00-${"c".repeat(32)}-${"c".repeat(16)}-01`)]] }]);
  spans.folded();
  spans.sent();
  spans.sessionLost(new Error("gone"));
  spans.recovering();
  spans.recovered();
  spans.fetched([{ headers: [] }]);
  spans.folded();
  spans.sent();
  spans.produced();
  spans.committed(2, { hw: 1, rulesVersion: 1 } as Parameters<EpochSpans["committed"]>[1]);
  await exporter.close();
  const epochs = collector.spans.filter(({ name }) => name === "epoch");
  expect(epochs.map(({ status, links }) => [status?.code ?? 0, links.length])).toEqual([
    [2, 1],
    [0, 0],
  ]);
});

test("a collector that fails, is silent or is not there costs the spans, never a wait", async () => {
  const { collector, url } = await opened();
  collector.answer = "silence";
  const silent = new SpanExporter({ url, resource, log, timeoutMs: 100 });
  const fromMs = performance.now();
  for (let i = 0; i < 10_000; i++) silent.add([span(`span ${i}`)]);
  expect(performance.now() - fromMs).toBeLessThan(500);
  await silent.close();
  // 4,096 wait, the rest is dropped at once; what the collector does not answer in time is dropped then.
  expect(silent.dropped).toBe(10_000);

  collector.answer = "error";
  const failing = new SpanExporter({ url, resource, log });
  failing.add([span("one"), span("two")]);
  await failing.close();
  expect(failing.dropped).toBe(2);

  const nobody = new SpanExporter({ url: "http://127.0.0.1:1", resource, log });
  nobody.add([span("one")]);
  await nobody.close();
  expect(nobody.dropped).toBe(1);
});

test("what is taken in time arrives whole, in order, over as many requests as it needs", async () => {
  const { collector, url } = await opened();
  const exporter = new SpanExporter({ url: `${url}/v1/traces`, resource, log, intervalMs: 5 });
  for (let i = 0; i < 1_500; i++) exporter.add([span(String(i))]);
  await expect.poll(() => collector.spans.length).toBe(1_500);
  await exporter.close();
  expect(exporter.dropped).toBe(0);
  expect(collector.spans.map(({ name }) => name)).toEqual(Array.from({ length: 1_500 }, (_, i) => String(i)));
  expect(collector.requests.length).toBeGreaterThan(2);
});
