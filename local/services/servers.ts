/** The four servers as one thing: started together, stopped together. */
import { startClickhouse } from "./clickhouse.ts";
import { startKafka } from "./kafka.ts";
import { startPostgres } from "./postgres.ts";
import { startRedis } from "./redis.ts";
import type { RunningServer, ServerName, ServerOptions } from "./running-server.ts";

export const SERVER_NAMES = ["kafka", "clickhouse", "postgres", "redis"] as const satisfies readonly ServerName[];

/** As the configuration wants them. */
export type Addresses = Readonly<Record<ServerName, string>>;

const STARTS: Readonly<Record<ServerName, (options: ServerOptions) => Promise<RunningServer>>> = {
  kafka: startKafka,
  clickhouse: startClickhouse,
  postgres: startPostgres,
  redis: startRedis,
};

export function startServer(name: ServerName, options: ServerOptions): Promise<RunningServer> {
  return STARTS[name](options);
}
