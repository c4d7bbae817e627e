/** Decides about one dead letter: sent, and as what record, or left, and why. A pure function of the letter, the request and the rules. */
import type { Limits } from "#functions/validator/scanner/limits.ts";
import { createValidator, type Validator } from "#functions/validator/scanner/validator.ts";
import type { Kafka, OutgoingRecord } from "#shared/clients/kafka/types.ts";
import { VERDICT } from "#shared/events/columns.ts";
import { HEADERS } from "#shared/events/names.ts";
import { partitionOf } from "#shared/events/partitioner.ts";
import { parsePointer } from "#shared/rules/json-pointer.ts";
import type { Plan } from "#shared/rules/plan.ts";
import { type Change, editEvent, parseEvent, scalarText } from "./event-edit.ts";
import { matches } from "./filter.ts";
import { type Letter, type OriginalRecord, wholeRecord } from "./letter.ts";
import type { ReplayRequest } from "./replay-request.ts";

/** An event that failed so often fails for a reason that no replay mends. */
export const MAX_REPLAYS = 3;

/** `replayed`: by an earlier replay. `refused`: {@link MAX_REPLAYS} times already. `rejected`: the rules would reject it again. */
export const LEFT = ["replayed", "refused", "uneditable", "truncated", "rejected"] as const;
export type LeftBecause = (typeof LEFT)[number];

export interface Verdict {
  /** "" = accepted without a flag. */
  readonly reason: string;
  readonly pointer: string;
  readonly rejected: boolean;
  readonly eventTimeMs: number;
}

export type Judgement =
  | { readonly kind: "left"; readonly because: LeftBecause; readonly verdict?: Verdict; readonly changes?: readonly Change[] }
  | {
      readonly kind: "sent";
      readonly target: number;
      readonly record: OutgoingRecord;
      readonly verdict: Verdict;
      readonly changes: readonly Change[];
    };

export interface JudgeOptions {
  readonly kafka: Kafka;
  /** Name of the replay. */
  readonly replay: string;
  readonly request: ReplayRequest;
  readonly targetPartitions: number;
  readonly plan: Plan;
  readonly limits: Limits;
  /** How often earlier replays sent a letter: by partition, by offset. */
  readonly replayed: ReadonlyMap<number, ReadonlyMap<number, number>>;
}

const decoder = new TextDecoder();

export class LetterJudge {
  readonly #options: JudgeOptions;
  readonly #validator: Validator;

  constructor(options: JudgeOptions) {
    this.#options = options;
    this.#validator = createValidator(options.plan, options.limits);
  }

  /** Null: the letter is none of those asked for. */
  async judge(letter: Letter): Promise<Judgement | null> {
    const { kafka, request, replayed } = this.#options;
    if (!matches(request.filter, letter)) return null;
    const times = replayed.get(letter.partition)?.get(letter.offset) ?? 0;
    if (times > 0 && !request.again) return { kind: "left", because: "replayed" };
    if (letter.replays + times >= MAX_REPLAYS) return { kind: "left", because: "refused" };
    const whole = await wholeRecord(kafka, letter);
    if (whole === null) return { kind: "left", because: "truncated" };
    const edited = this.#edit(whole);
    if (edited === undefined) return { kind: "left", because: "uneditable" };
    const { changes, ...original } = edited;
    const record = this.#recordOf(letter, original, times);
    const verdict = this.#validate(record);
    if (verdict.rejected && !request.evenRejected) return { kind: "left", because: "rejected", verdict, changes };
    return { kind: "sent", target: this.#targetOf(letter, whole, record), record, verdict, changes };
  }

  #edit(whole: OriginalRecord): (OriginalRecord & { readonly changes: readonly Change[] }) | undefined {
    const { edits, keyFrom } = this.#options.request;
    let { key, value } = whole;
    let changes: readonly Change[] = [];
    if (edits.length > 0) {
      const edited = value === null ? undefined : editEvent(value, edits);
      if (edited === undefined) return undefined;
      ({ value, changes } = edited);
    }
    if (keyFrom !== null) {
      const text = value === null ? null : memberText(value, keyFrom);
      if (text === null) return undefined;
      if (key === null || decoder.decode(key) !== text)
        changes = [...changes, { pointer: "key", before: key === null ? "null" : decoder.decode(key), after: text }];
      key = Buffer.from(text);
    }
    return { key, value, headers: whole.headers, changes };
  }

  #recordOf(letter: Letter, { key, value, headers }: OriginalRecord, times: number): OutgoingRecord {
    const { replay } = this.#options;
    // First, so that headers beyond what a dead letter keeps cannot push them out.
    const ours = [
      [HEADERS.replays, Buffer.from(String(letter.replays + times + 1))],
      [HEADERS.replay, Buffer.from(`${replay}/${letter.partition}/${letter.offset}`)],
    ] as const;
    return { key, value, headers: [...ours, ...headers] };
  }

  #validate({ key, value, headers }: OutgoingRecord): Verdict {
    const validator = this.#validator;
    validator.begin();
    validator.add(value, 0, value?.length ?? 0, key, headers ?? null, 0, this.#options.request.atMs);
    const { reason, verdict, pointer, eventTimeMs } = validator.finish();
    const code = reason.codes[0]!;
    return {
      reason: code < 0 ? "" : reason.values[code]!,
      pointer: decoder.decode(pointer.bytes.subarray(pointer.offsets[0], pointer.offsets[1])),
      rejected: verdict[0] === VERDICT.reject,
      eventTimeMs: eventTimeMs[0]!,
    };
  }

  /** A record whose key stays goes where its producer put it; else where every producer would. */
  #targetOf({ source }: Letter, before: OriginalRecord, { key }: OutgoingRecord): number {
    const { request, targetPartitions } = this.#options;
    const isSameKey = key === null || (before.key !== null && Buffer.compare(key, before.key) === 0);
    if (source !== null && isSameKey && (source.topic === request.target || key === null)) return source.partition % targetPartitions;
    return key === null ? 0 : partitionOf(key, targetPartitions);
  }
}

function memberText(value: Uint8Array, pointer: string): string | null {
  let member: unknown = parseEvent(value);
  for (const token of parsePointer(pointer)) {
    if (typeof member !== "object" || member === null || !Object.hasOwn(member, token)) return null;
    member = (member as Record<string, unknown>)[token];
  }
  return scalarText(member);
}
