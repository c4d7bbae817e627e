/**
 * One trace per epoch: fetch, fold, produce, commit, and links to the traces of the events that its blocks carry. An epoch continues none of
 * them, since it belongs to all (functions/validator/trace-links.ts).
 */
import { HEADERS } from "#shared/events/names.ts";
import type { Progress } from "#shared/events/progress.ts";
import { OperatingError } from "#shared/kernel/errors.ts";
import { newSpanId, newTraceId, type Span, type SpanExporter } from "#shared/telemetry/span-exporter.ts";
import { readTraceparent } from "#shared/telemetry/trace-context.ts";
import type { ObservedRecord, TaskObserver } from "./task-observer.ts";

/** OpenTelemetry's own default limit. */
const LINKS_MAX = 128;
const COMMA = 0x2c;
const TRACEPARENT_LENGTH = 55;

interface Making {
  fetchFromMs: number;
  fetchedMs: number;
  foldMs: number;
  foldedMs: number;
  records: number;
  readonly links: Set<string>;
}

interface Out extends Readonly<Omit<Making, "links">> {
  readonly links: readonly string[];
  readonly sentMs: number;
  producedMs: number;
}

export class EpochSpans implements TaskObserver {
  readonly #exporter: Pick<SpanExporter, "add">;
  readonly #attributes: Readonly<Record<string, string | number>>;
  /** Epoch milliseconds with fractions, never back. */
  readonly #nowMs: () => number;
  #making: Making | null = null;
  #fetchFromMs = 0;
  #out: Out | null = null;

  constructor(exporter: Pick<SpanExporter, "add">, attributes: Readonly<Record<string, string | number>>, nowMs: () => number) {
    this.#exporter = exporter;
    this.#attributes = attributes;
    this.#nowMs = nowMs;
  }

  recovering(): void {
    this.#making = null;
    this.#out = null;
  }

  recovered(): void {
    this.#fetchFromMs = this.#nowMs();
  }

  fetched(records: readonly ObservedRecord[]): void {
    const nowMs = this.#nowMs();
    if (records.length === 0) this.#fetchFromMs = nowMs;
    else {
      this.#making ??= { fetchFromMs: this.#fetchFromMs, fetchedMs: nowMs, foldMs: 0, foldedMs: nowMs, records: 0, links: new Set() };
      this.#making.fetchedMs = nowMs;
      this.#making.records += records.length;
      for (const record of records) addLinks(record, this.#making.links);
    }
  }

  folded(): void {
    const making = this.#making;
    if (making === null) return;
    making.foldedMs = this.#nowMs();
    making.foldMs += making.foldedMs - making.fetchedMs;
  }

  copying(): void {}

  copied(): void {}

  sent(): void {
    const nowMs = this.#nowMs();
    const making = this.#making ?? { fetchFromMs: nowMs, fetchedMs: nowMs, foldMs: 0, foldedMs: nowMs, records: 0, links: new Set() };
    this.#out = { ...making, links: [...making.links], sentMs: nowMs, producedMs: nowMs };
    this.#making = null;
    this.#fetchFromMs = nowMs;
  }

  produced(): void {
    if (this.#out !== null) this.#out.producedMs = this.#nowMs();
  }

  committed(offset: number, progress: Progress): void {
    const { hw, rulesVersion } = progress;
    if (this.#out !== null)
      this.#export(this.#out, { "weir.offset": offset, "weir.source_offset": hw, "weir.rules_version": rulesVersion });
    this.#out = null;
  }

  snapshotWritten(): void {}

  snapshotFailed(): void {}

  sessionLost(error: Error): void {
    if (this.#out !== null) this.#export(this.#out, {}, error instanceof OperatingError ? error.code : error.name);
    this.#out = null;
    this.#making = null;
  }

  ended(): void {
    this.#out = null;
    this.#making = null;
  }

  #export(out: Out, more: Readonly<Record<string, number>>, error?: string): void {
    const endMs = this.#nowMs();
    const traceId = newTraceId();
    const parentSpanId = newSpanId();
    const failure = error === undefined ? {} : { error };
    const child = (name: string, startMs: number, childEndMs: number): Span => ({
      traceId,
      spanId: newSpanId(),
      parentSpanId,
      name,
      kind: "internal",
      startMs,
      endMs: childEndMs,
    });
    this.#exporter.add([
      {
        traceId,
        spanId: parentSpanId,
        name: "epoch",
        kind: "consumer",
        startMs: out.fetchFromMs,
        endMs,
        attributes: { ...this.#attributes, ...more, "messaging.batch.message_count": out.records },
        links: out.links,
        ...failure,
      },
      child("fetch", out.fetchFromMs, out.fetchedMs),
      child("fold", out.foldedMs - out.foldMs, out.foldedMs),
      child("produce", out.sentMs, out.producedMs),
      { ...child("commit", out.producedMs, endMs), ...failure },
    ]);
  }
}

/** The header is traceparents joined by commas; what is none is passed over. */
function addLinks({ headers }: ObservedRecord, links: Set<string>): void {
  for (const [key, value] of headers) {
    if (key !== HEADERS.traces) continue;
    for (let at = 0; at + TRACEPARENT_LENGTH <= value.length && links.size < LINKS_MAX; at += TRACEPARENT_LENGTH + 1) {
      const end = at + TRACEPARENT_LENGTH;
      if (end < value.length && value[end] !== COMMA) return;
      const traceparent = readTraceparent(value.subarray(at, end));
      if (traceparent !== null) links.add(traceparent);
    }
  }
}
