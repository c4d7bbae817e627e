/** Everything that a fold remembers between records. Made by createFoldState, filled from a snapshot by readSnapshot. */
import { OUTPUT_ROLES } from "#shared/events/names.ts";
import { WINDOW_KINDS } from "#shared/events/columns.ts";
import type { FoldOptions } from "../model/ports.ts";
import type { Enrichment } from "../operators/enrichment.ts";
import { Cuts } from "../operators/cuts.ts";
import { MinuteCells } from "../operators/minute-cells.ts";
import { RollingHash } from "../operators/rolling-hash.ts";
import { IdTable } from "../state/id-table.ts";
import { SCORE_DEFAULTS } from "../state/score.ts";
import { UserTable } from "../state/user-table.ts";
import { Watermark } from "../time/watermark.ts";
import { HoppingWindows } from "../windowing/hopping-windows.ts";
import { SessionWindows } from "../windowing/session-windows.ts";
import { TumblingWindows } from "../windowing/tumbling-windows.ts";
import { UserWindows } from "../windowing/user-windows.ts";
import { FIVE_MINUTES_MS, HOPPING, HOUR_MS, KIND, codeOf } from "../windowing/window-rules.ts";

/** Grows when the same log gives other rows. A new version starts from a snapshot at the committed position only. */
export const FOLD_VERSION = 3;

const DEFAULT_MAX_TABLE_ROWS = 16_777_216;

/** Rows of events.raw by what became of them; `raw` is counted on its own, so that the identity is a check. */
export interface MutableCounts {
  raw: number;
  clean: number;
  deadLettered: number;
  duplicate: number;
  late: number;
  redelivered: number;
}

export interface FoldState {
  readonly ids: IdTable;
  readonly fiveMinutes: UserWindows;
  readonly hours: TumblingWindows;
  readonly sessions: SessionWindows;
  /** null = not configured. */
  readonly hopping: HoppingWindows | null;
  readonly users: UserTable;
  /** null = no table has been named. */
  enrichment: Enrichment | null;
  readonly watermark: Watermark;
  readonly cuts: Cuts;
  /** null = the lane is historical: its log time says nothing of its events. */
  readonly minute: MinuteCells | null;
  readonly hash: RollingHash;
  readonly counts: MutableCounts;
  /** Rows emitted per output, in the order of OUTPUT_ROLES. */
  readonly emitted: Float64Array;
  /** Highest source offset accounted for. */
  highWaterMark: number;
  /** Latest log time of a record. Brokers may step back after a change of leader; this does not. */
  logTimeMs: number;
  rulesVersion: number;
}

export function createFoldState(options: FoldOptions): FoldState {
  const { hopping } = options;
  const maxRows = options.maxTableRows ?? DEFAULT_MAX_TABLE_ROWS;
  const users = new UserTable(options.score ?? SCORE_DEFAULTS, maxRows);
  const fiveMinutes = new UserWindows(WINDOW_KINDS[KIND.fiveMinutes]!, FIVE_MINUTES_MS, maxRows, users);
  const sessions = new SessionWindows(maxRows, users);
  users.holds = (words, at) => fiveMinutes.holds(words, at) || sessions.holds(words, at);
  return {
    ids: new IdTable(options.dedupHorizonMs, maxRows),
    fiveMinutes,
    hours: new TumblingWindows(WINDOW_KINDS[KIND.hour]!, HOUR_MS, maxRows),
    sessions,
    hopping: hopping === undefined ? null : new HoppingWindows(hopping, codeOf(hopping), HOPPING[hopping], maxRows),
    users,
    enrichment: null,
    watermark: new Watermark(options.outOfOrdernessMs),
    cuts: new Cuts(options.cutRows, options.cutMs),
    minute: options.historical ? null : new MinuteCells(),
    hash: new RollingHash(),
    counts: { raw: 0, clean: 0, deadLettered: 0, duplicate: 0, late: 0, redelivered: 0 },
    emitted: new Float64Array(OUTPUT_ROLES.length),
    highWaterMark: -1,
    logTimeMs: 0,
    rulesVersion: 0,
  };
}
