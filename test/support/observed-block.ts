/** A block of events.valid as an observer of the processor sees it: its headers. */
import type { ObservedRecord } from "#processor/observe/task-observer.ts";
import { HEADERS } from "#shared/events/names.ts";

export function blockOf(lastSourceOffset: number, oldestMs: number | string | null): ObservedRecord {
  const headers: [string, string][] = [
    [HEADERS.kind, "block"],
    [HEADERS.lastSourceOffset, String(lastSourceOffset)],
  ];
  if (oldestMs !== null) headers.push([HEADERS.oldest, String(oldestMs)]);
  return { headers: headers.map(([key, value]) => [key, Buffer.from(value)] as const) };
}
