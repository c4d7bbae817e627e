/**
 * Hot values into Redis: one batch per partition, output and quarter of a second (or MiB), guarded by a mark per output partition.
 *
 * I1 The mark is the number of the last row applied. A batch at or below it is dropped, one behind a gap is refused; the mark moves in the atomic call
 *    that applies the last of the batch, and only if everything before it is there. So neither a zombie nor a replay ever puts an old value over a new
 *    one; where the two outputs of a partition write one key, the order of its fields decides (apply-script.ts).
 * I2 Values are absolute. The mark holds its offset: a Redis that went back in time (an old replica promoted) is read on from where it stands, one that
 *    lost everything from as far back as its values live.
 * I3 A value lives as long as if it had been written when the log took its row: reading the log again revives nothing that had expired.
 * All keys of a partition live on one server (a script is atomic there only): more load means more groups of partitions, not a cluster of slots.
 */
import type { Redis } from "#shared/clients/redis/client.ts";
import { HEADERS } from "#shared/events/names.ts";
import { assert } from "#shared/kernel/assert.ts";
import { failpoint } from "#shared/kernel/failpoint.ts";
import { ACTIVITY_TTL_SECONDS, SESSION_TTL_SECONDS } from "#shared/read/hot-keys.ts";
import { headerText, type OutputRecord } from "../runtime/output-record.ts";
import { ReplayNeededError, type SinkStore } from "../runtime/partition-sink.ts";
import { APPLY } from "./apply-script.ts";
import type { HotBatch, HotValue } from "./hot-batch.ts";

/** The broker gathers: a user's live values are written once in a while, not once an event. */
const GATHERED = { minBytes: 1 << 20, maxWaitMs: 250 } as const;
const HORIZON_MS = Math.max(ACTIVITY_TTL_SECONDS, SESSION_TTL_SECONDS) * 1_000;
/** Bounds what is held here: so many keys and what one record brings on top. */
const KEYS_PER_BATCH = 20_000;
/** Bounds the time that one call holds the server. Calls of thousands of keys cost it more than twice as much a key. */
const KEYS_PER_CALL = 200;

export interface HotValuesOptions {
  readonly redis: Redis;
  /** Names the output partition and generation. */
  readonly markKey: string;
  readonly generation: number;
  readonly createdChannel: string;
  readonly batch: () => HotBatch;
}

let attempts = 0;

/** At least one: a batch whose values have all expired moves the mark too. */
function partsOf(values: readonly HotValue[]): HotValue[][] {
  const parts: HotValue[][] = [];
  for (let from = 0; from < values.length || from === 0; from += KEYS_PER_CALL) parts.push(values.slice(from, from + KEYS_PER_CALL));
  return parts;
}

export function createHotValuesStore({ redis, markKey, generation, createdChannel, batch }: HotValuesOptions): SinkStore {
  /** Until the first call after a rebuild began: the log may start behind the row after the mark. */
  let mayRebase = false;

  const apply = async (first: OutputRecord, last: OutputRecord, values: readonly HotValue[]): Promise<void> => {
    const lastRow = last.oseq + last.count - 1;
    const head = [first.oseq, lastRow, mayRebase ? "1" : "0", last.offset + 1, last.timestampMs, generation, createdChannel];
    const attempt = `${process.pid}:${lastRow}:${attempts++}:${Date.now()}`;
    const call = async (part: readonly HotValue[], partsBefore: number): Promise<[mark: number, applied: number]> =>
      (await redis.script(APPLY, [markKey], [...head, attempt, partsBefore, ...part.flat()])) as [number, number];
    const parts = partsOf(values);
    await Promise.all(parts.slice(0, -1).map((part) => call(part, -1)));
    const [mark, applied] = await call(parts.at(-1)!, parts.length - 1);
    failpoint("after-lua");
    if (applied !== 1 && mark < lastRow) {
      throw new ReplayNeededError(`Redis has rows up to ${mark} of ${markKey}, delivered were ${first.oseq} to ${lastRow}`, {
        code: "REDIS_BEHIND",
      });
    }
    mayRebase = false;
  };

  return {
    fetch: GATHERED,
    horizonMs: HORIZON_MS,
    resume: async () => {
      await redis.connect();
      const { row, offset } = await redis.hash(markKey);
      mayRebase = row === undefined || offset === undefined;
      return mayRebase ? null : { offset: Number(offset), oseq: Number(row) };
    },
    deliver: async (records) => {
      const nowMs = Date.now();
      let first: OutputRecord | undefined;
      let gathered = batch();
      for (const record of records) {
        // A mark without rows.
        if (record.count === 0) continue;
        assert(record.value !== null, "a record with rows has a value");
        first ??= record;
        gathered.add(record.value, record.timestampMs, headerText(record.headers, HEADERS.kind));
        if (gathered.size < KEYS_PER_BATCH) continue;
        await apply(first, record, gathered.values(nowMs));
        first = undefined;
        gathered = batch();
      }
      const last = records.at(-1)!;
      if (first !== undefined)
        await apply(
          first,
          records.findLast(({ count }) => count > 0)!,
          gathered.values(nowMs),
        );
      return { offset: last.offset + 1, oseq: last.oseq + last.count - 1 };
    },
  };
}
