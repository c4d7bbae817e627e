import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { loadSeedRelease } from "#shared/rules/load-release.ts";
import { parseRelease, type ReleaseInput } from "#shared/rules/release.ts";
import { goodEvent } from "#test/support/validated-event.ts";
import { run } from "../../../cli/main.ts";
import { describeChanges, rulesChanges } from "../../../cli/rules-diff.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "weir-rules-cli-"));
});

afterEach(() => rmSync(folder, { recursive: true }));

async function weir(args: readonly string[], input = ""): Promise<{ code: number; out: string; err: string }> {
  let out = "";
  let err = "";
  const code = await run(args, {
    out: (text) => (out += text),
    err: (text) => (err += text),
    outIsTerminal: false,
    errIsTerminal: false,
    input: (async function* () {
      yield Buffer.from(input);
    })(),
    stop: new AbortController().signal,
  });
  return { code, out, err };
}

function file(name: string, content: unknown): string {
  const path = join(folder, name);
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

/** The seed with the upper limit of a purchase's amount at 100. */
function stricter(): ReleaseInput {
  const release = structuredClone(loadSeedRelease());
  release.eventTypes.find((type) => type.name === "purchase")!.fields["/properties/amount"]!.max = 100;
  return release;
}

const purchase = (id: number, amount: unknown): string =>
  JSON.stringify(
    goodEvent({ event_id: `0192f3a1-7b6e-7c1d-9a51-${String(id).padStart(12, "0")}`, event_type: "purchase", properties: { amount } }),
  );

describe("weir rules lint", () => {
  test("of sound files exits 0 and says what each holds", async () => {
    const seed = loadSeedRelease();
    expect(await weir(["rules", "lint", file("a.json", seed), file("b.json", stricter())])).toMatchObject({
      code: 0,
      err: "",
      out: expect.stringMatching(/a\.json: ok, 11 event types, 5 sources\n.*b\.json: ok/) as string,
    });
  });

  test("of a release with problems exits 3 and names all of them, and the other files' too", async () => {
    const bad = { eventTypes: [{ name: "A" }, { name: "b", fields: { x: { type: "number", min: 2, max: 1 } } }], sources: [] };
    const { code, out } = await weir([
      "rules",
      "lint",
      file("bad.json", bad),
      file("worse.json", "{"),
      file("good.json", loadSeedRelease()),
    ]);
    expect(code).toBe(3);
    expect(out).toMatch(/2 problems[^]*event type A v1, \/name/);
    expect(out).toContain("min 2 is above max 1");
    expect(out).toContain("worse.json are no JSON");
    expect(out).toContain("good.json: ok");
  });

  test("--json is one verdict per file", async () => {
    const { code, out } = await weir(["rules", "lint", "--json", file("bad.json", { eventTypes: [], sources: [] })]);
    expect(code).toBe(3);
    expect(JSON.parse(out)).toEqual([
      { origin: expect.any(String), problem: expect.stringContaining("/eventTypes"), eventTypes: 0, sources: 0 },
    ]);
  });

  test("of a file that is not there is a wrong call", async () => {
    expect(await weir(["rules", "lint", join(folder, "none.json")])).toMatchObject({ code: 2 });
  });
});

describe("weir rules test", () => {
  const test4 = async (...args: string[]) => {
    const lines = [
      purchase(1, 50),
      purchase(2, 5_000),
      purchase(3, 6_000),
      purchase(4, "much"),
      purchase(5, 7_000),
      purchase(6, 8_000),
      "no json",
    ];
    return weir(
      ["rules", "test", "--release", file("new.json", stricter()), "--from", "-", "--data-dir", folder, ...args],
      `${lines.join("\n")}\n`,
    );
  };

  test("counts every pair of verdicts and shows up to three examples of each difference", async () => {
    const { code, out, err } = await test4("--json");
    expect({ code, err }).toEqual({ code: 0, err: "" });
    const { events, newlyRejected, pairs } = JSON.parse(out) as { events: number; newlyRejected: number; pairs: Record<string, unknown>[] };
    expect({ events, newlyRejected }).toEqual({ events: 7, newlyRejected: 4 });
    const counts = Object.fromEntries(pairs.map((pair) => [`${String(pair["before"])} -> ${String(pair["after"])}`, pair["count"]]));
    expect(counts).toEqual({
      "ok -> ok": 1,
      "ok -> reject schema.range": 4,
      "reject schema.type -> reject schema.type": 1,
      "reject json.syntax -> reject json.syntax": 1,
    });
    const { examples } = pairs.find((pair) => pair["after"] === "reject schema.range") as { examples: Record<string, unknown>[] };
    expect(examples.map(({ where, pointer }) => [where, pointer])).toEqual([2, 3, 5].map((line) => [`line ${line}`, "/properties/amount"]));
    expect(pairs.filter((pair) => pair["before"] === pair["after"]).flatMap((pair) => pair["examples"])).toEqual([]);
  });

  test("for a person is a table and the examples", async () => {
    const { code, out } = await test4();
    expect(code).toBe(0);
    expect(out).toMatch(/^7 events by version 1 \(published\)/);
    expect(out).toMatch(/\nok +reject schema\.range +4\n/);
    expect(out).toContain("\nok -> reject schema.range\n  line 2  /properties/amount  {");
  });

  test("--strict exits 3 when what passes today would be rejected, --last looks at no more", async () => {
    expect(await test4("--strict")).toMatchObject({ code: 3 });
    expect(await test4("--strict", "--last", "1")).toMatchObject({ code: 0, out: expect.stringContaining("1 events by") as string });
  });

  test("what an event holds cannot steer the terminal", async () => {
    const hostile = JSON.stringify(goodEvent({ event_type: "purchase", properties: { amount: 900, note: "\u009b2J" } }));
    const { out } = await weir(["rules", "test", "--release", file("new.json", stricter()), "--from", "-", "--data-dir", folder], hostile);
    expect(out).toContain("ok -> reject schema.range");
    expect(out).not.toContain("\u009b");
  });
});

describe("wrong calls", () => {
  test.each([
    [["rules"], "one of its commands must be named"],
    [["rules", "aply"], "did you mean apply?"],
    [["rules", "lint"], "either files or --db"],
    [["rules", "test"], "either --release FILE or --db"],
    [["rules", "test", "--db", "--live", "--from", "x"], "either --from or --live"],
    [["rules", "apply"], "--reason must say why"],
    [["rules", "apply", "--reason", "  "], "--reason must say why"],
    [["rules", "apply", "--reason", "x", "--by", " "], "--by must be a name"],
    [["rules", "rollback", "zero", "--reason", "x"], "--version: must be a whole number"],
    [["rules", "ls", "--last", "0"], "--last: must be"],
    [["rules", "show", "1", "2"], "one VERSION at most"],
    [["rules", "publish", "now"], "takes no arguments"],
  ])("%j exits 2 before anything is opened", async (args, message) => {
    expect(await weir(args)).toMatchObject({ code: 2, out: "", err: expect.stringContaining(message) as string });
  });
});

describe("the difference of two releases", () => {
  const parse = (input: ReleaseInput) => parseRelease(input, "in the test");

  test("names what was added, removed and changed, by field", () => {
    const before = parse({
      version: 1,
      eventTypes: [{ name: "a", required: ["/x"], fields: { x: { type: "number", max: 5 } } }, { name: "gone" }],
      sources: [{ name: "web" }],
      rules: [{ name: "all", eventTypes: "*", required: ["/session_id"] }],
    });
    const after = parse({
      version: 2,
      eventTypes: [
        { name: "a", required: ["/x"], fields: { x: { type: "number", min: 1, max: 4 } } },
        { name: "a", schemaVersion: 2 },
      ],
      sources: [{ name: "web", historical: true }],
      rules: [{ name: "all", eventTypes: "*", required: ["/session_id", "/source"] }],
    });
    expect(describeChanges(rulesChanges(before, after)).split("\n")).toEqual([
      "~ event type a v1  fields /x max: 5 -> 4",
      "+ event type a v1  fields /x min: 1",
      "+ event type a v2",
      "- event type gone v1",
      '~ rule all  required: ["/session_id"] -> ["/session_id","/source"]',
      "~ source web  historical: false -> true",
      "",
    ]);
  });

  test("is nothing between a release and itself under another version and in another order", () => {
    const seed = loadSeedRelease();
    const shuffled = { ...seed, version: 7, eventTypes: seed.eventTypes.toReversed(), sources: seed.sources.toReversed() };
    expect(rulesChanges(seed, shuffled)).toEqual([]);
  });
});
