/** A partial in the rolling hash: recovery compares what was counted as it compares rows. */
import { CELL_WIDTH } from "#shared/events/partials.ts";
import type { MinutePartial } from "./minute-cells.ts";
import { type RollingHash, textHash } from "./rolling-hash.ts";

export function addPartial(into: RollingHash, role: number, { minuteMs, markMs, cells }: MinutePartial): void {
  into.add(role, Math.floor(minuteMs / 1_000) | 0, Math.floor(markMs / 1_000) | 0);
  if (cells === null) return;
  const words = new Int32Array(cells.numbers.slice().buffer);
  for (const [i, source] of cells.sources.entries()) {
    let first = textHash(source);
    let second = textHash(cells.types[i]!);
    for (let at = i * CELL_WIDTH; at < (i + 1) * CELL_WIDTH; at++) {
      // Bits of NaN differ between machines and compilers.
      const isNumber = !Number.isNaN(cells.numbers[at]!);
      const low = isNumber ? words[at * 2]! : 1;
      const high = isNumber ? words[at * 2 + 1]! : 1;
      first = Math.imul(first ^ low, 0x01000193) + high;
      second = Math.imul(second ^ high, 0x85ebca6b) + low;
    }
    into.add(role, first, second);
  }
}
