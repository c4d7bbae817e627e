import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { decodeEnrichment, encodeEnrichment } from "#shared/events/enrichment-table.ts";
import { changesOf } from "../../../cli/enrichment-change.ts";
import { parseTable } from "../../../cli/enrichment-file.ts";
import { run } from "../../../cli/main.ts";

const parse = (text: string | Uint8Array, options: { key?: string; column?: string; mayBeEmpty?: boolean } = {}) =>
  parseTable(typeof text === "string" ? Buffer.from(text) : text, { origin: "tiers.csv", key: "source", mayBeEmpty: false, ...options });

describe("a file of attributes", () => {
  test("as CSV: the column called as the key is the key, an empty cell is no attribute, quotes, commas and line breaks are kept", () => {
    const table = parse('\uFEFFregion,source,note\r\neu,web,"says ""hi"", twice\r\nover"\r\n\r\n,app,\n"",tv,x');
    expect(table).toEqual({
      key: "source",
      rows: { web: { region: "eu", note: 'says "hi", twice\r\nover' }, app: {}, tv: { note: "x" } },
    });
  });

  test("as JSON lines: numbers and truth values are text as they are written, null is no attribute", () => {
    const table = parse('{"plan":12,"limit":1.50,"on":true,"id":12345678901234567890,"x":null}\n\n{"plan":"gold"}\n', {
      key: "/properties/account/plan",
    });
    expect(table.rows).toEqual({ "12": { limit: "1.50", on: "true", id: "12345678901234567890" }, gold: {} });
  });

  test("with the key in another column, which is then no attribute", () => {
    expect(parse("id,region\nweb,eu\n", { column: "id" }).rows).toEqual({ web: { region: "eu" } });
  });

  test("without rows is a table only when it is asked for", () => {
    expect(parse("source,region\n", { mayBeEmpty: true }).rows).toEqual({});
    expect(parse("", { mayBeEmpty: true }).rows).toEqual({});
    expect(() => parse("source,region\n")).toThrow("tiers.csv has no rows");
  });

  test("keeps names that objects have by themselves, through to the table that the fold reads", () => {
    const table = parse('{"kind":"__proto__","__proto__":"a","constructor":"b"}\n', { key: "/properties/kind" });
    const read = decodeEnrichment(Buffer.from(encodeEnrichment(table, 7)), 7);
    expect([...read.rows]).toEqual([["__proto__", '{"__proto__":"a","constructor":"b"}']]);
  });

  test.each([
    ["a row that is too short", "source,region\nweb,eu\napp\n", "line 3: has 1 cells, the header has 2"],
    ["a row behind a cell of several lines", 'source,note\nweb,"a\nb"\napp,x,y\n', "line 4: has 3 cells, the header has 2"],
    ["a quote that is never closed", 'source,region\n\nweb,"eu\napp,us\n', "line 3: a quote that is never closed"],
    ["a quote inside a cell", 'source,region\nweb,e"u\n', "line 2: a quote inside a cell"],
    ["text behind a quote", 'source,region\n"web"x,eu\n', "line 2: text behind a closing quote"],
    ["two columns of one name", "source,region,region\n", 'line 1: two columns are called "region"'],
    ["no column for the key", "name,region\nweb,eu\n", "line 1: no column source among name, region"],
    ["nothing but keys", "source\nweb\n", "line 1: no column beside source"],
    ["a column without a name", "source,\nweb,eu\n", "line 2: an attribute without a name"],
    ["a row without a key", "source,region\n,eu\n", "line 2: no value for source"],
    ["a key that no source has", "source,region\nWeb,eu\n", 'line 2: no event can have the source "Web": lower-case letters'],
    ["a key twice", "source,region\nweb,eu\napp,us\nweb,us\n", 'line 4: the key "web" stands in line 2 already'],
    ["bytes that are no UTF-8", Buffer.concat([Buffer.from("source,region\nweb,"), Buffer.of(0xe9, 10)]), "line 2: is not UTF-8"],
    ["JSON that is none", '{"source":"web"}\n{"source":\n', "line 2: is no JSON"],
    ["JSON that is no object", '{"source":"web"}\n["app"]\n', "line 2: is no JSON object"],
    ["a number for an object", '{"source":"web"}\n1.10\n', "line 2: is no JSON object"],
    ["an object without a key", '{"source":"web"}\n{"region":"eu"}\n', "line 2: has no member source"],
    ["an attribute that is an object", '{"source":"web","geo":{"x":1}}\n', 'line 1: "geo" is no text, number or truth value'],
    ["half a character", '{"source":"web","a":"\\ud800"}\n', 'line 1: the attribute "a" is no Unicode text'],
    [
      "attributes too large for an event",
      `source,text\nweb,${"x".repeat(17_000)}\n`,
      "line 2: attributes of 17011 bytes, 16384 are allowed",
    ],
  ])("is refused whole for %s, with the line", (_name, text, message) => {
    expect(() => parse(text)).toThrow(`tiers.csv ${message}`);
    expect(() => parse(text)).toThrow(expect.objectContaining({ code: "ENRICHMENT_FILE" }) as Error);
  });

  test("is refused when it has more rows or bytes than the fold takes, and not one row sooner", () => {
    const rows = (count: number): string => `plan,a\n${Array.from({ length: count }, (_, i) => `p${i},${i}\n`).join("")}`;
    const key = "/properties/plan";
    expect(Object.keys(parse(rows(10_000), { key }).rows)).toHaveLength(10_000);
    expect(() => parse(rows(10_001), { key })).toThrow("tiers.csv line 10002: more than 10000 rows");
    const wide = (bytes: number): string =>
      `plan,a\n${Array.from({ length: 100 }, (_, i) => `p${String(i).padStart(2, "0")},${"x".repeat(bytes)}\n`).join("")}`;
    const sizeOf = (bytes: number): number => Buffer.byteLength(encodeEnrichment(parse(wide(bytes), { key }), 2_147_483_647));
    const most = 10_000 + Math.floor((2 ** 20 - sizeOf(10_000)) / 100);
    const table = parse(wide(most), { key });
    expect(decodeEnrichment(Buffer.from(encodeEnrichment(table, 2_147_483_647)), 2_147_483_647).rows.size).toBe(100);
    expect(() => parse(wide(most + 1), { key })).toThrow(/^tiers\.csv makes a table of \d+ bytes, 1048576 are allowed$/);
  });
});

test("the same rows in another order are the same bytes", () => {
  const one = parse("source,region,tier\nweb,eu,1\napp,us,2\n");
  const other = parse("tier,source,region\n2,app,us\n1,web,eu\n");
  expect(encodeEnrichment(other, 3)).toBe(encodeEnrichment(one, 3));
});

test("what a version changes is told by key", () => {
  const before = { key: "source", rows: { web: { region: "eu" }, app: { region: "us" }, tv: {} } };
  const after = { key: "source", rows: { web: { region: "us" }, app: { region: "us" }, pos: {} } };
  expect(changesOf(before, after)).toEqual({ key: null, added: ["pos"], removed: ["tv"], changed: ["web"] });
  const byType = { key: "event_type", rows: { web: { region: "eu" } } };
  expect(changesOf(before, byType)).toEqual({ key: ["source", "event_type"], added: ["web"], removed: [], changed: [] });
});

describe("weir enrichment", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "weir-enrichment-cli-"));
    writeFileSync(join(folder, "good.csv"), "source,region\nweb,eu\n");
    writeFileSync(join(folder, "bad.csv"), "source,region\nweb\n");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  async function weir(args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
    let out = "";
    let err = "";
    const code = await run(["enrichment", ...args], {
      out: (text) => (out += text),
      err: (text) => (err += text),
      outIsTerminal: false,
      errIsTerminal: false,
      input: (async function* () {})(),
      stop: new AbortController().signal,
    });
    return { code, out, err };
  }

  test.each([
    ["no key", ["good.csv", "--reason", "x"], 2, /^weir: --key: must be source, event_type or \/properties\/NAME\n {2}fix: /],
    ["another key", ["good.csv", "--key", "user_id", "--reason", "x"], 2, /--key user_id: must be source/],
    ["a key that is no pointer", ["good.csv", "--key", "/properties/a~2", "--reason", "x"], 2, /~ must be written ~0/],
    ["no reason", ["good.csv", "--key", "source"], 2, /--reason must say why/],
    ["no such file", ["none.csv", "--key", "source", "--reason", "x"], 2, /none\.csv: ENOENT/],
    ["a bad file", ["bad.csv", "--key", "source", "--reason", "x"], 3, /bad\.csv line 2: has 1 cells.*\n {2}code: ENRICHMENT_FILE\n$/],
    ["options of a file without one", ["--key", "source"], 2, /--key is about a FILE/],
  ])("publish with %s says so before it looks for a pipeline", async (_name, args, code, message) => {
    const inFolder = args.map((argument) => (argument.endsWith(".csv") ? join(folder, argument) : argument));
    const outcome = await weir(["publish", ...inFolder]);
    expect(outcome).toEqual({ code, out: "", err: expect.stringMatching(message) as string });
  });

  test("with no or an unknown command names those that there are", async () => {
    expect(await weir([])).toMatchObject({ code: 2, err: expect.stringContaining("weir enrichment ls|show|publish|rollback") as string });
    expect(await weir(["rolback"])).toMatchObject({ code: 2, err: expect.stringContaining("did you mean rollback") as string });
  });
});
