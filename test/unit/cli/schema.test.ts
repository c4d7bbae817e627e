import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadSeedRelease } from "#shared/rules/load-release.ts";
import { run } from "../../../cli/main.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "weir-schema-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, content: object): string {
  const path = join(folder, name);
  writeFileSync(path, JSON.stringify(content));
  return path;
}

async function schema(...args: readonly string[]): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  let [out, err] = ["", ""];
  const code = await run(["schema", ...args], {
    out: (text) => (out += text),
    err: (text) => (err += text),
    outIsTerminal: false,
    errIsTerminal: false,
    // eslint-disable-next-line require-yield -- nothing is read
    input: (async function* () {})(),
    stop: new AbortController().signal,
  });
  return { code, out, err };
}

const base = { version: 1, sources: [{ name: "web" }] };
const old = { ...base, eventTypes: [{ name: "order", fields: { "/properties/amount": { type: "number", max: 100 } } }] };
const tighter = { ...base, eventTypes: [{ name: "order", fields: { "/properties/amount": { type: "number", max: 10 } } }] };
const both = { ...base, eventTypes: [...old.eventTypes, { name: "order", schemaVersion: 2, fields: tighter.eventTypes[0]!.fields }] };

describe("weir schema", () => {
  it("check exits 3 for a breaking change and names the field", async () => {
    const { code, out } = await schema("check", file("old.json", old), file("tighter.json", tighter));
    expect(code).toBe(3);
    expect(out).toMatch(/^BREAKING +event type order v1 +\/properties\/amount +max 100 -> 10$/m);
  });

  it("check exits 0 for a compatible one, unless what is asked for is the other direction", async () => {
    const files = [file("tighter.json", tighter), file("old.json", old)];
    expect((await schema("check", ...files)).code).toBe(0);
    expect((await schema("check", ...files, "--forward")).code).toBe(3);
    expect((await schema("check", files[0]!, files[0]!)).out).toBe("compatible: nothing has changed\n");
  });

  it("check takes a new version of a type beside the old one as compatible, and compares the two on demand", async () => {
    const versions = file("both.json", both);
    expect((await schema("check", file("old.json", old), versions)).code).toBe(0);
    const { code, out } = await schema("check", versions, "--type", "order", "--from", "1", "--to", "2", "--json");
    expect(code).toBe(3);
    expect(JSON.parse(out)).toMatchObject({
      compatible: false,
      changes: [{ what: "event type order v1 -> v2", field: "/properties/amount" }],
    });
  });

  it("check compares with what is published, which is the seed where nothing was", async () => {
    const seed = loadSeedRelease();
    const [first, ...others] = seed.eventTypes;
    expect((await schema("check", file("seed.json", seed), "--against", "published", "--data-dir", folder)).code).toBe(0);
    const changed = file("changed.json", { ...seed, eventTypes: [{ ...first, required: ["/session_id"] }, ...others] });
    expect(await schema("check", changed, "--against", "published", "--data-dir", folder)).toMatchObject({
      code: 3,
      out: expect.stringContaining("/session_id") as string,
    });
  });

  it.each([
    [["check"], "two files must be named"],
    [["chekc"], "did you mean check"],
    [["check", "x.json", "--against", "seed"], 'takes "published"'],
    [["check", "x.json", "--type", "order"], "--from and --to must be named"],
  ])("%j is a usage error", async (args, message) => {
    expect(await schema(...args)).toMatchObject({ code: 2, err: expect.stringContaining(message) as string });
  });

  it("check names the type and the version that are not there", async () => {
    const versions = file("both.json", both);
    expect((await schema("check", versions, "--type", "ordr", "--from", "1", "--to", "2")).err).toContain("did you mean order");
    expect((await schema("check", versions, "--type", "order", "--from", "1", "--to", "3")).err).toContain("no version 3, only 1, 2");
  });

  it("json prints the JSON Schema of a release and of what PostgreSQL holds", async () => {
    const { code, out } = await schema("json");
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      $defs: { eventTypeSchema: { type: "object" }, validationConfig: { required: ["eventTypes"] } },
    });
  });
});
