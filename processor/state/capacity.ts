import { CapacityError } from "#shared/kernel/errors.ts";

/** Nothing is ever evicted to make room: a full table stops the task, and a person decides (docs/OPERATIONS.md). */
export function tableFull(table: string, limit: number): CapacityError {
  return new CapacityError(`state table ${table} is full: ${limit} rows`, {
    code: "STATE_TABLE_FULL",
    hint: `raise WEIR_MAX_TABLE_ROWS, or shorten what fills ${table} (${CAUSE[table] ?? "keys"})`,
  });
}

const CAUSE: Readonly<Record<string, string>> = {
  ids: "dedupHorizonMs times the event rate",
  tumbling_5m: "outOfOrdernessMs, users per five minutes",
  tumbling_1h: "users per hour",
  users: "users within scoreForgetMs",
  session_30s: "outOfOrdernessMs, open sessions",
};
