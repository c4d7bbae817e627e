import { describe, expect, test } from "vitest";
import { BENCH_NAMES, BENCHES } from "#test/bench/catalog.ts";
import { detailTables, markdownTable, resultTable } from "#test/bench/tables.ts";

const fold = {
  name: "fold",
  ns_per_event: 500,
  reference_ns_per_event: 4_000,
  with_arrow_ns_per_event: 8_000,
  events_per_core_second: 2_000_000,
};

describe("a result's table", () => {
  test("shows each number beside its reference, and how many times better it is", () => {
    const [head, first, second] = resultTable(BENCHES.fold, fold);
    expect(head).toEqual(["", "weir", "reference", "ratio"]);
    expect(first).toEqual(["fold", "500 ns", "4,000 ns", "8.0x"]);
    expect(second).toEqual(["decode, fold, encode", "8,000 ns", "4,000 ns", "0.5x"]);
  });

  test("has no reference column where there is no reference case", () => {
    const [head, ...rows] = resultTable(BENCHES.pipeline, { name: "pipeline", events_per_second: 9_000, exact: false });
    expect(head).toEqual(["", "weir"]);
    expect(rows[0]).toEqual(["first send to last clean event in ClickHouse", "9,000 events/s"]);
    expect(rows.at(-1)).toEqual(["ledger exact in both runs", "NO"]);
  });

  test("lists cases and named parts below", () => {
    const result = {
      name: "x",
      cases: [
        { rows: 100, ns: 7 },
        { rows: 1_000, ns: 5 },
      ],
      cpu_seconds: { kafka: 1.5 },
    };
    expect(detailTables(result)).toEqual([
      [
        ["rows", "ns"],
        ["100", "7"],
        ["1,000", "5"],
      ],
      [
        ["cpu_seconds", "kafka"],
        ["", "1.5"],
      ],
    ]);
  });

  test("is Markdown with numbers to the right", () => {
    expect(
      markdownTable([
        ["", "weir"],
        ["fold", "5 ns"],
      ]),
    ).toBe("|      | weir |\n| ---- | ---: |\n| fold | 5 ns |");
  });
});

test("every bench says what it compares with and what it leaves out", () => {
  expect(BENCH_NAMES).toEqual([
    "validator",
    "cold-start",
    "block",
    "fold",
    "processor",
    "recovery",
    "latency",
    "nexmark",
    "analytics",
    "redis",
    "pipeline",
  ]);
  for (const name of BENCH_NAMES) {
    const { reference, rows, notMeasured } = BENCHES[name];
    expect(notMeasured.length).toBeGreaterThan(20);
    expect(rows.some((row) => row.reference !== undefined)).toBe(reference !== null);
  }
});
