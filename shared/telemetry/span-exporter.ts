/**
 * Spans to an OpenTelemetry collector as OTLP/HTTP JSON (opentelemetry.io/docs/specs/otlp/#otlphttp). OpenTelemetry's own SDK would be thirty
 * packages and a context per event for five spans per epoch; this is a bounded queue and one POST at a time. What the collector does not take in
 * time is dropped and counted: nobody ever waits for it.
 */
import { randomBytes } from "node:crypto";
import { toError } from "../kernel/errors.ts";
import type { Logger } from "./logger.ts";

const QUEUE_MAX = 4_096;
const BATCH_MAX = 512;
const INTERVAL_MS = 1_000;
const TIMEOUT_MS = 5_000;
const WARN_EVERY_MS = 60_000;
/** OTLP's numbers. */
const KIND = { internal: 1, consumer: 5 } as const;
const STATUS_ERROR = 2;

export interface Span {
  /** 32 hex digits. */
  readonly traceId: string;
  /** 16 hex digits. */
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: keyof typeof KIND;
  /** Epoch milliseconds, fractions welcome. */
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes?: Readonly<Record<string, string | number>>;
  /** Traceparents of what this work was caused by. */
  readonly links?: readonly string[];
  readonly error?: string;
}

export interface SpanExporterOptions {
  /** Of the collector, with or without its `/v1/traces`. */
  readonly url: string;
  /** `service.name` and what else is true of all spans. */
  readonly resource: Readonly<Record<string, string | number>>;
  readonly log: Logger;
  readonly intervalMs?: number;
  readonly timeoutMs?: number;
}

export class SpanExporter {
  readonly #options: SpanExporterOptions;
  readonly #url: string;
  readonly #timer: NodeJS.Timeout;
  #queue: Span[] = [];
  #dropped = 0;
  #isClosed = false;
  #sending: Promise<void> | null = null;
  #warnedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: SpanExporterOptions) {
    this.#options = options;
    const base = options.url.replace(/\/+$/, "");
    this.#url = base.endsWith("/v1/traces") ? base : `${base}/v1/traces`;
    this.#timer = setInterval(() => this.#send(), options.intervalMs ?? INTERVAL_MS).unref();
  }

  /** Spans that no collector got. */
  get dropped(): number {
    return this.#dropped;
  }

  add(spans: readonly Span[]): void {
    if (this.#queue.length + spans.length > QUEUE_MAX) {
      this.#dropped += spans.length;
      return;
    }
    this.#queue.push(...spans);
    if (this.#queue.length >= BATCH_MAX) this.#send();
  }

  /** Sends one batch more and drops the rest: two time-outs at most. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#isClosed = true;
    await this.#sending;
    this.#send();
    await this.#sending;
    this.#dropped += this.#queue.length;
    this.#queue = [];
  }

  #send(): void {
    if (this.#sending !== null || this.#queue.length === 0) return;
    const batch = this.#queue.splice(0, BATCH_MAX);
    this.#sending = this.#post(batch)
      .catch((thrown: unknown) => {
        this.#dropped += batch.length;
        this.#warn(toError(thrown));
      })
      .finally(() => {
        this.#sending = null;
        if (this.#queue.length >= BATCH_MAX && !this.#isClosed) this.#send();
      });
  }

  async #post(batch: readonly Span[]): Promise<void> {
    const answer = await fetch(this.#url, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: otlpJson(batch, this.#options.resource),
      redirect: "error",
      signal: AbortSignal.timeout(this.#options.timeoutMs ?? TIMEOUT_MS),
    });
    await answer.arrayBuffer();
    if (!answer.ok) throw new Error(`the collector answers ${answer.status}`);
  }

  #warn(error: Error): void {
    const nowMs = performance.now();
    if (nowMs - this.#warnedAtMs < WARN_EVERY_MS) return;
    this.#warnedAtMs = nowMs;
    this.#options.log.warn("spans not exported", { url: this.#url, error: error.message, dropped: this.#dropped });
  }
}

export function newTraceId(): string {
  return randomBytes(16).toString("hex");
}

export function newSpanId(): string {
  return randomBytes(8).toString("hex");
}

function otlpJson(spans: readonly Span[], resource: Readonly<Record<string, string | number>>): string {
  return JSON.stringify({
    resourceSpans: [
      {
        resource: { attributes: attributeList(resource) },
        scopeSpans: [{ scope: { name: "weir" }, spans: spans.map((span) => otlpSpan(span)) }],
      },
    ],
  });
}

function otlpSpan({ traceId, spanId, parentSpanId, name, kind, startMs, endMs, attributes, links, error }: Span): object {
  return {
    traceId,
    spanId,
    ...(parentSpanId === undefined ? {} : { parentSpanId }),
    name,
    kind: KIND[kind],
    startTimeUnixNano: nanos(startMs),
    endTimeUnixNano: nanos(Math.max(startMs, endMs)),
    attributes: attributeList(attributes ?? {}),
    // A traceparent is version-trace-span-flags (w3.org/TR/trace-context).
    links: (links ?? []).map((link) => ({
      traceId: link.slice(3, 35),
      spanId: link.slice(36, 52),
      flags: Number.parseInt(link.slice(53), 16),
    })),
    ...(error === undefined ? {} : { status: { code: STATUS_ERROR, message: error } }),
  };
}

function attributeList(attributes: Readonly<Record<string, string | number>>): object[] {
  return Object.entries(attributes).map(([key, value]) => ({
    key,
    value:
      typeof value === "string" ? { stringValue: value } : Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value },
  }));
}

/** Doubles hold epoch milliseconds to a quarter of a microsecond; the format wants decimal text. */
function nanos(epochMs: number): string {
  const wholeMs = Math.floor(epochMs);
  return `${wholeMs}${String(Math.floor((epochMs - wholeMs) * 1e6)).padStart(6, "0")}`;
}
