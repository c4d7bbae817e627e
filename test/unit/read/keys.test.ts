import fc from "fast-check";
import { expect, test } from "vitest";
import { metricKey } from "#shared/read/hot-keys.ts";
import { metricName } from "#shared/read/keys.ts";

test("a metric's name as it stands in Redis is read back into its parts, whatever sources and types are called", () => {
  const part = fc.string({ minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(fc.constantFrom("events", "quality.accuracy", "cost.usd"), fc.array(part, { maxLength: 2 }), (metric, rest) => {
      const key = metricKey("live", [metric, ...rest]);
      expect(metricName(key.slice("metric:".length))).toEqual([metric, ...rest]);
    }),
  );
});

test("what is no name of a metric is refused", () => {
  for (const text of ["", ":web", "a:b:c:d", "A", "x y", "../x", `a:${"b".repeat(600)}`]) {
    expect(() => metricName(text), text).toThrow(expect.objectContaining({ code: "READ_KEY" }));
  }
});
