import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import { readSettings } from "#shared/clients/kafka/settings.ts";
import type { Config } from "#shared/config/config.ts";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import { describeError, OperatingError } from "#shared/kernel/errors.ts";
import { type Command, EXIT, parseOptions } from "./command.ts";
import { examineClickhouse } from "./doctor-clickhouse.ts";
import type { Examination } from "./doctor-finding.ts";
import { examineKafka } from "./doctor-kafka.ts";
import { examinePostgres, examineRedis } from "./doctor-stores.ts";
import { findPipeline } from "./pipeline.ts";

export const command: Command = {
  summary: "read every setting of the servers that decides exactly-once",
  help: `usage: weir doctor [--json] [--lane NAME] [--data-dir DIR]

Reads what Kafka, ClickHouse, PostgreSQL and Redis are set to, and whether tables, views and triggers are as the migrations made them. Silent
where all is right; each line says what is off, where, what breaks with it and how to mend it. Exit 0 when exactly-once can be claimed, 3 when
not, or when a server could not be asked (unknown). It changes nothing.

examples:
  weir doctor
  weir doctor --json | jq '.servers[].findings'
`,
  async run({ args, out }) {
    const { values } = parseOptions(args, {});
    const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
    const servers = await Promise.all([
      examined("Kafka", () => kafka(config)),
      examined("ClickHouse", () => examineClickhouse(config)),
      examined("PostgreSQL", () => examinePostgres(config)),
      examined("Redis", () => examineRedis(config)),
    ]);
    const verdict = servers.some(({ findings }) => findings.length > 0)
      ? "refused"
      : servers.some(({ unknown }) => unknown !== null)
        ? "unknown"
        : "exactly-once";
    out(values.json === true ? `${JSON.stringify({ verdict, servers })}\n` : describe(servers, verdict));
    return verdict === "exactly-once" ? EXIT.ok : EXIT.checkFailed;
  },
};

async function kafka(config: Config): Promise<Examination> {
  const topics = topicSpecs(config.lane, config.partitions, { replicationFactor: 1 }).map(({ topic }) => topic);
  return examineKafka(config, await readSettings(await kafkaOptions(config), topics));
}

/** A server that is down says nothing about the others. */
async function examined(server: string, examine: () => Promise<Examination>): Promise<Examination> {
  try {
    return await examine();
  } catch (thrown) {
    if (!(thrown instanceof OperatingError)) throw thrown;
    return { server, looked: 0, unknown: describeError(thrown).replaceAll("\n", " "), findings: [] };
  }
}

function describe(servers: readonly Examination[], verdict: string): string {
  const lines = servers.flatMap(({ server, unknown, findings }) => [
    ...findings.map(({ where, what, why, fix }) => `${server}: ${where}: ${what}; ${why}; fix: ${fix}`),
    ...(unknown === null ? [] : [`${server}: unknown: ${unknown}`]),
  ]);
  const looked = servers.reduce((sum, each) => sum + each.looked, 0);
  const last = {
    "exactly-once": `exactly-once: ${looked} settings looked at, none is off`,
    refused: `exactly-once is not claimed: ${lines.length} of ${looked} settings are off`,
    unknown: "exactly-once is not claimed: unknown, since not every server could be asked",
  }[verdict];
  return `${[...lines, last].join("\n")}\n`;
}
