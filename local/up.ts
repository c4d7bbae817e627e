/**
 * `npm start`: the whole pipeline on one machine. Servers and services are processes of their own, supervised; they go when this process
 * goes, however it goes. Exit codes: 0 stopped in order or balanced · 1 a bug · 2 usage · 3 the ledger does not balance · 4 something that is
 * needed is not there · 5 not drained in time · 130 interrupted before the end that was asked for.
 */
import { resolve } from "node:path";
import { ConfigError, OperatingError, toError } from "#shared/kernel/errors.ts";
import { givenKeys, loadConfig } from "#shared/config/config.ts";
import { say, sayFailure, seconds } from "./console.ts";
import { openDataFolder } from "./data-folder.ts";
import { parseStartOptions, type StartOptions, USAGE } from "./options.ts";
import { Pipeline } from "./pipeline.ts";
import { type Run, runForAWhile, runRecorded, runUntilStopped } from "./run.ts";
import { ROOT } from "./services/parts.ts";

const startedAt = performance.now();

class Interrupted extends Error {}

/** Rejects at the first SIGINT, SIGTERM or SIGHUP; the second ends the process at once, and its children with it. */
function interruption(): { readonly signal: AbortSignal; readonly rejected: Promise<never> } {
  const controller = new AbortController();
  const rejected = new Promise<never>((_resolve, reject) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.on(signal, () => {
        if (controller.signal.aborted) process.exit(130);
        controller.abort();
        reject(new Interrupted(signal));
      });
    }
  });
  rejected.catch(() => {});
  return { signal: controller.signal, rejected };
}

async function start(options: StartOptions): Promise<number> {
  const interrupted = interruption();
  const config = loadConfig();
  const isFlights = options.seed === "flights";
  const given = givenKeys();
  // Flag before environment before default.
  const fromConfig = options.isUsualFolder && !options.ephemeral && given.has("dataDir");
  const folder = await openDataFolder(fromConfig ? { ...options, dataDir: resolve(config.dataDir), isUsualFolder: false } : options);
  const pipeline = new Pipeline({
    config: isFlights ? { ...config, lane: "historical", historical: true } : config,
    given,
    dataDir: folder.dir,
    kept: folder.kept,
    ports: options.ports,
  });
  try {
    say(`weir: starting (${folder.dir})`);
    const run: Run = { pipeline, options, folder, startedAt, stop: interrupted.signal };
    const work = pipeline
      .start()
      .then(() => (isFlights ? runRecorded(run) : options.forMs === undefined ? runUntilStopped(run) : runForAWhile(run)));
    work.catch(() => {});
    return await Promise.race([work, interrupted.rejected]);
  } catch (thrown) {
    // Stopping a pipeline that was meant to run for ever is its good end.
    if (thrown instanceof Interrupted) return options.headless || options.forMs !== undefined || isFlights ? 130 : 0;
    sayFailure(thrown);
    return thrown instanceof ConfigError ? 2 : thrown instanceof OperatingError ? 4 : 1;
  } finally {
    const stoppingAt = performance.now();
    say("weir: stopping");
    await pipeline.stop();
    await folder.release();
    say(`weir: stopped after ${seconds(performance.now() - stoppingAt)}${folder.kept ? `, data kept in ${folder.dir}` : ", data deleted"}`);
  }
}

try {
  const options = parseStartOptions(process.argv.slice(2), ROOT);
  if (options === undefined) process.stdout.write(USAGE);
  process.exitCode = options === undefined ? 0 : await start(options);
} catch (thrown) {
  sayFailure(toError(thrown));
  process.exitCode = thrown instanceof ConfigError ? 2 : thrown instanceof OperatingError ? 4 : 1;
}
process.exit();
