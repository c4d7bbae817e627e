/**
 * Keeps the parts of the pipeline running, as the cloud would: a part that ends unasked is started again on the same port and data, after a
 * pause that doubles with every end in a row. It never gives up after the first good start: whoever looks reads from the status how often.
 */
import { setTimeout as pause } from "node:timers/promises";
import { describeError, toError } from "#shared/kernel/errors.ts";
import type { ChildExit } from "./services/child-process.ts";
import type { PartState, PartStatus } from "./state.ts";

const PAUSE_MS_MIN = 100;
const PAUSE_MS_MAX = 10_000;
/** After so long in good order the next end is the first in a row again. */
const STEADY_AFTER_MS = 30_000;

export interface RunningPart {
  readonly pid: number;
  readonly address?: string;
  readonly exited: Promise<ChildExit>;
  stop(): Promise<unknown>;
  /** Told what is wrong while it works on; null = nothing any more. */
  onTrouble?(listener: (trouble: string | null) => void): void;
}

export interface Part {
  readonly name: string;
  readonly kind: "server" | "service";
  /** Rejects when the part is not ready in time; leaves nothing behind then. `signal` ends the attempt. */
  start(signal: AbortSignal): Promise<RunningPart>;
  /** An end with exit code 0 is the part's own good end, not a failure. */
  readonly endsByItself?: boolean;
}

export interface PartEvents {
  /** The status changed: write it down. */
  onChange(): void;
  /** A part ended unasked. */
  onEnd(name: string, end: string): void;
  onReturn(name: string, restarts: number, tookMs: number): void;
}

interface Entry {
  readonly part: Part;
  readonly stopping: AbortController;
  running: RunningPart | undefined;
  state: PartState;
  restarts: number;
  inRow: number;
  sinceMs: number;
  address: string | null;
  lastEnd: string | null;
  trouble: string | null;
  watching: Promise<void>;
}

export class Supervisor {
  readonly #entries = new Map<string, Entry>();
  readonly #events: PartEvents;
  #closed = false;

  constructor(events: PartEvents) {
    this.#events = events;
  }

  /** First start. Rejects with the cause; the part is then not watched. */
  async start(part: Part): Promise<RunningPart> {
    if (this.#closed) throw new Error("stopping");
    const entry: Entry = {
      part,
      stopping: new AbortController(),
      running: undefined,
      state: "starting",
      restarts: 0,
      inRow: 0,
      sinceMs: Date.now(),
      address: null,
      lastEnd: null,
      trouble: null,
      watching: Promise.resolve(),
    };
    this.#entries.set(part.name, entry);
    this.#events.onChange();
    const starting = part.start(entry.stopping.signal);
    entry.watching = starting.then(
      () => {},
      () => {},
    );
    try {
      const running = await starting;
      this.#adopt(entry, running);
      // Told to stop in the very moment in which it became ready.
      if (entry.stopping.signal.aborted) await running.stop();
      entry.watching = this.#watch(entry);
      return running;
    } catch (thrown) {
      this.#enter(entry, entry.stopping.signal.aborted ? "stopped" : "failed");
      throw thrown;
    }
  }

  /** A server that somebody else runs: shown, not watched. */
  addExternal(name: string, address: string): void {
    const never = new Promise<never>(() => {});
    this.#entries.set(name, {
      part: { name, kind: "server", start: () => never },
      stopping: new AbortController(),
      running: undefined,
      state: "external",
      restarts: 0,
      inRow: 0,
      sinceMs: Date.now(),
      address,
      lastEnd: null,
      trouble: null,
      watching: Promise.resolve(),
    });
    this.#events.onChange();
  }

  /** Stops one part for good. Also ends a start or restart that is under way. */
  async stop(name: string): Promise<void> {
    const entry = this.#entries.get(name);
    if (entry === undefined || entry.state === "external") return;
    entry.stopping.abort(new Error("stopping"));
    await entry.running?.stop();
    await entry.watching;
    await entry.running?.stop();
  }

  /** Nothing starts any more; what runs or starts is stopped, all at once. */
  async stopAll(kind: Part["kind"]): Promise<void> {
    this.#closed = true;
    const names = [...this.#entries.values()].filter((entry) => entry.part.kind === kind).map((entry) => entry.part.name);
    await Promise.all(names.map((name) => this.stop(name)));
  }

  /** Resolves when the part has ended for good: by itself, or stopped. */
  async ended(name: string): Promise<void> {
    await this.#entries.get(name)?.watching;
  }

  status(): PartStatus[] {
    return [...this.#entries.values()].map((entry) => ({
      name: entry.part.name,
      kind: entry.part.kind,
      state: entry.state,
      pid: entry.running?.pid ?? null,
      address: entry.address,
      restarts: entry.restarts,
      sinceMs: entry.sinceMs,
      lastEnd: entry.lastEnd,
      trouble: entry.trouble,
    }));
  }

  async #watch(entry: Entry): Promise<void> {
    const { part, stopping } = entry;
    for (;;) {
      const exit = await entry.running!.exited;
      entry.running = undefined;
      entry.trouble = null;
      if (stopping.signal.aborted || (part.endsByItself === true && exit.code === 0)) return this.#enter(entry, "stopped");
      this.#ended(entry, describeExit(exit));
      const endedAt = performance.now();
      if (!(await this.#restart(entry))) return this.#enter(entry, "stopped");
      entry.restarts += 1;
      this.#events.onChange();
      this.#events.onReturn(part.name, entry.restarts, performance.now() - endedAt);
    }
  }

  /** False when the part was told to stop meanwhile. */
  async #restart(entry: Entry): Promise<boolean> {
    const { part, stopping } = entry;
    for (;;) {
      try {
        await pause(Math.min(PAUSE_MS_MIN * 2 ** entry.inRow, PAUSE_MS_MAX), undefined, { signal: stopping.signal });
        entry.inRow += 1;
        this.#adopt(entry, await part.start(stopping.signal));
        return true;
      } catch (thrown) {
        if (stopping.signal.aborted) return false;
        this.#ended(entry, describeError(toError(thrown)));
      }
    }
  }

  #adopt(entry: Entry, running: RunningPart): void {
    entry.running = running;
    entry.address = running.address ?? null;
    running.onTrouble?.((trouble) => {
      if (entry.running !== running) return;
      entry.trouble = trouble;
      this.#events.onChange();
    });
    this.#enter(entry, "running");
  }

  #ended(entry: Entry, end: string): void {
    if (entry.state === "running" && Date.now() - entry.sinceMs > STEADY_AFTER_MS) entry.inRow = 0;
    entry.lastEnd = end.split("\n")[0] ?? end;
    this.#enter(entry, "restarting");
    this.#events.onEnd(entry.part.name, end);
  }

  #enter(entry: Entry, state: PartState): void {
    if (entry.state === state) return;
    entry.state = state;
    entry.sinceMs = Date.now();
    this.#events.onChange();
  }
}

function describeExit({ code, signal }: ChildExit): string {
  return signal === null ? `exit ${code}` : signal;
}
