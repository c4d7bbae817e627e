/** The stores that a backup is about, opened and closed. For a restore into a stopped pipeline's folder its servers are started, and stopped again. */
import { join } from "node:path";
import { lockFolder } from "#local/folder-lock.ts";
import type { RunningServer } from "#local/services/running-server.ts";
import { SERVER_NAMES, startServer } from "#local/services/servers.ts";
import { readLocalState } from "#local/state.ts";
import { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { Database } from "#shared/clients/postgres/database.ts";
import { type Config, givenKeys, loadConfig } from "#shared/config/config.ts";
import { OperatingError } from "#shared/kernel/errors.ts";
import { dataFolders, findPipeline, withKafka } from "./pipeline.ts";

/** Counting views anew takes as long as it takes. */
const STATEMENT_LIMIT_MS = 6 * 3_600_000;

export interface Stores {
  readonly kafka: Kafka;
  readonly clickhouse: Clickhouse;
  readonly postgres: Database;
}

export async function withStores<T>(config: Config, work: (stores: Stores) => Promise<T>): Promise<T> {
  const { clickhouse: url, clickhouseUser: user, clickhousePassword: password } = config;
  const clickhouse = new Clickhouse({ url, user, password, requestTimeoutMs: STATEMENT_LIMIT_MS });
  const postgres = new Database(config.postgres);
  try {
    return await withKafka(config, (kafka) => work({ kafka, clickhouse, postgres }));
  } finally {
    await postgres.close();
    await clickhouse.close();
  }
}

export interface RestoreTarget {
  readonly dataDir: string | undefined;
  readonly lane: string | undefined;
  /** Beside what runs. */
  readonly into: string | undefined;
}

export async function withRestoreServers<T>(target: RestoreTarget, work: (config: Config, stores: Stores) => Promise<T>): Promise<T> {
  const { into } = target;
  if (into !== undefined) {
    const { config } = findPipeline(target);
    return withStores(await besideOf(config, into), (stores) => work({ ...config, clickhouseDatabase: into }, stores));
  }
  const given = givenKeys();
  const named = { ...loadConfig(), ...(target.lane === undefined ? {} : { lane: target.lane }) };
  if (["kafka", "clickhouse", "postgres"].every((key) => given.has(key))) return withStores(named, (stores) => work(named, stores));
  const [dataDir = ""] = dataFolders(target.dataDir);
  const running = readLocalState(dataDir);
  if (running !== undefined) {
    throw new OperatingError(`the pipeline on ${dataDir} runs (pid ${running.pid})`, {
      code: "RESTORE_SINKS_RUN",
      hint: "stop it with Ctrl-C, or rehearse beside it: --into NAME",
    });
  }
  return withLocalServers(dataDir, async (addresses) => {
    const config = { ...named, ...addresses, dataDir };
    return withStores(config, (stores) => work(config, stores));
  });
}

/** PostgreSQL's database of that name is made; ClickHouse's by the restore. */
async function besideOf(config: Config, into: string): Promise<Config> {
  const server = new Database(config.postgres);
  try {
    const known = await server.query("SELECT 1 FROM pg_database WHERE datname = $1", [into]);
    if (known.length === 0) await server.query(`CREATE DATABASE "${into}"`);
  } finally {
    await server.close();
  }
  const url = new URL(config.postgres);
  url.pathname = `/${into}`;
  return { ...config, postgres: url.toString() };
}

type Addresses = Pick<Config, "kafka" | "clickhouse" | "postgres">;

async function withLocalServers<T>(dataDir: string, work: (addresses: Addresses) => Promise<T>): Promise<T> {
  const lock = await lockFolder(dataDir);
  const servers: RunningServer[] = [];
  try {
    const names = SERVER_NAMES.filter((name) => name !== "redis");
    const starts = await Promise.allSettled(names.map((name) => startServer(name, { dir: join(dataDir, name) })));
    for (const start of starts) if (start.status === "fulfilled") servers.push(start.value);
    const failure = starts.find((start) => start.status === "rejected");
    if (failure !== undefined) throw failure.reason;
    const addressOf = (name: string): string => servers.find((server) => server.name === name)!.address;
    return await work({ kafka: addressOf("kafka"), clickhouse: addressOf("clickhouse"), postgres: addressOf("postgres") });
  } finally {
    await Promise.allSettled(servers.map((server) => server.stop()));
    await lock.release();
  }
}
