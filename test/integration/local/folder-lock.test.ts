import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openDataFolder } from "#local/data-folder.ts";
import { lockFolder } from "#local/folder-lock.ts";
import { parseStartOptions } from "#local/options.ts";
import { settles } from "#test/support/process.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "weir-lock-"));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

it("a held folder is refused with its holder's pid, also under another name, until it is released", async () => {
  const dir = join(folder, "data");
  const lock = await lockFolder(dir);
  symlinkSync(dir, join(folder, "alias"));
  await expect(lockFolder(join(folder, "alias"))).rejects.toThrow(`is in use by pid ${process.pid}`);
  await lock.release();
  await (await lockFolder(dir)).release();
});

it("of many who ask at once exactly one gets the folder", async () => {
  const attempts = await Promise.allSettled(Array.from({ length: 20 }, () => lockFolder(folder)));
  const winners = attempts.flatMap((attempt) => (attempt.status === "fulfilled" ? [attempt.value] : []));
  expect(winners).toHaveLength(1);
  await winners[0]!.release();
});

it("the lock of a holder that was killed with -9 is free, whatever its file says", async () => {
  const script = `import { lockFolder } from "#local/folder-lock.ts"; await lockFolder(process.argv[1]); console.log("held"); setInterval(() => {}, 60_000);`;
  const holder = spawn(process.execPath, ["--input-type=module-typescript", "-e", script, folder], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise((resolve) => holder.stdout.once("data", resolve));
  await expect(lockFolder(folder)).rejects.toThrow(`is in use by pid ${holder.pid}`);
  holder.kill("SIGKILL");
  const lock = await settles(() => lockFolder(folder));
  await lock.release();
});

it("a recorded run never empties a folder that somebody named", async () => {
  writeFileSync(join(folder, "thesis.txt"), "precious");
  const options = parseStartOptions(["--seed", "flights", "--data-dir", folder], "/repo")!;
  await expect(openDataFolder(options)).rejects.toThrow(`data folder ${folder} is not empty`);
  rmSync(join(folder, "thesis.txt"));
  await (await openDataFolder(options)).release();
});

it("a recorded run begins with an empty folder of the project's own", async () => {
  const usual = join(folder, ".weir/flights");
  mkdirSync(join(usual, "kafka"), { recursive: true });
  writeFileSync(join(usual, "kafka/old"), "");
  const data = await openDataFolder(parseStartOptions(["--seed", "flights"], folder)!);
  expect(data.dir).toBe(usual);
  expect(() => rmSync(join(usual, "kafka"))).toThrow(/ENOENT/);
  await data.release();
});
