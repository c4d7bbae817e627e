/** Which backups may go. A backup stays as long as anything that is kept needs it: an incremental one is nothing without its bases. */
import type { Manifest } from "./manifest.ts";
import { startOf } from "./manifest.ts";

export interface Retention {
  readonly fullMs: number;
  readonly incrementalMs: number;
}

const DAY_MS = 86_400_000;

/** Hourly ones for a week, daily full ones for 90 days. */
export const RETENTION: Retention = { fullMs: 90 * DAY_MS, incrementalMs: 7 * DAY_MS };

type Known = Pick<Manifest, "name" | "kind" | "base">;

/** Names, newest first, so that whoever is killed while removing them has removed no base before what depends on it. The newest always stays. */
export function expired(known: readonly Known[], nowMs: number, retention: Retention = RETENTION): string[] {
  const byName = new Map(known.map((each) => [each.name, each]));
  const newest = known
    .map(({ name }) => name)
    .toSorted()
    .at(-1);
  const kept = new Set<string>();
  for (const { name, kind } of known) {
    const ageMs = nowMs - (startOf(name) ?? nowMs);
    if (name !== newest && ageMs > (kind === "full" ? retention.fullMs : retention.incrementalMs)) continue;
    for (let at: Known | undefined = byName.get(name); at !== undefined && !kept.has(at.name);) {
      kept.add(at.name);
      at = at.base === null ? undefined : byName.get(at.base);
    }
  }
  return known
    .map(({ name }) => name)
    .filter((name) => !kept.has(name))
    .toSorted()
    .toReversed();
}

/** From the full one to this, oldest first; null where a base is missing. */
export function chainOf<T extends Known>(known: readonly T[], name: string): T[] | null {
  const chain: T[] = [];
  for (let next: string | null = name; next !== null;) {
    const found: T | undefined = known.find((each) => each.name === next);
    if (found === undefined || chain.includes(found)) return null;
    chain.unshift(found);
    next = found.base;
  }
  return chain;
}
