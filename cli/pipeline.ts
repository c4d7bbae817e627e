/** Finds the pipeline that a command is about: WEIR_* variables first, then what a starter left in its data folder. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type LocalState, readLocalState } from "#local/state.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import type { NumberedKafka } from "#shared/clients/kafka/types.ts";
import { type Config, givenKeys, loadConfig } from "#shared/config/config.ts";
import { UnavailableError } from "#shared/kernel/errors.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** Where `npm start` keeps live data and the recorded run. */
const USUAL_FOLDERS = [".weir/data", ".weir/flights"];
/** A command that finds no broker should say so soon. */
const UNAVAILABLE_AFTER_MS = 5_000;

export interface Pipeline {
  readonly config: Config;
  /** Undefined: found by variables alone. */
  readonly local: LocalState | undefined;
}

/** @throws UnavailableError when nothing runs and no variable names servers. */
export function findPipeline(options: { readonly dataDir?: string | undefined; readonly lane?: string | undefined }): Pipeline {
  const config = loadConfig();
  const given = givenKeys();
  const folders = dataFolders(options.dataDir);
  const local = folders.map((folder) => readLocalState(folder)).find((state) => state !== undefined);
  if (local === undefined && !given.has("kafka")) {
    const known = folders.filter((folder) => existsSync(folder));
    throw new UnavailableError(`no pipeline runs on ${(known.length === 0 ? folders : known).join(" or ")}`, {
      code: "PIPELINE_NOT_FOUND",
      hint: "npm start",
    });
  }
  const { pid: _pid, statusUrl: _url, ...addresses } = local ?? { pid: 0, statusUrl: "" };
  const fromFolder = Object.fromEntries(Object.entries(addresses).filter(([key]) => !given.has(key)));
  return { config: { ...config, ...fromFolder, ...(options.lane === undefined ? {} : { lane: options.lane }) }, local };
}

/** Where a pipeline's data may lie: the folder that is named, else the usual ones. */
export function dataFolders(named: string | undefined): string[] {
  if (named !== undefined) return [resolve(named)];
  return givenKeys().has("dataDir") ? [resolve(loadConfig().dataDir)] : USUAL_FOLDERS.map((folder) => join(ROOT, folder));
}

/** Opens, calls and closes. */
export async function withKafka<T>(config: Config, work: (kafka: NumberedKafka) => Promise<T>): Promise<T> {
  const kafka = await openKafka({ ...(await kafkaOptions(config)), clientId: "weir-cli", unavailableAfterMs: UNAVAILABLE_AFTER_MS });
  try {
    return await work(kafka);
  } finally {
    await kafka.close();
  }
}
