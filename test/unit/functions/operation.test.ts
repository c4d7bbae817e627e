import { describe, expect, test, vi } from "vitest";
import { type Command, EXIT } from "#cli/command.ts";
import { optionsOf, runOperation } from "#functions/operation.ts";

const command = (run: Command["run"]): Command => ({ summary: "", help: "", run });
const context = (remainingMs: number) => ({ getRemainingTimeInMillis: () => remainingMs });

describe("the event of an operation", () => {
  const KNOWN = new Set(["reason", "dry-run", "limit", "set"]);

  test("becomes options, in their order, lists one by one; false is as good as not there", () => {
    expect(optionsOf({ reason: ["schema.type", "json.*"], limit: 10, "dry-run": true }, KNOWN)).toEqual([
      "--reason=schema.type",
      "--reason=json.*",
      "--limit=10",
      "--dry-run",
    ]);
    expect(optionsOf({ "dry-run": false }, KNOWN)).toEqual([]);
  });

  test("cannot smuggle another option in through a value", () => {
    expect(optionsOf({ set: "--data-dir=/tmp" }, KNOWN)).toEqual(["--set=--data-dir=/tmp"]);
  });

  test.each([[null], [[]], ["text"], [{ "data-dir": "/tmp" }], [{ limit: {} }], [{ reason: [null] }]])("%j is refused", (event) => {
    expect(() => optionsOf(event, KNOWN)).toThrow(expect.objectContaining({ code: "USAGE" }));
  });
});

describe("an operation", () => {
  test("answers with what the command prints as JSON, and what it tells people", async () => {
    vi.spyOn(console, "info").mockReturnValue();
    const answer = await runOperation(
      command(async ({ args, out, err }) => {
        err("on its way\n");
        out(`${JSON.stringify({ args })}\n`);
        return EXIT.ok;
      }),
      ["--a=1"],
      context(600_000),
    );
    expect(answer).toEqual({ exitCode: 0, result: { args: ["--a=1", "--json"] }, messages: "on its way\n" });
  });

  test("is told to stop before Lambda ends it, and may then say that it was interrupted", async () => {
    const waits = command(
      ({ stop }) =>
        new Promise((resolve) => {
          if (stop.aborted) resolve(EXIT.interrupted);
          else stop.addEventListener("abort", () => resolve(EXIT.interrupted));
        }),
    );
    await expect(runOperation(waits, [], context(30_001))).resolves.toMatchObject({ exitCode: EXIT.interrupted, result: null });
  });

  test("fails when the command does, by an exit code or by what it throws", async () => {
    await expect(
      runOperation(
        command(async () => EXIT.checkFailed),
        [],
        context(600_000),
      ),
    ).rejects.toMatchObject({ code: "OPERATION_FAILED" });
    const thrown = new Error("away");
    await expect(
      runOperation(
        command(() => Promise.reject(thrown)),
        [],
        context(600_000),
      ),
    ).rejects.toBe(thrown);
  });
});
