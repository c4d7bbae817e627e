import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { backupName, startOf } from "#backup/manifest.ts";
import { chainOf, expired, RETENTION } from "#backup/retention.ts";

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const NOW_MS = Date.UTC(2026, 10, 24, 12);

interface Known {
  readonly name: string;
  readonly kind: "full" | "incremental";
  readonly base: string | null;
}

/** Hourly, each the difference to the one before, full at every `fullEvery`th. */
function hourly(hours: number, fullEvery = 24): Known[] {
  const known: Known[] = [];
  for (let i = 0; i <= hours; i++) {
    const kind = i % fullEvery === 0 ? "full" : "incremental";
    const base = kind === "full" ? null : known.at(-1)!.name;
    known.push({ name: backupName(NOW_MS - (hours - i) * HOUR_MS, kind), kind, base });
  }
  return known;
}

test("a name tells when and what, and names sort by time", () => {
  const name = backupName(NOW_MS + 7, "full");
  expect(name).toBe("20261124T120000007Z-full");
  expect(startOf(name)).toBe(NOW_MS + 7);
  expect(startOf("lost+found")).toBeNull();
  expect(backupName(NOW_MS, "incremental") < backupName(NOW_MS + 1, "full")).toBe(true);
});

describe("retention", () => {
  test("after a hundred days of hourly backups: 90 days of daily full ones, 7 days of hourly ones", () => {
    // Five hours into a day.
    const known = hourly(100 * 24 + 5);
    const gone = new Set(expired(known, NOW_MS));
    const kept = known.filter(({ name }) => !gone.has(name));
    const ageOf = ({ name }: Known): number => NOW_MS - startOf(name)!;
    expect(Math.max(...kept.map(ageOf))).toBe(89 * DAY_MS + 5 * HOUR_MS);
    expect(kept.filter(({ kind }) => kind === "full")).toHaveLength(90);
    // Those of the seventh day's beginning need the ones before them since their full one.
    const oldest = Math.max(...kept.filter(({ kind }) => kind === "incremental").map(ageOf));
    expect(oldest).toBeLessThan(8 * DAY_MS);
    expect(oldest).toBeGreaterThanOrEqual(7 * DAY_MS);
    expect(kept.filter(({ kind }) => kind === "incremental").length).toBeGreaterThanOrEqual(7 * 23);
  });

  test("the newest stays however old it is", () => {
    const known = hourly(3).map((each) => each);
    expect(expired(known, NOW_MS + 1_000 * DAY_MS)).toEqual([]);
  });

  test("whatever is kept can be restored, and whoever is killed while removing leaves no difference without its base", () => {
    const history = fc
      .array(fc.record({ gapMs: fc.integer({ min: 1_000, max: 5 * DAY_MS }), full: fc.boolean(), back: fc.integer({ min: 1, max: 4 }) }), {
        minLength: 1,
        maxLength: 60,
      })
      .map((steps) => {
        const known: Known[] = [];
        let atMs = NOW_MS - steps.reduce((sum, { gapMs }) => sum + gapMs, 0);
        for (const { gapMs, full, back } of steps) {
          atMs += gapMs;
          const base = full ? undefined : known.at(-back);
          const kind = base === undefined ? "full" : "incremental";
          known.push({ name: backupName(atMs, kind), kind, base: base?.name ?? null });
        }
        return known;
      });
    fc.assert(
      fc.property(history, (known) => {
        const gone = expired(known, NOW_MS);
        for (let removed = 0; removed <= gone.length; removed++) {
          const left = known.filter(({ name }) => !gone.slice(0, removed).includes(name));
          for (const { name } of left) expect(chainOf(left, name)).not.toBeNull();
        }
        const kept = known.filter(({ name }) => !gone.includes(name));
        for (const { name, kind } of known) {
          const limitMs = kind === "full" ? RETENTION.fullMs : RETENTION.incrementalMs;
          if (NOW_MS - startOf(name)! <= limitMs) expect(kept.map((each) => each.name)).toContain(name);
        }
      }),
    );
  });
});

test("a chain goes from the full one to the one asked for; one with a hole or a circle is none", () => {
  const known = hourly(3);
  expect(chainOf(known, known[3]!.name)?.map(({ name }) => name)).toEqual(known.map(({ name }) => name));
  expect(chainOf(known.toSpliced(1, 1), known[3]!.name)).toBeNull();
  const circle: Known[] = [
    { name: "a", kind: "incremental", base: "b" },
    { name: "b", kind: "incremental", base: "a" },
  ];
  expect(chainOf(circle, "a")).toBeNull();
});
