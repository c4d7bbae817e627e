/**
 * The whole pipeline under load, one random part of it killed with -9 every so often, then drained and recounted: what `npm run soak -- pipeline`
 * does for as long as it is told.
 */
import { setTimeout as pause } from "node:timers/promises";
import { rmSync } from "node:fs";
import { readPipelineStatus } from "#local/state.ts";
import { Starter, temporaryFolder } from "#test/support/starter.ts";
import { Random } from "../simulation/world.ts";

export interface KillRunOptions {
  readonly seconds: number;
  readonly everySeconds: number;
  readonly eventsPerSecond: number;
  readonly seed: number;
  readonly say: (line: string) => void;
}

/** The starter's own exit code: 0 = the ledger balances. The data stay when it is another. */
export async function runKills({ seconds, everySeconds, eventsPerSecond, seed, say }: KillRunOptions): Promise<number> {
  const random = new Random(seed);
  const folder = temporaryFolder();
  const args = ["--data-dir", folder, "--rate", String(eventsPerSecond), "--headless", "--for", `${seconds}s`];
  const starter = new Starter(args, folder);
  await starter.says(/first event in ClickHouse after/);
  const kills: Record<string, number> = {};
  const until = performance.now() + seconds * 1_000;
  while (performance.now() + everySeconds * 1_000 < until) {
    await pause(everySeconds * 1_000);
    const running = (readPipelineStatus(folder)?.parts ?? []).filter(({ state, pid }) => state === "running" && pid !== null);
    if (running.length === 0) continue;
    const victim = running[random.int(0, running.length - 1)]!;
    process.kill(victim.pid!, "SIGKILL");
    kills[victim.name] = (kills[victim.name] ?? 0) + 1;
    say(`${victim.name} killed`);
  }
  const code = await starter.exited;
  say(`${starter.stdout.trimEnd()}\nkills of ${JSON.stringify(kills)}, seed ${seed}`);
  if (code === 0) rmSync(folder, { recursive: true, force: true });
  else say(`${starter.stderr}\nthe data are in ${folder}`);
  return code;
}
