import { expect, test } from "vitest";
import { HEADERS } from "#shared/events/names.ts";
import { toOutputRecord } from "#sinks/runtime/output-record.ts";

const encoder = new TextEncoder();

function record(headers: Readonly<Record<string, string>>): Parameters<typeof toOutputRecord>[0] {
  const list = Object.entries(headers).map(([key, value]) => [key, encoder.encode(value)] as const);
  return { offset: 9, timestampMs: 5, key: null, value: null, headers: list };
}

const PLACED = { [HEADERS.generation]: "2", [HEADERS.oseq]: "41", [HEADERS.count]: "0" };

test("a mark that ends a cut holds no rows", () => {
  expect(toOutputRecord(record({ ...PLACED, [HEADERS.cut]: "8", [HEADERS.cutEnd]: "1" }), "t/0")).toMatchObject({
    generation: 2,
    oseq: 41,
    count: 0,
    cut: 8,
    endsCut: true,
  });
});

test.each([HEADERS.generation, HEADERS.oseq, HEADERS.count])(
  "without header %s a record has no place, and the message says which record",
  (key) => {
    const { [key]: _, ...rest } = PLACED as Record<string, string>;
    expect(() => toOutputRecord(record(rest), "events.clean/3")).toThrow(`record events.clean/3/9 has no header ${key}`);
  },
);

test("a header that is no number is refused", () => {
  expect(() => toOutputRecord(record({ ...PLACED, [HEADERS.oseq]: "4x" }), "t/0")).toThrow("wrong header oseq");
});
