import { describe, expect, it } from "vitest";
import { durationMs, parseStartOptions } from "#local/options.ts";
import { ConfigError } from "#shared/kernel/errors.ts";

function problemsOf(...args: string[]): readonly string[] {
  try {
    parseStartOptions(args, "/repo");
  } catch (thrown) {
    if (thrown instanceof ConfigError) return thrown.problems;
    throw thrown;
  }
  return [];
}

describe("the command line of npm start", () => {
  it("without options starts live load of 2,000 events per second on the kept folder of the project", () => {
    expect(parseStartOptions([], "/repo")).toEqual({
      rate: 2_000,
      seed: "live",
      headless: false,
      forMs: undefined,
      dataDir: "/repo/.weir/data",
      isUsualFolder: true,
      ephemeral: false,
      ports: "auto",
    });
  });

  it("gives a recorded data set a folder of its own", () => {
    expect(parseStartOptions(["--seed", "flights"], "/repo")?.dataDir).toBe("/repo/.weir/flights");
  });

  it("answers an unknown option with the one that was probably meant", () => {
    expect(problemsOf("--headles", "--rat=7")).toEqual([
      "--headles: unknown option, did you mean --headless?",
      "--rat: unknown option, did you mean --rate?",
    ]);
  });

  it("names every wrong value at once", () => {
    expect(problemsOf("--rate", "0", "--seed", "demo", "--for", "60", "--ports", "any", "--ephemeral", "--data-dir", "x")).toEqual([
      '--seed: must be one of live, none, flights, got "demo"',
      '--rate: must be events per second above 0, got "0"',
      '--for: must be a number with a unit, such as 500ms, 60s, 5m or 1h, got "60"',
      '--ports: must be auto or fixed, got "any"',
      "--ephemeral: keeps nothing, so that it goes not together with --data-dir",
    ]);
  });

  it("refuses a value that stands alone", () => {
    expect(problemsOf("fast")).toHaveLength(1);
  });

  it.each([
    ["500ms", 500],
    ["60s", 60_000],
    ["1.5m", 90_000],
    ["1h", 3_600_000],
  ])("reads %s as %d milliseconds", (text, expected) => expect(durationMs(text)).toBe(expected));

  it.each(["60", "s", "-1s", "1d", "1 s", ""])("takes %j for no duration", (text) => expect(durationMs(text)).toBeNaN());
});
