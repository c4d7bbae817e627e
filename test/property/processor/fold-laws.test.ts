import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeWindows } from "#shared/events/block.ts";
import type { FoldOptions, OutputRecord } from "#processor/model/ports.ts";
import { HOPPING } from "#processor/windowing/window-rules.ts";
import { windowRows, type EventRow, type WindowRow } from "#test/support/event-batch.ts";
import { inputRecord, runFold, splitBlocks, type FoldRun } from "#test/support/fold-run.ts";
import { logArbitrary } from "#test/support/log-arbitrary.ts";
import { NaiveFold, type LogEntry } from "#test/support/naive-fold.ts";

const optionsArbitrary: fc.Arbitrary<FoldOptions> = fc
  .record({
    generation: fc.constant(1),
    partition: fc.constant(3),
    historical: fc.boolean(),
    outOfOrdernessMs: fc.constantFrom(0, 5_000, 50_000, 400_000),
    idleMarginMs: fc.constantFrom(0, 5_000),
    dedupHorizonMs: fc.constantFrom(1_000, 600_000),
    cutRows: fc.constantFrom(1, 3, 65_536),
    cutMs: fc.constantFrom(10, 1_000),
    maxRecordBytes: fc.constantFrom(8_500, 10_000, 900_000),
    score: fc.record({
      alpha: fc.constantFrom(0.02, 0.3),
      warmUp: fc.constantFrom(1, 3),
      threshold: fc.constantFrom(1, 2.5),
      forgetMs: fc.constantFrom(3_600_000, 86_400_000),
    }),
    hopping: fc.constantFrom("hopping_5m_1m" as const, "hopping_10m_1m" as const, "hopping_1h_5m" as const, undefined),
  })
  .map(({ hopping, ...options }) => (hopping === undefined ? options : Object.assign(options, { hopping })));

/** A decision per place, the same for the same place. */
const decisions = fc.infiniteStream(fc.boolean()).map((stream) => {
  const made: boolean[] = [];
  return (place: number): boolean => {
    while (made.length <= place) made.push(stream.next().value);
    return made[place]!;
  };
});

function facts({ output, progress }: FoldRun): unknown {
  return { output, progress };
}

describe("the fold", () => {
  test("gives what the naive reference gives", () => {
    fc.assert(
      fc.property(logArbitrary, optionsArbitrary, (log, options) => {
        const naive = new NaiveFold(options);
        for (const entry of log) naive.apply(entry);
        expect(runFold(log, options).output).toEqual(naive.output);
      }),
      { numRuns: 80 },
    );
  });

  test("gives the same rows, hash and progress for any split of the log into blocks and epochs", () => {
    fc.assert(
      fc.property(logArbitrary, optionsArbitrary, decisions, decisions, (log, options, endsBlock, endsEpoch) => {
        expect(facts(runFold(splitBlocks(log, endsBlock), options, { endsEpoch }))).toEqual(facts(runFold(log, options)));
      }),
      { numRuns: 80 },
    );
  });

  test("goes on from a restored snapshot as if it had never stopped, and its later snapshots are the same bytes", () => {
    fc.assert(
      fc.property(logArbitrary, optionsArbitrary, decisions, (log, options, restores) => {
        const restored = runFold(log, options, { restores });
        const straight = runFold(log, options);
        expect(facts(restored)).toEqual(facts(straight));
        expect(Buffer.compare(restored.fold.snapshot(), straight.fold.snapshot())).toBe(0);
      }),
      { numRuns: 50 },
    );
  });

  test("gives for a redelivered, overlapping log what it gives for the clean log", () => {
    fc.assert(
      fc.property(
        logArbitrary,
        optionsArbitrary,
        fc.array(fc.nat({ max: 12 }), { minLength: 1, maxLength: 8 }),
        (log, options, overlaps) => {
          const clean = runFold(log, options);
          const redelivered = runFold(withRedelivery(log, overlaps), options);
          const rows = ({ output }: FoldRun): unknown => ({ ...output, counts: { ...output.counts, redelivered: 0 } });
          expect(rows(redelivered)).toEqual(rows(clean));
          expect(redelivered.progress.hash).toBe(clean.progress.hash);
        },
      ),
      { numRuns: 80 },
    );
  });

  test("counts every row of events.raw in exactly one place", () => {
    fc.assert(
      fc.property(logArbitrary, optionsArbitrary, (log, options) => {
        const { counts } = runFold(log, options).progress;
        const rows = log.reduce((sum, entry) => sum + (entry.kind === "block" ? entry.rows.length : 0), 0);
        expect(counts.raw).toBe(rows);
        expect(counts.clean + counts.deadLettered + counts.duplicate + counts.late).toBe(rows);
      }),
      { numRuns: 60 },
    );
  });

  test("puts every clean event into one window of each kind once all are closed, and into size / hop hopping windows", () => {
    fc.assert(
      fc.property(logArbitrary, optionsArbitrary, (log, options) => {
        const end: LogEntry = { kind: "drain", logTimeMs: log.at(-1)!.logTimeMs };
        const { output, progress } = runFold([...log, end], options);
        const hopping = output.windows.filter((row) => row.kind.startsWith("hopping"));
        const overlap = options.hopping === undefined ? 0 : HOPPING[options.hopping].sizeMs / HOPPING[options.hopping].hopMs;
        expect(hopping.reduce((sum, row) => sum + row.events, 0)).toBe(progress.counts.clean * overlap);
        expect(new Set(hopping.map((row) => `${row.userId} ${row.windowStartMs}`)).size).toBe(hopping.length);
        for (const kind of ["tumbling_5m", "tumbling_1h", "session_30s"]) {
          const rows = output.windows.filter((row) => row.kind === kind);
          expect(rows.reduce((sum, row) => sum + row.events, 0)).toBe(progress.counts.clean);
          expect(rows.every((row) => row.events > 0 && row.windowStartMs <= row.firstEventMs && row.lastEventMs < row.windowEndMs)).toBe(
            true,
          );
        }
      }),
      { numRuns: 60 },
    );
  });

  test("is never due too late: a tick just before closes nothing, and ticks at the due times alone close everything, each window within a second", () => {
    fc.assert(
      fc.property(logArbitrary, optionsArbitrary, (log, mixed) => {
        const options = { ...mixed, historical: false };
        const { fold } = runFold(log, options);
        const tick = (nowMs: number): OutputRecord[] => {
          fold.apply(inputRecord({ kind: "tick", logTimeMs: nowMs, now: nowMs }, 0, options));
          return fold.takeOutputs();
        };
        const closed: WindowRow[] = [];
        const boundMs = options.outOfOrdernessMs + options.idleMarginMs;
        for (let ticks = 0; fold.hasOpenWork; ticks++) {
          const dueMs = fold.nextDueMs;
          if (dueMs > fold.progress().logTimeMs) expect(tick(dueMs - 1)).toEqual([]);
          const windows = tick(dueMs).flatMap((record) => (record.role === "windows" ? windowRows(decodeWindows(record.value!)) : []));
          // A session's due time is known to the bucket of a second only.
          expect(windows.every(({ windowEndMs }) => dueMs - (windowEndMs + boundMs) < 1_024)).toBe(true);
          closed.push(...windows);
          expect(fold.nextDueMs).toBeGreaterThan(dueMs);
          // The open minute ends as well, and log time may lie hours behind the last window.
          expect(ticks).toBeLessThan(10_000);
        }
        const drained = runFold([...log, { kind: "drain", logTimeMs: log.at(-1)!.logTimeMs }], options).output.windows;
        expect(closed).toEqual(drained.slice(drained.length - closed.length));
        expect(closed.length).toBe(drained.length - runFold(log, options).output.windows.length);
      }),
      { numRuns: 40 },
    );
  });
});

/** After block i, sends its last `overlaps[i]` rows again: alone, and once more in front of the next block's rows. */
function withRedelivery(log: readonly LogEntry[], overlaps: readonly number[]): LogEntry[] {
  let carried: readonly EventRow[] = [];
  return log.flatMap((entry, i): LogEntry[] => {
    if (entry.kind !== "block") return [entry];
    const block = { ...entry, rows: [...carried, ...entry.rows] };
    carried = entry.rows.slice(-overlaps[i % overlaps.length]! || entry.rows.length);
    return [block, { ...entry, rows: carried }];
  });
}
