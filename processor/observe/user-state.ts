/** What the state of a fold holds of one user, found by a look at every row: for a person who asks, never on the way of an event. */
import { CHUNK_BITS, CHUNK_MASK } from "../state/row-chunks.ts";
import type { FoldState } from "../fold/fold-state.ts";
import type { TumblingWindows } from "../windowing/tumbling-windows.ts";
import { FIVE_MINUTES_MS, HOUR_MS, SESSION_GAP_MS } from "../windowing/window-rules.ts";

export interface OpenWindow {
  readonly kind: "tumbling_5m" | "tumbling_1h" | "session_30s";
  readonly startMs: number;
  /** Of a session: as it stands, last event and gap. */
  readonly endMs: number;
  readonly events: number;
  readonly valueCount: number;
  readonly valueSum: number;
  /** null = no event with a value. */
  readonly valueMin: number | null;
  readonly valueMax: number | null;
  readonly firstEventMs: number;
  readonly lastEventMs: number;
}

/** Unsigned 64-bit id as the two words of a row. */
export interface UserWords {
  readonly low: number;
  readonly high: number;
}

/** null: not a decimal number below 2^64. */
export function parseUser(text: string): UserWords | null {
  if (!/^\d{1,20}$/.test(text)) return null;
  const id = BigInt(text);
  return id >= 2n ** 64n ? null : { low: Number(BigInt.asIntN(32, id)), high: Number(BigInt.asIntN(32, id >> 32n)) };
}

/** In order of start, five minutes before hours before sessions. An hour holds its closed five minutes only; the open ones come on top. */
export function openWindowsOf(state: FoldState, user: UserWords): OpenWindow[] {
  return [
    ...tumbling("tumbling_5m", state.fiveMinutes, FIVE_MINUTES_MS, user),
    ...tumbling("tumbling_1h", state.hours, HOUR_MS, user),
    ...sessions(state, user),
  ];
}

function tumbling(kind: OpenWindow["kind"], windows: TumblingWindows, sizeMs: number, user: UserWords): OpenWindow[] {
  return windows.open.flatMap((table) => {
    for (let row = 0; row < table.rows; row++) {
      const words = table.chunks.words[row >>> CHUNK_BITS]!;
      const at = (row & CHUNK_MASK) * 16;
      if (words[at] !== user.low || words[at + 1] !== user.high) continue;
      const doubles = table.chunks.doubles[row >>> CHUNK_BITS]!;
      const d = (row & CHUNK_MASK) * 8;
      const measure = measureOf(words[at + 3]!, doubles[d + 4]!, doubles[d + 5]!, doubles[d + 6]!);
      const { startMs } = table;
      const span = { firstEventMs: startMs + words[at + 4]!, lastEventMs: startMs + words[at + 5]! };
      return [{ kind, startMs, endMs: startMs + sizeMs, events: words[at + 2]!, ...measure, ...span }];
    }
    return [];
  });
}

function sessions({ sessions: { table } }: FoldState, user: UserWords): OpenWindow[] {
  const found: OpenWindow[] = [];
  for (let row = 0; row < table.rows; row++) {
    const words = table.chunks.words[row >>> CHUNK_BITS]!;
    const at = (row & CHUNK_MASK) * 16;
    if (words[at] !== user.low || words[at + 1] !== user.high || words[at + 8] === 0) continue;
    const doubles = table.chunks.doubles[row >>> CHUNK_BITS]!;
    const d = (row & CHUNK_MASK) * 8;
    const [firstEventMs, lastEventMs] = [doubles[d + 2]!, doubles[d + 3]!];
    const measure = measureOf(words[at + 9]!, doubles[d + 5]!, doubles[d + 6]!, doubles[d + 7]!);
    const span = { startMs: firstEventMs, endMs: lastEventMs + SESSION_GAP_MS };
    found.push({ kind: "session_30s", ...span, events: words[at + 8]!, ...measure, firstEventMs, lastEventMs });
  }
  return found.toSorted((a, b) => a.startMs - b.startMs);
}

function measureOf(
  valueCount: number,
  valueSum: number,
  min: number,
  max: number,
): Pick<OpenWindow, "valueCount" | "valueSum" | "valueMin" | "valueMax"> {
  return { valueCount, valueSum, valueMin: valueCount === 0 ? null : min, valueMax: valueCount === 0 ? null : max };
}
