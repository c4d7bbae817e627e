/**
 * Of the functions that run a command in the cloud: where the stores are and which secrets hold their logins. What is learned only at run time goes
 * into the environment, so that the command finds it where it always looks.
 */
import { type Config, environmentOf } from "./config.ts";

export interface OperationEnvironment {
  /** `host:port/database`; its login is in `postgresSecret`. */
  readonly postgresAddress: string | undefined;
  readonly postgresSecret: string | undefined;
  /** One address per replica. */
  readonly clickhouseReplicas: readonly string[];
  readonly clickhouseSecret: string | undefined;
  /** `host:port` each, TLS, in the order that decides which partition is where; their login is in `redisSecret`. */
  readonly redisAddresses: readonly string[];
  readonly redisSecret: string | undefined;
  /** PEM of the authority that signed the replicas' certificates. */
  readonly clickhouseCa: string | undefined;
}

const VARIABLES = {
  postgresAddress: "POSTGRES_ADDRESS",
  postgresSecret: "POSTGRES_SECRET",
  clickhouseReplicas: "CLICKHOUSE_REPLICAS",
  clickhouseSecret: "CLICKHOUSE_SECRET",
  redisAddresses: "REDIS_ADDRESSES",
  redisSecret: "REDIS_SECRET",
  clickhouseCa: "CLICKHOUSE_CA",
} as const;

/** The variables as a deployment sets them. */
export function operationVariables(values: Readonly<Partial<Record<keyof typeof VARIABLES, string>>>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [VARIABLES[key as keyof typeof VARIABLES], value]));
}

export function operationEnvironment(environment: Readonly<Record<string, string | undefined>> = process.env): OperationEnvironment {
  return {
    postgresAddress: environment[VARIABLES.postgresAddress],
    postgresSecret: environment[VARIABLES.postgresSecret],
    clickhouseReplicas: listOf(environment[VARIABLES.clickhouseReplicas]),
    clickhouseSecret: environment[VARIABLES.clickhouseSecret],
    redisAddresses: listOf(environment[VARIABLES.redisAddresses]),
    redisSecret: environment[VARIABLES.redisSecret],
    clickhouseCa: environment[VARIABLES.clickhouseCa],
  };
}

function listOf(text = ""): readonly string[] {
  return text.split(",").filter((address) => address !== "");
}

/** For every loadConfig of this process from now on. */
export function adoptConfig(config: Partial<Config>): void {
  Object.assign(process.env, environmentOf(config));
}
