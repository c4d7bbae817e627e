import { expect, test } from "vitest";
import { run } from "../../../cli/main.ts";
import { durationOption, exitCodeOf, numberOption, printable, table, TimeoutError } from "../../../cli/command.ts";
import { ConfigError, OperatingError, TransientError, UnavailableError } from "#shared/kernel/errors.ts";
import { InvariantError } from "#shared/kernel/assert.ts";

async function* nothing(): AsyncGenerator<Uint8Array> {}

async function weir(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = "";
  let err = "";
  const code = await run(args, {
    out: (text) => (out += text),
    err: (text) => (err += text),
    outIsTerminal: false,
    errIsTerminal: false,
    input: nothing(),
    stop: new AbortController().signal,
  });
  return { code, out, err };
}

const COMMANDS = ["send", "seed", "tail", "verify", "status", "check", "dlq", "topics", "rules"];

test("--help names every command and the exit codes", async () => {
  const { code, out } = await weir("--help");
  expect(code).toBe(0);
  for (const command of COMMANDS) expect(out).toMatch(new RegExp(`^  ${command} +\\S`, "m"));
  expect(out).toContain("3 a check failed");
});

test("no command is a usage error that still shows them", async () => {
  expect(await weir()).toMatchObject({ code: 2, out: expect.stringContaining("usage: weir COMMAND") });
});

test.each(COMMANDS)("weir %s --help shows a synopsis and two examples", async (command) => {
  const { code, out, err } = await weir(command, "--help");
  expect({ code, err }).toEqual({ code: 0, err: "" });
  expect(out).toMatch(new RegExp(`^usage: weir ${command}`));
  const examples = out
    .slice(out.indexOf("examples:"))
    .split("\n")
    .filter((line) => /^ {2}(weir|npm) /.test(line));
  expect(examples).toHaveLength(2);
});

test("an unknown command and an unknown option are refused with the nearest that exists", async () => {
  expect(await weir("verfy")).toMatchObject({ code: 2, err: expect.stringContaining("did you mean verify?") });
  expect(await weir("tail", "--folow")).toMatchObject({ code: 2, err: expect.stringContaining("did you mean --follow?") });
  expect(await weir("toString")).toMatchObject({ code: 2, err: expect.stringContaining("unknown command") });
});

test("arguments out of range are usage errors before anything is opened", async () => {
  expect(await weir("tail", "-n", "many")).toMatchObject({
    code: 2,
    err: expect.stringContaining("--rows: must be a whole number from 0 to 10000"),
  });
  expect(await weir("tail", "everything")).toMatchObject({
    code: 2,
    err: expect.stringContaining("must be one of raw, clean, windows, dlq, late"),
  });
  expect(await weir("send")).toMatchObject({ code: 2 });
  expect(await weir("send", "-", "--rate", "0")).toMatchObject({ code: 2 });
  expect(await weir("seed", "trains")).toMatchObject({ code: 2 });
  expect(await weir("verify", "--timeout", "30")).toMatchObject({ code: 2, err: expect.stringContaining("a number with a unit") });
});

test("where nothing runs, a command says so, names the way out and exits 4", async () => {
  const { code, err } = await weir("status", "--data-dir", "/nonexistent/weir");
  expect(code).toBe(4);
  expect(err).toBe("weir: no pipeline runs on /nonexistent/weir\n  fix: npm start\n  code: PIPELINE_NOT_FOUND\n");
});

test("the class of an error decides the exit code", () => {
  const options = { code: "X" };
  expect(exitCodeOf(new ConfigError(["a"]))).toBe(2);
  expect(exitCodeOf(new OperatingError("a", options))).toBe(3);
  expect(exitCodeOf(new UnavailableError("a", options))).toBe(4);
  expect(exitCodeOf(new TransientError("a", options))).toBe(4);
  expect(exitCodeOf(new TimeoutError("a", options))).toBe(5);
  expect(exitCodeOf(new InvariantError("a"))).toBe(1);
  expect(exitCodeOf(new TypeError("a"))).toBe(1);
});

test("numbers and durations need what they say", () => {
  expect(numberOption("n", "1e3", { from: 1, to: 1_000 })).toBe(1_000);
  expect(() => numberOption("n", "", { from: 0, to: 1 })).toThrow("--n: must be a number");
  expect(durationOption("t", "1.5m", 1)).toBe(90_000);
  expect(durationOption("t", undefined, 7)).toBe(7);
  expect(() => durationOption("t", "5", 1)).toThrow("--t: must be a number with a unit");
});

test("nothing in an event can steer the terminal", () => {
  expect(printable("a\u001b[2J\u0007b\r\n\u202ec\u200d\u009b")).toBe("a\\u{1b}[2J\\u{7}b\\u{d}\\u{a}\\u{202e}c\\u{200d}\\u{9b}");
  expect(printable("Zalgo \u00e9 \u65e5\u672c")).toBe("Zalgo \u00e9 \u65e5\u672c");
});

test("a table aligns words to the left and numbers to the right", () => {
  expect(
    table([
      ["topic", "n"],
      ["a", 100],
      ["longer", 7],
    ]),
  ).toBe("topic   n\na       100\nlonger    7\n");
});
