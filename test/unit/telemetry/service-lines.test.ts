/** What a service says on stdout to whoever started it. */
import { expect, test } from "vitest";
import { spokesman } from "#shared/telemetry/service.ts";

function said(): { readonly lines: unknown[]; readonly say: ReturnType<typeof spokesman> } {
  const lines: unknown[] = [];
  return { lines, say: spokesman((line) => lines.push(JSON.parse(line))) };
}

test("the first line is the ready one, whatever was wrong before it; what still is comes second", () => {
  const { lines, say } = said();
  say.trouble("a refuses");
  say.trouble("b refuses");
  say.ready({ partitions: 2 });
  expect(lines).toEqual([{ ready: true, partitions: 2 }, { trouble: "b refuses" }]);
});

test("what was wrong and is well again before it is ready is not said", () => {
  const { lines, say } = said();
  say.trouble("a refuses");
  say.trouble(null);
  say.ready();
  expect(lines).toEqual([{ ready: true }]);
});

test("a trouble is said once, and its end", () => {
  const { lines, say } = said();
  say.ready();
  say.trouble(null);
  for (const text of ["a refuses", "a refuses", null, null]) say.trouble(text);
  expect(lines.slice(1)).toEqual([{ trouble: "a refuses" }, { trouble: null }]);
});
