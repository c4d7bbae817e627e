/**
 * The fold written again from the rules of processor/windowing/window-rules.ts, with maps, arrays and objects and no thought of speed. What it
 * and the real fold agree on is right unless both misread the rules in the same way; golden tests with numbers by hand guard against that.
 */
import { cleanRows, eventColumns, type CleanRow, type EventRow, type LateRow, type WindowRow } from "./event-batch.ts";
import { NaiveMinutes, type NaivePartial } from "./naive-minutes.ts";

export interface LogBlock {
  readonly kind: "block";
  readonly logTimeMs: number;
  readonly rows: readonly EventRow[];
}

export type LogEntry =
  | LogBlock
  | { readonly kind: "tick"; readonly logTimeMs: number; readonly now: number }
  | { readonly kind: "drain"; readonly logTimeMs: number }
  | { readonly kind: "rules"; readonly logTimeMs: number; readonly version: number }
  | { readonly kind: "enrichment"; readonly logTimeMs: number; readonly table: NaiveEnrichment };

/** As the object says it (shared/events/enrichment-table.ts). */
export interface NaiveEnrichment {
  readonly version: number;
  readonly key: string;
  readonly rows: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

export interface NaiveOptions {
  readonly historical: boolean;
  readonly outOfOrdernessMs: number;
  readonly idleMarginMs: number;
  readonly dedupHorizonMs: number;
  readonly cutRows: number;
  readonly cutMs: number;
  readonly score?: { readonly alpha: number; readonly warmUp: number; readonly threshold: number; readonly forgetMs: number };
  readonly hopping?: keyof typeof HOPPING;
}

interface Usual {
  values: number;
  mean: number;
  variance: number;
  hour: number;
}

export interface FoldOutput {
  /** With the number of the cut that each row lies in. */
  clean: (CleanRow & { cut: number })[];
  windows: WindowRow[];
  late: LateRow[];
  deadLetters: { sourceOffset: number; reason: string }[];
  /** Of minutes that are over. */
  partials: NaivePartial[];
  /** Up to where minutes are over, each time that more of them are. */
  marks: number[];
  /** Cuts that have ended, with their rows. */
  endedCuts: [cut: number, rows: number][];
  counts: { raw: number; clean: number; deadLettered: number; duplicate: number; late: number; redelivered: number };
  watermarkMs: number | null;
  highWaterMark: number;
  rulesVersion: number;
}

interface OpenWindow {
  row: WindowRow;
  /** Order in which windows of one kind and end close. */
  readonly order: number;
}

const GAP_MS = 30_000;
const SIZES = { tumbling_5m: 300_000, tumbling_1h: 3_600_000 } as const;
const HOPPING = { hopping_5m_1m: [300_000, 60_000], hopping_10m_1m: [600_000, 60_000], hopping_1h_5m: [3_600_000, 300_000] } as const;
const KIND_ORDER = ["tumbling_5m", "tumbling_1h", ...Object.keys(HOPPING), "session_30s"];

export class NaiveFold {
  readonly output: FoldOutput = {
    clean: [],
    windows: [],
    late: [],
    deadLetters: [],
    partials: [],
    marks: [],
    endedCuts: [],
    counts: { raw: 0, clean: 0, deadLettered: 0, duplicate: 0, late: 0, redelivered: 0 },
    watermarkMs: null,
    highWaterMark: -1,
    rulesVersion: 0,
  };
  readonly #options: NaiveOptions;
  readonly #seen = new Map<string, { fingerprint: number; logTimeMs: number }[]>();
  #open = new Map<string, OpenWindow>();
  #sessions: WindowRow[] = [];
  /** By user and start, each with the place of its first event. */
  readonly #panes = new Map<string, OpenWindow>();
  /** Ends of hopping windows that events have been counted in. */
  readonly #hopEnds = new Set<number>();
  readonly #usual = new Map<bigint, Usual>();
  #enrichment: NaiveEnrichment | null = null;
  #logTimeMs = 0;
  #cut = { number: 1, rows: 0, firstLogMs: 0 };
  #order = 0;
  readonly #minutes: NaiveMinutes | null;

  constructor(options: NaiveOptions) {
    this.#options = options;
    this.#minutes = options.historical ? null : new NaiveMinutes(this.output);
  }

  apply(entry: LogEntry): void {
    this.#logTimeMs = Math.max(this.#logTimeMs, entry.logTimeMs);
    this.#minutes?.arrive(this.#logTimeMs);
    if (this.#cut.rows > 0 && this.#logTimeMs >= this.#cut.firstLogMs + this.#options.cutMs) this.#endCut();
    if (entry.kind === "block") for (const row of entry.rows) this.#row(row);
    else if (entry.kind === "rules") this.output.rulesVersion = entry.version;
    else if (entry.kind === "enrichment") this.#enrichment = entry.table;
    else if (entry.kind === "drain") this.#raise(Math.max(...this.#allOpen().map((row) => row.windowEndMs), ...this.#hopEnds, -Infinity));
    else if (!this.#options.historical) this.#raise(entry.now - this.#options.outOfOrdernessMs - this.#options.idleMarginMs);
  }

  #row(row: EventRow): void {
    const { counts } = this.output;
    if (row.sourceOffset <= this.output.highWaterMark) {
      counts.redelivered++;
      return;
    }
    if (this.output.highWaterMark >= 0 && row.sourceOffset !== this.output.highWaterMark + 1) throw new Error("gap");
    this.output.highWaterMark = row.sourceOffset;
    counts.raw++;
    if (row.verdict === "reject") return this.#deadLetter(row, row.reason ?? "unknown");
    const columns = eventColumns([row]);
    const [seenId] = cleanRows({ ...columns, ...ZERO, rows: 1 });
    const id = seenId!.eventId;
    const fingerprint = columns.fingerprint[0]!;
    const before = (this.#seen.get(id) ?? []).find(({ logTimeMs }) => this.#logTimeMs - logTimeMs <= this.#options.dedupHorizonMs);
    if (before !== undefined) {
      if (before.fingerprint !== fingerprint) return this.#deadLetter(row, "id.conflict");
      counts.duplicate++;
      this.#minutes?.count(row, { outcome: "duplicate" });
      return;
    }
    this.#seen.set(id, [{ fingerprint, logTimeMs: this.#logTimeMs }]);
    const timeMs = columns.eventTimeMs[0]!;
    const [plain] = cleanRows({ ...columns, ...ZERO, logTimeMs: Float64Array.of(this.#logTimeMs), rows: 1 });
    const base = Object.assign(plain!, { enrichment: this.#attributes(plain!) });
    const watermarkMs = this.output.watermarkMs ?? -Infinity;
    const windowStartMs = Math.floor(timeMs / SIZES.tumbling_5m) * SIZES.tumbling_5m;
    const near = this.#sessions.filter((s) => s.userId === base.userId && timeMs > s.firstEventMs - GAP_MS && timeMs < s.windowEndMs);
    const isBehindWindow = windowStartMs + SIZES.tumbling_5m <= watermarkMs;
    const [sizeMs, hopMs] = this.#options.hopping === undefined ? [0, Infinity] : HOPPING[this.#options.hopping];
    const paneStartMs = hopMs === Infinity ? 0 : Math.floor(timeMs / hopMs) * hopMs;
    const isBehindPane = paneStartMs + hopMs <= watermarkMs;
    if (isBehindWindow || isBehindPane || (timeMs + GAP_MS <= watermarkMs && near.length === 0)) {
      counts.late++;
      this.#minutes?.count(row, { outcome: "late", logTimeMs: this.#logTimeMs });
      let [kind, start]: [WindowRow["kind"], number] = isBehindWindow ? ["tumbling_5m", windowStartMs] : ["session_30s", timeMs];
      if (!isBehindWindow && isBehindPane) [kind, start] = [this.#options.hopping!, paneStartMs + hopMs - sizeMs];
      this.output.late.push({ ...base, lateKind: kind, lateWindowStartMs: start });
      return;
    }
    counts.clean++;
    const window = this.#tumbling("tumbling_5m", base.userId, windowStartMs);
    include(window.row, timeMs, base.value);
    const session = this.#joinSession(near, base.userId, timeMs);
    include(session, timeMs, base.value);
    session.windowEndMs = session.lastEventMs + GAP_MS;
    session.windowStartMs = session.firstEventMs;
    if (this.#options.hopping !== undefined) {
      const key = `${paneStartMs} ${base.userId}`;
      const pane = this.#panes.get(key) ?? {
        row: emptyWindow(this.#options.hopping, base.userId, paneStartMs, paneStartMs + hopMs),
        order: this.#order++,
      };
      this.#panes.set(key, pane);
      include(pane.row, timeMs, base.value);
      for (let endMs = paneStartMs + hopMs; endMs <= paneStartMs + sizeMs; endMs += hopMs) this.#hopEnds.add(endMs);
    }
    const distance = base.value === null ? null : this.#distance(base.userId, base.value);
    if (base.value === null) this.#touchUser(base.userId);
    const isFar = distance !== null && Math.abs(distance) > (this.#options.score ?? SCORE).threshold;
    const reason = base.reason ?? (isFar ? "anomaly.score" : null);
    this.#minutes?.count(row, { outcome: "clean", reason, logTimeMs: this.#logTimeMs });
    if (this.#cut.rows === 0) this.#cut.firstLogMs = this.#logTimeMs;
    this.#cut.rows++;
    this.output.clean.push({
      ...base,
      windowEvents: window.row.events,
      sessionStartMs: session.firstEventMs,
      sessionEvents: session.events,
      score: distance,
      reason,
      cut: this.#cut.number,
    });
    if (this.#cut.rows === this.#options.cutRows) this.#endCut();
    this.#raise(timeMs - this.#options.outOfOrdernessMs);
  }

  #tumbling(kind: keyof typeof SIZES, userId: bigint, startMs: number): OpenWindow {
    const key = `${kind} ${userId} ${startMs}`;
    const window = this.#open.get(key) ?? { row: emptyWindow(kind, userId, startMs, startMs + SIZES[kind]), order: this.#order++ };
    this.#open.set(key, window);
    return window;
  }

  #joinSession(near: WindowRow[], userId: bigint, timeMs: number): WritableWindow {
    const session = emptyWindow("session_30s", userId, timeMs, timeMs + GAP_MS);
    // A merged session counts what was in its parts, the earlier first.
    for (const part of near.toSorted((a, b) => a.firstEventMs - b.firstEventMs)) absorb(session, part);
    this.#sessions = [...this.#sessions.filter((candidate) => !near.includes(candidate)), session];
    return session;
  }

  #raise(timeMs: number): void {
    if (timeMs <= (this.output.watermarkMs ?? -Infinity)) return;
    this.output.watermarkMs = timeMs;
    for (;;) {
      const candidates = [
        ...[...this.#open.entries()].map(([key, { row, order }]) => ({ key, row, order })),
        ...this.#sessions.map((row) => ({ key: null, row, order: 0 })),
        ...this.#nextHopping().map((row, order) => ({ key: "", row, order })),
      ].filter(({ row }) => row.windowEndMs <= timeMs);
      if (candidates.length === 0) return;
      candidates.sort(
        (a, b) =>
          a.row.windowEndMs - b.row.windowEndMs ||
          KIND_ORDER.indexOf(a.row.kind) - KIND_ORDER.indexOf(b.row.kind) ||
          a.order - b.order ||
          (a.row.userId < b.row.userId ? -1 : 1),
      );
      const { key, row } = candidates[0]!;
      this.output.windows.push({
        ...row,
        valueMin: row.valueCount === 0 ? null : row.valueMin,
        valueMax: row.valueCount === 0 ? null : row.valueMax,
      });
      if (key === null) this.#sessions = this.#sessions.filter((session) => session !== row);
      else if (key !== "") this.#open.delete(key);
      else this.#hopClosed(candidates.filter((candidate) => candidate.key === "").length === 1, row.windowEndMs);
      if (row.kind === "tumbling_5m") {
        const hourStartMs = Math.floor(row.windowStartMs / SIZES.tumbling_1h) * SIZES.tumbling_1h;
        absorb(this.#tumbling("tumbling_1h", row.userId, hourStartMs).row, row);
      }
    }
  }

  /** Users of the next hopping window that are not yet emitted, in their order. */
  #nextHopping(): WindowRow[] {
    if (this.#options.hopping === undefined || this.#hopEnds.size === 0) return [];
    const endMs = Math.min(...this.#hopEnds);
    const [sizeMs] = HOPPING[this.#options.hopping];
    const panes = [...this.#panes.values()].filter(({ row }) => row.windowStartMs >= endMs - sizeMs && row.windowStartMs < endMs);
    panes.sort((a, b) => a.row.windowStartMs - b.row.windowStartMs || a.order - b.order);
    const users = new Map<bigint, WritableWindow>();
    for (const { row } of panes) {
      const window = users.get(row.userId) ?? emptyWindow(this.#options.hopping, row.userId, endMs - sizeMs, endMs);
      absorb(window, row);
      users.set(row.userId, window);
    }
    return [...users.values()].slice(this.#hopEmitted);
  }

  #hopEmitted = 0;

  #hopClosed(isLast: boolean, endMs: number): void {
    this.#hopEmitted = isLast ? 0 : this.#hopEmitted + 1;
    if (isLast) this.#hopEnds.delete(endMs);
  }

  #touchUser(userId: bigint): Usual {
    const hour = Math.floor(this.#logTimeMs / 3_600_000);
    const known = this.#usual.get(userId);
    const isForgotten = known === undefined || hour - known.hour >= Math.ceil((this.#options.score ?? SCORE).forgetMs / 3_600_000) + 1;
    const usual = isForgotten ? { values: 0, mean: 0, variance: 0, hour } : known;
    usual.hour = hour;
    this.#usual.set(userId, usual);
    return usual;
  }

  /** null = too few values. */
  #distance(userId: bigint, value: number): number | null {
    const { alpha, warmUp, threshold } = this.#options.score ?? SCORE;
    const usual = this.#touchUser(userId);
    const { values, mean, variance } = usual;
    usual.values++;
    if (values === 0) {
      Object.assign(usual, { mean: value, variance: 0 });
      return null;
    }
    const spread = Math.max(Math.sqrt(variance), Math.abs(mean) * 0.01);
    const distance = value === mean ? 0 : (value - mean) / spread;
    const isWarm = values >= warmUp;
    const step =
      isWarm && spread > 0 && Math.abs(value - mean) > threshold * spread ? Math.sign(value - mean) * threshold * spread : value - mean;
    const weight = values + 1 < 1 / alpha ? 1 / (values + 1) : alpha;
    Object.assign(usual, { mean: mean + weight * step, variance: (1 - weight) * (variance + step * (weight * step)) });
    return isWarm ? Math.max(-1e6, Math.min(1e6, distance)) : null;
  }

  #attributes(row: CleanRow): string | null {
    const table = this.#enrichment;
    if (table === null) return null;
    let key: unknown = table.key === "source" ? row.source : row.eventType;
    if (table.key.startsWith("/")) {
      key = row.properties === null ? null : JSON.parse(row.properties);
      for (const part of table.key.split("/").slice(2))
        key = typeof key === "object" && key !== null ? (key as Record<string, unknown>)[part] : null;
    }
    const found =
      typeof key === "string" || typeof key === "number" || typeof key === "boolean"
        ? Object.entries(table.rows).find(([name]) => name === String(key))
        : undefined;
    return found === undefined
      ? null
      : JSON.stringify(Object.fromEntries(Object.entries(found[1]).toSorted(([a], [b]) => (a < b ? -1 : 1))));
  }

  #allOpen(): WindowRow[] {
    const tumbling = [...this.#open.values()].map(({ row }) => row);
    const hours = tumbling.map((row) => {
      const hourStartMs = Math.floor(row.windowStartMs / SIZES.tumbling_1h) * SIZES.tumbling_1h;
      return { ...row, windowEndMs: hourStartMs + SIZES.tumbling_1h };
    });
    return [...tumbling, ...hours, ...this.#sessions];
  }

  #endCut(): void {
    this.output.endedCuts.push([this.#cut.number, this.#cut.rows]);
    this.#cut = { number: this.#cut.number + 1, rows: 0, firstLogMs: 0 };
  }

  #deadLetter(row: EventRow, reason: string): void {
    this.output.counts.deadLettered++;
    this.#minutes?.count(row, { outcome: "rejected", reason });
    this.output.deadLetters.push({ sourceOffset: row.sourceOffset, reason });
  }
}

const ZERO = {
  logTimeMs: Float64Array.of(0),
  windowEvents: Uint32Array.of(0),
  sessionStartMs: Float64Array.of(0),
  sessionEvents: Uint32Array.of(0),
  score: Float64Array.of(Number.NaN),
  enrichment: { codes: Int16Array.of(-1), values: [] },
};

const SCORE = { alpha: 0.02, warmUp: 30, threshold: 4, forgetMs: 86_400_000 };

type WritableWindow = { -readonly [K in keyof WindowRow]: WindowRow[K] };

function emptyWindow(kind: WindowRow["kind"], userId: bigint, windowStartMs: number, windowEndMs: number): WritableWindow {
  const values = { events: 0, valueCount: 0, valueSum: 0, valueMin: Infinity, valueMax: -Infinity };
  return { kind, userId, windowStartMs, windowEndMs, ...values, firstEventMs: Infinity, lastEventMs: -Infinity };
}

function include(window: WindowRow, timeMs: number, value: number | null): void {
  const one = { events: 1, valueCount: value === null ? 0 : 1, valueSum: value ?? 0, valueMin: value, valueMax: value };
  absorb(window, { ...one, firstEventMs: timeMs, lastEventMs: timeMs });
}

function absorb(window: WritableWindow, part: Omit<WindowRow, "kind" | "userId" | "windowStartMs" | "windowEndMs">): void {
  window.events += part.events;
  window.valueCount += part.valueCount;
  window.valueSum += part.valueSum;
  window.valueMin = Math.min(window.valueMin ?? Infinity, part.valueMin ?? Infinity);
  window.valueMax = Math.max(window.valueMax ?? -Infinity, part.valueMax ?? -Infinity);
  window.firstEventMs = Math.min(window.firstEventMs, part.firstEventMs);
  window.lastEventMs = Math.max(window.lastEventMs, part.lastEventMs);
}
