import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { run } from "../../../cli/main.ts";
import { LineCutter } from "../../../cli/check-lines.ts";

const LIMIT = 262_144;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "weir-check-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function* inChunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

interface Answer {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function check(input: string | Uint8Array, options: readonly string[] = [], chunkBytes = 1_000): Promise<Answer> {
  let out = "";
  let err = "";
  const code = await run(["check", "-", "--data-dir", folder, ...options], {
    out: (text) => (out += text),
    err: (text) => (err += text),
    outIsTerminal: false,
    errIsTerminal: false,
    input: inChunks(Buffer.from(input), chunkBytes),
    stop: new AbortController().signal,
  });
  return { code, out, err };
}

function event(changes: Readonly<Record<string, unknown>> = {}): string {
  const fields = { event_id: randomUUID(), event_time: new Date().toISOString(), user_id: 7, event_type: "purchase", source: "web" };
  return JSON.stringify({ ...fields, properties: { amount: 5 }, ...changes });
}

describe("one verdict per line", () => {
  test.each([1, 2, 7, 64, 100_000])("of any bytes, in order, however the file is cut: chunks of %i", async (chunkBytes) => {
    const lines = [
      Buffer.from(event()),
      Buffer.from(`${event()}\r`),
      Buffer.from(""),
      Buffer.from("\r"),
      Buffer.from("   "),
      Buffer.from("not json"),
      Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
      Buffer.from('{"user_id":1}'),
      Buffer.from([0x00, 0x01]),
      Buffer.from(event({ event_type: "nothing_known" })),
    ];
    const input = Buffer.concat(lines.flatMap((line, i) => (i === 0 ? [line] : [Buffer.from("\n"), line])));
    const { code, out, err } = await check(input, [], chunkBytes);
    expect(out.split("\n")).toEqual([
      "ok",
      "ok",
      "reject json.empty @0",
      "reject json.empty @0",
      expect.stringMatching(/^reject json\.empty @\d$/),
      expect.stringMatching(/^reject json\.syntax @\d$/),
      expect.stringMatching(/^reject encoding @2$/),
      expect.stringMatching(/^reject schema\.required \/event_/),
      expect.stringMatching(/^reject (format|json\.syntax) @0$/),
      "reject unknown_event /event_type",
      "",
    ]);
    expect(code).toBe(3);
    expect(err).toMatch(/^10 lines by rules version 1: 2 ok, 0 flagged, 8 rejected\n {2}json\.empty +3\n/);
  });

  test("a line feed at the end begins no line, a file without bytes has none", async () => {
    expect(await check(`${event()}\n`)).toMatchObject({ code: 0, out: "ok\n" });
    expect(await check("")).toMatchObject({ code: 0, out: "" });
    expect((await check("\n\n")).out).toBe("reject json.empty @0\nreject json.empty @0\n");
  });

  test("a line as long as an event may be is checked, a longer one refused without being held", async () => {
    const fits = event().padEnd(LIMIT);
    const long = event().padEnd(LIMIT + 1);
    const { out } = await check(`${fits}\r\n${fits}\n${long}\n${long}\r\n${long.padEnd(3 * LIMIT)}\n${event()}`, [], 65_536);
    expect(out).toBe("ok\nok\nreject size.event\nreject size.event\nreject size.event\nok\n");
    const shown: number[] = [];
    const cutter = new LineCutter(10, (_bytes, start, end) => shown.push(end - start));
    for (let i = 0; i < 1_000; i++) cutter.add(Buffer.alloc(1_000, i % 2 === 0 ? "x" : "\r"));
    cutter.end();
    expect(shown).toEqual([12]);
  });

  test("a pointer that would not stay one word is quoted", async () => {
    const { out } = await check(event({ properties: { "a b\u001b": { "a b\u001b": "\u0000" } } }));
    expect(out).toBe('reject text.nul "/properties/a b\\u001b/a b\\u001b"\n');
  });
});

describe("the time that events count as produced at", () => {
  const old = event({ event_time: "2020-01-01T00:00:00Z" });

  test("is now, or what --at says, or not looked at", async () => {
    expect((await check(old)).out).toBe("reject time.ancient /event_time\n");
    expect((await check(old, ["--at", "2020-01-01T00:00:01Z"])).out).toBe("ok\n");
    expect((await check(event(), ["--at", "2020-01-01T00:00:01Z"])).out).toBe("reject time.future /event_time\n");
    expect(await check(old, ["--at", "none"])).toMatchObject({ code: 0, out: "ok\n" });
    expect(await check(old, ["--at", "yesterday"])).toMatchObject({
      code: 2,
      err: expect.stringContaining("--at: must be now, none or a time"),
    });
  });
});

describe("output and rules", () => {
  test("--json has one object per line, --quiet only the counts", async () => {
    const input = `${event()}\nx\n`;
    expect((await check(input, ["--json"])).out).toBe(
      '{"line":1,"verdict":"ok"}\n{"line":2,"verdict":"reject","reason":"json.syntax","pointer":"@0"}\n',
    );
    expect(await check(input, ["--quiet"])).toMatchObject({
      code: 3,
      out: "",
      err: expect.stringContaining("1 ok, 0 flagged, 1 rejected\n  json.syntax  1\n"),
    });
    const { out } = await check(input, ["--quiet", "--json"]);
    expect(JSON.parse(out)).toEqual({ rulesVersion: 1, lines: 2, ok: 1, flagged: 0, rejected: 1, codes: { "json.syntax": 1 } });
  });

  test("--rules judges by another release; a flag is shown and rejects nothing", async () => {
    const file = join(folder, "release.json");
    const fields = { "/properties/amount": { type: "number", max: 3, action: "flag" } };
    writeFileSync(file, JSON.stringify({ version: 9, eventTypes: [{ name: "purchase", fields }], sources: [{ name: "web" }] }));
    const answer = await check(`${event()}\n${event({ event_type: "click" })}\n`, ["--rules", file]);
    expect(answer).toMatchObject({ code: 3, err: expect.stringContaining("by rules version 9: 0 ok, 1 flagged, 1 rejected") });
    expect(answer.out).toMatch(/^ok flag rule\.flag.*\nreject unknown_event \/event_type\n$/);
    expect(await check("", ["--rules", join(folder, "none.json")])).toMatchObject({
      code: 3,
      err: expect.stringContaining("RULES_UNREADABLE"),
    });
  });

  test("a file that cannot be read is a usage error", async () => {
    const code = await run(["check", join(folder, "nothing.jsonl"), "--data-dir", folder], {
      out: () => undefined,
      err: () => undefined,
      outIsTerminal: false,
      errIsTerminal: false,
      input: inChunks(new Uint8Array(0), 1),
      stop: new AbortController().signal,
    });
    expect(code).toBe(2);
  });

  test("memory does not grow with the input", async () => {
    const lines = Buffer.from(`${event()}\nx\n`.repeat(5_000));
    async function* endless(mebibytes: number): AsyncGenerator<Uint8Array> {
      for (let sent = 0; sent < mebibytes << 20; sent += lines.length) yield lines;
    }
    const measure = async (mebibytes: number): Promise<number> => {
      await run(["check", "-", "--data-dir", folder], {
        out: () => undefined,
        err: () => undefined,
        outIsTerminal: false,
        errIsTerminal: false,
        input: endless(mebibytes),
        stop: new AbortController().signal,
      });
      return process.memoryUsage().arrayBuffers;
    };
    const small = await measure(4);
    expect(await measure(24)).toBeLessThan(small + (8 << 20));
  });
});
