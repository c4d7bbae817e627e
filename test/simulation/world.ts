/**
 * Simulated time, network and processes: a queue of events in order of time, every random choice from one seed. The code under test runs
 * between two events, to the end of its microtasks; so a run is a function of its seed, and a process can be killed or frozen between any two
 * steps.
 */
import { setImmediate as turn } from "node:timers/promises";
import type { Clock } from "#processor/runtime/ports.ts";
import { type OperatingError, TransientError } from "#shared/kernel/errors.ts";

/** Mulberry32. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** [0, 1) */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** [from, to] */
  int(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }
}

interface Event {
  readonly atMs: number;
  readonly number: number;
  /** Runs code under test only while this process lives, and not before it is thawed. */
  readonly process: SimulatedProcess | null;
  readonly run: () => void;
}

export class SimulatedProcess {
  readonly name: string;
  readonly skewMs: number;
  isAlive = true;
  frozenUntilMs = 0;

  constructor(name: string, skewMs: number) {
    this.name = name;
    this.skewMs = skewMs;
  }
}

export interface NetworkFaults {
  /** Probability of each, per request. */
  readonly lostRequest: number;
  readonly lostAnswer: number;
  /** The client gives up, and the request still arrives, much later. */
  readonly lateRequest: number;
}

const START_MS = 1_700_000_000_000;
const REQUEST_TIMEOUT_MS = 5_000;

export class World {
  readonly random: Random;
  readonly faults: NetworkFaults;
  nowMs = START_MS;
  /** Events run so far. */
  steps = 0;
  /** For exhaustive runs: the process that runs code at this step dies just before it. */
  killAtStep = -1;
  #heap: Event[] = [];
  #number = 0;

  constructor(seed: number, faults: NetworkFaults) {
    this.random = new Random(seed);
    this.faults = faults;
  }

  at(delayMs: number, process: SimulatedProcess | null, run: () => void): void {
    this.#push({ atMs: this.nowMs + delayMs, number: this.#number++, process, run });
  }

  /** A request to a server: `effect` happens there, when and if it arrives. It may answer later itself, through `reply`. */
  request<T>(process: SimulatedProcess, effect: (reply: (outcome: T | Error) => void) => void, unclear: () => Error = lost): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!process.isAlive) return;
      const { random, faults } = this;
      const fate = random.next();
      const isLost = fate < faults.lostRequest;
      const isUnanswered = !isLost && fate < faults.lostRequest + faults.lostAnswer;
      const isLate = !isLost && !isUnanswered && fate < faults.lostRequest + faults.lostAnswer + faults.lateRequest;
      if (isLost || isUnanswered || isLate) this.at(REQUEST_TIMEOUT_MS, process, () => reject(unclear()));
      if (isLost) return;
      this.at(isLate ? random.int(REQUEST_TIMEOUT_MS, 40_000) : latency(random), null, () =>
        effect((outcome) => {
          if (isUnanswered || isLate) return;
          this.at(latency(random), process, () => (outcome instanceof Error ? reject(outcome) : resolve(outcome)));
        }),
      );
    });
  }

  clock(process: SimulatedProcess): Clock {
    return {
      now: () => Math.floor(this.nowMs) + process.skewMs,
      sleep: (durationMs, signal) =>
        new Promise((resolve) => {
          this.at(durationMs, process, resolve);
          signal.addEventListener("abort", () => this.at(0, process, resolve), { once: true });
        }),
    };
  }

  /** Runs one event and whatever it wakes. False: nothing is left to happen. */
  async step(): Promise<boolean> {
    const event = this.#pop();
    if (event === undefined) return false;
    this.nowMs = Math.max(this.nowMs, event.atMs);
    const { process } = event;
    if (process === null) {
      event.run();
      return true;
    }
    if (!process.isAlive) return true;
    if (process.frozenUntilMs > this.nowMs) {
      this.#push({ ...event, atMs: process.frozenUntilMs });
      return true;
    }
    if (this.steps++ === this.killAtStep) {
      process.isAlive = false;
      return true;
    }
    event.run();
    await turn();
    return true;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let child = heap.push(event) - 1;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (!before(event, heap[parent]!)) break;
      heap[child] = heap[parent]!;
      child = parent;
    }
    heap[child] = event;
  }

  #pop(): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let parent = 0;
    for (;;) {
      let child = 2 * parent + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1;
      if (!before(heap[child]!, last)) break;
      heap[parent] = heap[child]!;
      parent = child;
    }
    heap[parent] = last;
    return first;
  }
}

function before(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.number < b.number);
}

/** Mostly a millisecond, sometimes a hundred: enough to reorder anything. */
function latency(random: Random): number {
  return random.chance(0.05) ? random.next() * 100 : 0.2 + random.next() * 2;
}

function lost(): OperatingError {
  return new TransientError("the connection was lost", { code: "SIMULATED_LOSS" });
}
