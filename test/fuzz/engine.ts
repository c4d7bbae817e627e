/** The loop: take an input that once found something new, change it, run it, keep it if it finds something new itself. */
import type { Random } from "../simulation/world.ts";
import { HostileDocuments } from "../support/hostile-documents.ts";
import { minimise } from "../support/minimise.ts";
import type { Coverage } from "./coverage.ts";

export interface FuzzTarget {
  readonly name: string;
  /** Inputs to begin with. */
  seeds(random: Random): readonly Uint8Array[];
  /** What is wrong with what the code does with these bytes; null = nothing. May throw: that is wrong too. */
  check(bytes: Uint8Array): string | null | Promise<string | null>;
  /** An input beside the mutated ones. */
  fresh?(random: Random): Uint8Array;
}

export interface Finding {
  readonly target: string;
  readonly problem: string;
  readonly input: Uint8Array;
  readonly smallest: Uint8Array;
}

export interface FuzzOptions {
  readonly random: Random;
  readonly runs: number;
  /** True = time is up. */
  readonly isOver?: () => boolean;
  readonly coverage?: Coverage | undefined;
  /** False = from here on without coverage, which costs nine tenths of the speed: what was found is changed further. */
  readonly isGuided?: () => boolean;
}

export interface FuzzReport {
  readonly runs: number;
  readonly corpus: number;
  readonly finding: Finding | null;
}

/** An input that takes longer hangs, for a stream of events. */
const LIMIT_MS = 2_000;
const CORPUS_MAX = 4_000;
/** Asking for the coverage takes as long as some fifty inputs: it is asked for a round, and for each input of it only if there is something new. */
const ROUND = 64;

export async function fuzz(
  target: FuzzTarget,
  { random, runs, isOver = () => false, isGuided = () => true, coverage }: FuzzOptions,
): Promise<FuzzReport> {
  const documents = new HostileDocuments(random);
  const corpus = [...target.seeds(random)];
  const progress = { done: 0 };
  const run = async (input: Uint8Array): Promise<Finding | null> => {
    progress.done++;
    const problem = await problemWith(target, input);
    if (problem === null) return null;
    const stillFails = async (bytes: Uint8Array): Promise<boolean> => (await problemWith(target, bytes)) !== null;
    return { target: target.name, problem, input, smallest: await minimise(input, stillFails) };
  };
  for (const seed of corpus.slice()) {
    const finding = await run(seed);
    if (finding !== null) return { runs: progress.done, corpus: corpus.length, finding };
  }
  coverage?.takeNew();
  while (progress.done < runs && !isOver()) {
    const inputs = Array.from({ length: ROUND }, () => next(target, corpus, documents, random));
    for (const input of inputs) {
      const finding = await run(input);
      if (finding !== null) return { runs: progress.done, corpus: corpus.length, finding };
    }
    if (coverage?.isOpen === true && !isGuided()) coverage.close();
    if (coverage?.isOpen !== true || !coverage.hasNew()) continue;
    for (const input of inputs) {
      await problemWith(target, input);
      if (coverage.takeNew() === 0) continue;
      if (corpus.length < CORPUS_MAX) corpus.push(input);
      else corpus[random.int(0, corpus.length - 1)] = input;
    }
  }
  return { runs: progress.done, corpus: corpus.length, finding: null };
}

function next(target: FuzzTarget, corpus: readonly Uint8Array[], documents: HostileDocuments, random: Random): Uint8Array {
  if (target.fresh !== undefined && random.chance(0.2)) return target.fresh(random);
  const pick = (): Uint8Array => corpus[random.int(random.chance(0.5) ? Math.floor(corpus.length / 2) : 0, corpus.length - 1)]!;
  let input = pick();
  for (let changes = random.int(1, random.chance(0.1) ? 12 : 3); changes > 0; changes--) input = documents.mutate(input, pick());
  return input;
}

async function problemWith(target: FuzzTarget, input: Uint8Array): Promise<string | null> {
  const startedAtMs = performance.now();
  try {
    const problem = await target.check(input);
    if (problem !== null) return problem;
  } catch (thrown) {
    return `throws ${thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)}`;
  }
  const tookMs = performance.now() - startedAtMs;
  return tookMs > LIMIT_MS ? `takes ${tookMs.toFixed(0)} ms` : null;
}
