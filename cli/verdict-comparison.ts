/** What two sets of rules say of the same events: counts of every pair of verdicts, and examples where they differ. */
import type { Limits } from "#functions/validator/scanner/limits.ts";
import { createValidator, type Headers, type Validator } from "#functions/validator/scanner/validator.ts";
import { type EventColumns, VERDICT } from "#shared/events/columns.ts";
import type { Plan } from "#shared/rules/plan.ts";

const BATCH_BYTES = 4 << 20;
const BATCH_ROWS = 1_000;
const EXAMPLES = 3;

export interface Sample {
  /** For a person. */
  readonly where: string;
  /** undefined = none is expected. */
  readonly key: Uint8Array | null | undefined;
  readonly value: Uint8Array | null;
  readonly headers: Headers | null;
  readonly timestampMs: number;
}

export interface VerdictPair {
  /** `ok`, `flag CODE` or `reject CODE`. */
  readonly before: string;
  readonly after: string;
  readonly count: number;
  readonly examples: readonly { readonly where: string; readonly pointer: string; readonly text: string }[];
}

export interface Comparison {
  readonly samples: number;
  /** Passed before, rejected after. */
  readonly newlyRejected: number;
  /** The most frequent first. */
  readonly pairs: readonly VerdictPair[];
}

interface Counted {
  before: string;
  after: string;
  count: number;
  examples: { where: string; pointer: string; text: string }[];
}

export class VerdictComparison {
  readonly #before: Validator;
  readonly #after: Validator;
  readonly #pairs = new Map<string, Counted>();
  #batch: Sample[] = [];
  #bytes = 0;
  #samples = 0;
  #newlyRejected = 0;

  constructor(before: Plan, after: Plan, limits: Limits) {
    this.#before = createValidator(before, limits);
    this.#after = createValidator(after, limits);
  }

  add(sample: Sample): void {
    this.#batch.push(sample);
    this.#bytes += sample.value?.length ?? 0;
    if (this.#batch.length >= BATCH_ROWS || this.#bytes >= BATCH_BYTES) this.#settle();
  }

  finish(): Comparison {
    this.#settle();
    const pairs = [...this.#pairs.values()].toSorted((a, b) => b.count - a.count);
    return { samples: this.#samples, newlyRejected: this.#newlyRejected, pairs };
  }

  #settle(): void {
    const before = validate(this.#before, this.#batch);
    const after = validate(this.#after, this.#batch);
    for (const [row, sample] of this.#batch.entries())
      this.#count(verdictAt(before, row), verdictAt(after, row), pointerAt(after, row) || pointerAt(before, row), sample);
    this.#samples += this.#batch.length;
    this.#batch = [];
    this.#bytes = 0;
  }

  #count(before: string, after: string, pointer: string, { where, value }: Sample): void {
    const key = `${before} -> ${after}`;
    const pair: Counted = this.#pairs.get(key) ?? { before, after, count: 0, examples: [] };
    this.#pairs.set(key, pair);
    pair.count++;
    if (!before.startsWith("reject") && after.startsWith("reject")) this.#newlyRejected++;
    if (before !== after && pair.examples.length < EXAMPLES)
      pair.examples.push({ where, pointer, text: value === null ? "no value" : Buffer.from(value).toString() });
  }
}

function validate(validator: Validator, samples: readonly Sample[]): EventColumns {
  validator.begin();
  for (const [row, { key, value, headers, timestampMs }] of samples.entries())
    validator.add(value, 0, value?.length ?? 0, key, headers, row, timestampMs);
  return validator.finish();
}

function verdictAt({ verdict, reason }: EventColumns, row: number): string {
  if (verdict[row] === VERDICT.ok) return "ok";
  const code = reason.values[reason.codes[row]!] ?? "";
  return `${verdict[row] === VERDICT.reject ? "reject" : "flag"} ${code}`;
}

function pointerAt({ pointer }: EventColumns, row: number): string {
  const { offsets, bytes } = pointer;
  return Buffer.from(bytes.subarray(offsets[row], offsets[row + 1])).toString();
}
