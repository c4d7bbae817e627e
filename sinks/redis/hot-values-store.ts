/**
 * Hot values into Redis: one Lua call per delivery, guarded by a mark per output partition.
 *
 * I1 The mark is the number of the last row applied. A delivery at or below it is dropped, one behind a gap is refused; values and mark change in
 *    the one atomic call. So neither a zombie nor a replay ever puts an old value over a new one.
 * I2 Values are absolute, so what Redis lost comes back by reading the log again from its beginning; what its mark covers is dropped.
 * I3 A value lives as long as if it had been written when the log took its row: reading the log again revives nothing that had expired.
 * All keys of a partition live on one server (a script is atomic there only): more load means more groups of partitions, not a cluster of slots.
 */
import type { Redis } from "#shared/clients/redis/client.ts";
import { failpoint } from "#shared/kernel/failpoint.ts";
import type { OutputRecord } from "../runtime/output-record.ts";
import { ANY_ROW, ReplayNeededError, type SinkStore } from "../runtime/partition-sink.ts";
import { type HotValue, LONGEST_TTL_SECONDS } from "./hot-values.ts";

/**
 * KEYS: mark. ARGV: first row, last row, "1" if nothing before the first row is left in the log, then per value: key, seconds to live, number of
 * field and value strings, those strings. Answers the mark as it was, -1 where there was none, and 1 as second value when it applied.
 */
const APPLY = `
local mark = tonumber(redis.call('GET', KEYS[1]) or '-1')
local first, last, rebase = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
if mark >= 0 and last <= mark then return {mark, 0} end
if first > math.max(mark, 0) + 1 and not rebase then return {mark, 0} end
local at = 4
while at <= #ARGV do
  local key, ttl, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  redis.call('HSET', key, unpack(ARGV, at + 3, at + 2 + count))
  if redis.call('TTL', key) < tonumber(ttl) then redis.call('EXPIRE', key, ttl) end
  at = at + 3 + count
end
redis.call('SET', KEYS[1], last)
return {mark, 1}
`;

/** Bounds the time that one call holds the server. */
const MAX_VALUES_PER_CALL = 2_000;

export interface HotValuesOptions {
  readonly redis: Redis;
  /** Names the output partition and generation. */
  readonly markKey: string;
  readonly valuesOf: (value: Uint8Array) => ReadonlyMap<string, HotValue>;
}

export function createHotValuesStore({ redis, markKey, valuesOf }: HotValuesOptions): SinkStore {
  /** Until the first call after a rebuild began: the log may start behind the row after the mark. */
  let mayRebase = false;
  /** What the mark was when reading began again: rows up to it need not even be decoded. */
  let knownMark = -1;

  const apply = async (records: readonly OutputRecord[]): Promise<void> => {
    const first = records[0]!.oseq;
    const last = records.at(-1)!.oseq + records.at(-1)!.count - 1;
    if (last <= knownMark) {
      // The log does have rows before the next ones: should the mark be lost meanwhile, they must be read again.
      mayRebase = false;
      return;
    }
    const values = new Map<string, HotValue>();
    const nowMs = Date.now();
    for (const { value, timestampMs } of records) {
      const ageSeconds = Math.max(0, Math.floor((nowMs - timestampMs) / 1_000));
      if (value === null || ageSeconds >= LONGEST_TTL_SECONDS) continue;
      for (const [key, hot] of valuesOf(value)) {
        const ttlSeconds = hot.ttlSeconds - ageSeconds;
        if (ttlSeconds > 0) values.set(key, { ...hot, ttlSeconds });
      }
    }
    const args: (string | number)[] = [first, last, mayRebase ? "1" : "0"];
    for (const { key, ttlSeconds, fields } of values.values()) args.push(key, ttlSeconds, fields.length, ...fields);
    const [mark, applied] = (await redis.script(APPLY, [markKey], args)) as [number, number];
    failpoint("after-lua");
    if (applied === 1 || mark >= last) {
      mayRebase = false;
      return;
    }
    throw new ReplayNeededError(`Redis has rows up to ${mark} of ${markKey}, delivered were ${first} to ${last}`, { code: "REDIS_BEHIND" });
  };

  return {
    resume: async (position) => {
      await redis.connect();
      const text = await redis.get(markKey);
      const mark = text === null ? -1 : Number(text);
      knownMark = mark;
      mayRebase = false;
      if (position !== null && position.oseq !== ANY_ROW && mark >= position.oseq) return position;
      // Redis lost what it had said was there: from the beginning, where rows up to the mark are dropped by it.
      mayRebase = true;
      return null;
    },
    deliver: async (records) => {
      for (const group of groupsOf(records)) await apply(group);
      const last = records.at(-1)!;
      return { offset: last.offset + 1, oseq: last.oseq + last.count - 1 };
    },
  };
}

/** Consecutive records of few enough rows; marks without rows are passed over. */
function groupsOf(records: readonly OutputRecord[]): OutputRecord[][] {
  const groups: OutputRecord[][] = [];
  let rows = Number.POSITIVE_INFINITY;
  for (const record of records) {
    if (record.count === 0) continue;
    if (rows + record.count > MAX_VALUES_PER_CALL) {
      groups.push([]);
      rows = 0;
    }
    groups.at(-1)!.push(record);
    rows += record.count;
  }
  return groups;
}
