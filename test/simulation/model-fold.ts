/**
 * A small fold with everything that the commit protocol depends on: high-water mark, keyed state that shows in every output, windows that a
 * tick closes, gap-free counters, a rolling hash, snapshots. Fast, so that thousands of seeds fit into a test run.
 */
import type { FoldFactory } from "#processor/runtime/ports.ts";
import type { InputRecord, OutputRecord, PartitionFold } from "#processor/model/ports.ts";
import { HEADERS, OUTPUT_ROLES, type OutputRole } from "#shared/events/names.ts";
import type { Progress } from "#shared/events/progress.ts";
import { CorruptStateError } from "#shared/kernel/errors.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const SESSION_GAP_MS = 3_000;

export type ModelRow = readonly [sourceOffset: number, user: number];

interface State {
  hw: number;
  redelivered: number;
  dead: number;
  logTimeMs: number;
  /** Events so far, by user; as an array of pairs, for JSON. */
  users: [user: number, events: number][];
  sessions: [user: number, events: number, lastMs: number][];
  watermarkMs: number | null;
  oseq: Record<OutputRole, number>;
  hash: [number, number];
  /** Stands in every clean row. 0, unless a negative control spoiled a snapshot. */
  spoil: number;
}

export interface ModelFoldOptions {
  /** Negative control: redelivered rows are folded again. */
  readonly trims: boolean;
}

export function modelFolds(options: ModelFoldOptions = { trims: true }): FoldFactory {
  return {
    version: 1,
    create: () => new ModelFold(options, emptyState()),
    restore: (bytes) => new ModelFold(options, JSON.parse(decoder.decode(bytes)) as State),
  };
}

function emptyState(): State {
  const oseq = Object.fromEntries(OUTPUT_ROLES.map((role) => [role, 0])) as Record<OutputRole, number>;
  const start = {
    hw: -1,
    redelivered: 0,
    dead: 0,
    logTimeMs: 0,
    watermarkMs: null,
    hash: [0x811c9dc5, 0x1000193] as [number, number],
    spoil: 0,
  };
  return { ...start, users: [], sessions: [], oseq };
}

export class ModelFold implements PartitionFold {
  readonly #trims: boolean;
  readonly #state: State;
  readonly #users: Map<number, number>;
  readonly #sessions: Map<number, { events: number; lastMs: number }>;
  #rows: Record<OutputRole, string[]> = emptyRows();

  constructor(options: ModelFoldOptions, state: State) {
    this.#trims = options.trims;
    this.#state = state;
    this.#users = new Map(state.users);
    this.#sessions = new Map(state.sessions.map(([user, events, lastMs]) => [user, { events, lastMs }]));
  }

  apply(record: InputRecord): void {
    const state = this.#state;
    state.logTimeMs = Math.max(state.logTimeMs, record.timestampMs);
    const kind = record.headers.find(([key]) => key === HEADERS.kind);
    const content: unknown = JSON.parse(decoder.decode(record.value ?? undefined));
    if (kind !== undefined && decoder.decode(kind[1]) === "tick") {
      this.#advance((content as { now: number }).now - 2 * SESSION_GAP_MS);
      return;
    }
    for (const [sourceOffset, user] of content as ModelRow[]) {
      if (sourceOffset <= state.hw && this.#trims) {
        state.redelivered += 1;
        continue;
      }
      if (sourceOffset > state.hw + 1) throw new CorruptStateError(`gap: ${sourceOffset} after ${state.hw}`, { code: "GAP" });
      state.hw = Math.max(state.hw, sourceOffset);
      if (user === 0) {
        state.dead += 1;
        this.#emit("dlq", `dead ${sourceOffset}`);
        continue;
      }
      const events = (this.#users.get(user) ?? 0) + 1;
      this.#users.set(user, events);
      this.#emit("clean", `${sourceOffset} user ${user} event ${events}${state.spoil === 0 ? "" : " spoilt"}`);
      const session = this.#sessions.get(user);
      if (session === undefined) this.#sessions.set(user, { events: 1, lastMs: record.timestampMs });
      else {
        session.events += 1;
        session.lastMs = record.timestampMs;
      }
    }
    this.#advance(record.timestampMs - SESSION_GAP_MS);
  }

  get pendingRows(): number {
    return OUTPUT_ROLES.reduce((sum, role) => sum + this.#rows[role].length, 0);
  }

  takeOutputs(): OutputRecord[] {
    const outputs: OutputRecord[] = [];
    for (const role of OUTPUT_ROLES) {
      const rows = this.#rows[role];
      // Two records where there are many rows: an epoch may write several to one topic.
      for (const part of rows.length > 3 ? [rows.slice(0, 2), rows.slice(2)] : rows.length > 0 ? [rows] : []) {
        const first = this.#state.oseq[role] - rows.length + 1 + rows.indexOf(part[0]!);
        const headers = { [HEADERS.generation]: 1, [HEADERS.partition]: 0, [HEADERS.oseq]: first, [HEADERS.count]: part.length };
        const encoded = Object.entries(headers).map(([key, value]) => [key, encoder.encode(String(value))] as const);
        outputs.push({ role, key: null, value: encoder.encode(part.join("\n")), headers: encoded });
      }
    }
    this.discardOutputs();
    return outputs;
  }

  discardOutputs(): void {
    this.#rows = emptyRows();
  }

  progress(): Progress {
    const { hw, oseq, watermarkMs, logTimeMs, hash, redelivered, dead } = this.#state;
    return {
      v: 1,
      hw,
      oseq: { ...oseq },
      watermarkMs,
      logTimeMs,
      hash: hash.map((lane) => (lane >>> 0).toString(16).padStart(8, "0")).join(""),
      foldVersion: 1,
      rulesVersion: 0,
      cut: 0,
      counts: { raw: oseq.clean + dead, clean: oseq.clean, deadLettered: dead, duplicate: 0, late: 0, redelivered },
    };
  }

  get hasOpenWork(): boolean {
    return this.#sessions.size > 0;
  }

  snapshot(): Uint8Array {
    if (this.pendingRows > 0) throw new Error("a snapshot with outputs pending");
    const sessions = [...this.#sessions].map(([user, { events, lastMs }]) => [user, events, lastMs]);
    return encoder.encode(JSON.stringify({ ...this.#state, users: [...this.#users], sessions }));
  }

  memory(): Readonly<Record<string, number>> {
    return {};
  }

  #advance(toMs: number): void {
    const state = this.#state;
    state.watermarkMs = Math.max(state.watermarkMs ?? 0, toMs);
    for (const [user, { events, lastMs }] of this.#sessions) {
      if (lastMs + SESSION_GAP_MS > state.watermarkMs) continue;
      this.#sessions.delete(user);
      this.#emit("windows", `user ${user} session of ${events} until ${lastMs}`);
    }
  }

  #emit(role: OutputRole, row: string): void {
    const { hash } = this.#state;
    this.#state.oseq[role] += 1;
    this.#rows[role].push(row);
    for (let i = 0; i < row.length; i++) {
      hash[0] = Math.imul(hash[0] ^ row.charCodeAt(i), 0x01000193);
      hash[1] = Math.imul(hash[1] + row.charCodeAt(i), 0x85ebca6b) ^ (hash[0] >>> 13);
    }
  }
}

function emptyRows(): Record<OutputRole, string[]> {
  return Object.fromEntries(OUTPUT_ROLES.map((role) => [role, [] as string[]])) as Record<OutputRole, string[]>;
}
