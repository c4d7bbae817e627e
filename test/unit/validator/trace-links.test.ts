import { expect, test } from "vitest";
import { TRACE_LINKS_MAX, TraceLinks } from "#functions/validator/trace-links.ts";

const traceparent = (i: number, flags = "01"): string => `00-${(i + 1).toString(16).padStart(32, "0")}-b7ad6b7169203331-${flags}`;
const header = (text: string, name = "traceparent"): Record<string, number[]> => ({ [name]: [...Buffer.from(text)] });

test("a block links to the sampled traces of its events, each once, in the order in which they came", () => {
  const links = new TraceLinks();
  links.begin();
  for (const i of [2, 0, 2, 1]) links.add([header("x", "other"), header(traceparent(i))]);
  links.add([header(traceparent(7, "00"))]);
  links.add([header("no trace")]);
  expect(links.finish()).toBe([2, 0, 1].map((i) => traceparent(i)).join(","));
});

test("two contradicting traceparents, and an empty one, are none", () => {
  const links = new TraceLinks();
  links.begin();
  links.add([header(traceparent(0)), header(traceparent(1))]);
  links.add([{ traceparent: null }]);
  links.add([]);
  expect(links.finish()).toBeNull();
});

test("the links are few whatever comes, and gone with their block", () => {
  const links = new TraceLinks();
  links.begin();
  for (let i = 0; i < 10_000; i++) links.add([header(traceparent(i))]);
  expect(links.finish()!.split(",")).toEqual(Array.from({ length: TRACE_LINKS_MAX }, (_, i) => traceparent(i)));
  links.begin();
  expect(links.finish()).toBeNull();
});
