/** ClickHouse's settings that decide exactly-once: what the sinks' user gets, what each table and target of a view remembers, and the schema. */
import { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import type { Config } from "#shared/config/config.ts";
import { describeDrift, type Drift } from "#shared/kernel/schema-drift.ts";
import { clickhouseDrift } from "#sinks/clickhouse/migrate.ts";
import { type Examination, Examiner } from "./doctor-finding.ts";
import { isReplicated } from "./migrate.ts";
import { queryRows } from "./table-rows.ts";

/** Before 24.8 a repeated block was not passed on to the views, or passed on without its token; nothing older than 25.8 was tried with this code. */
const VERSION_BROKEN_BELOW = [24, 8] as const;
const VERSION_TRIED_FROM = [25, 8] as const;
/** Known to break what is promised, as `major.minor`. */
const VERSIONS_BAD: Readonly<Record<string, string>> = {
  "24.7": "a repeated block reaches the views, and their targets have no token yet (ClickHouse issue 76110): every retry counts twice",
};
/** Half an hour of 64 partitions at one block a second; a sink that is down for longer reads the table before it inserts. */
const WINDOW_BLOCKS = 10_000;
const WINDOW_SECONDS = 86_400;

const INSERTS = {
  async_insert: ["0", "the server would gather rows of several inserts into blocks of its own: no retry is the same block"],
  insert_deduplicate: ["1", "a repeated block is inserted again"],
  deduplicate_blocks_in_dependent_materialized_views: ["1", "a repeated block is counted again in every view"],
  materialized_views_ignore_errors: ["0", "a block that a view could not take counts as inserted: the view loses rows"],
  parallel_view_processing: ["0", "views of one block are written in no order, so that an unclean end leaves some without it"],
} as const;

/** Idempotent by key. */
const REPLACING = ["windows", "dead_letters", "metrics_1min", "quality_1min", "cost_1min"];

interface Table {
  readonly name: string;
  readonly engine: string;
  readonly engineFull: string;
}

export async function examineClickhouse(config: Config): Promise<Examination> {
  const examiner = new Examiner("ClickHouse");
  const [server] = await queryRows<{ readonly version: string; readonly user: string }>(
    config,
    "SELECT version() AS version, currentUser() AS user",
  );
  examineVersion(examiner, server!.version);
  await examineUser(examiner, config, server!.user);
  const isPresent = await examineTables(examiner, config);
  // Without tables there is nothing to compare; that they lack is said above.
  if (isPresent) examineDrift(examiner, await driftOf(config));
  return examiner.result();
}

export function examineVersion(examiner: Examiner, version: string): void {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const isBelow = ([wantedMajor, wantedMinor]: readonly [number, number]): boolean =>
    major < wantedMajor || (major === wantedMajor && minor < wantedMinor);
  const fix = `ClickHouse ${VERSION_TRIED_FROM.join(".")} or newer`;
  const bad = VERSIONS_BAD[`${major}.${minor}`];
  const where = "server";
  if (bad !== undefined || isBelow(VERSION_BROKEN_BELOW))
    examiner.expect(false, { where, what: `version ${version}`, why: bad ?? "tokens do not reach the targets of views", fix });
  else
    examiner.expect(!isBelow(VERSION_TRIED_FROM), {
      where,
      what: `version ${version}`,
      why: "nothing older than the named one was tried with kill -9",
      fix,
    });
}

async function examineUser(examiner: Examiner, config: Config, user: string): Promise<void> {
  const names = Object.keys(INSERTS) as (keyof typeof INSERTS)[];
  const rows = await queryRows<{ readonly name: string; readonly value: string }>(
    config,
    `SELECT name, value FROM system.settings WHERE name IN (${names.map((name) => `'${name}'`).join(",")})`,
  );
  for (const name of names) {
    const [wanted, why] = INSERTS[name];
    const found = rows.find((row) => row.name === name)?.value;
    examiner.expect(found === wanted, {
      where: `settings of user ${user}`,
      what: found === undefined ? `${name} is not known to this server` : `${name} is ${found}, not ${wanted}`,
      why,
      fix: `<${name}>${wanted}</${name}> in the user's profile`,
    });
  }
}

/** False: the tables are not there. */
async function examineTables(examiner: Examiner, config: Config): Promise<boolean> {
  const { clickhouseDatabase: database } = config;
  const tables = await queryRows<Table>(
    config,
    "SELECT name, engine, engine_full AS engineFull FROM system.tables WHERE database = {database:String}",
    { database },
  );
  const views = await queryRows<{ readonly name: string; readonly query: string }>(
    config,
    "SELECT name, create_table_query AS query FROM system.tables WHERE database = {database:String} AND engine = 'MaterializedView'",
    { database },
  );
  const [defaults] = await queryRows<{ readonly plain: number; readonly blocks: number; readonly seconds: number }>(
    config,
    `SELECT (SELECT toFloat64(any(value)) FROM system.merge_tree_settings WHERE name = 'non_replicated_deduplication_window') AS plain,
            (SELECT toFloat64(any(value)) FROM system.merge_tree_settings WHERE name = 'replicated_deduplication_window') AS blocks,
            (SELECT toFloat64(any(value)) FROM system.merge_tree_settings WHERE name = 'replicated_deduplication_window_seconds') AS seconds`,
  );
  const named = ["events", "user_activity_1min", ...REPLACING];
  for (const name of [...named, "user_activity_1min_view"])
    examiner.expect(
      tables.some((table) => table.name === name),
      {
        where: `table ${database}.${name}`,
        what: "does not exist",
        why: "what the sinks write, or a view counts, has no place",
        fix: "weir migrate",
      },
    );
  const targets = views.map(({ query }) => /\bTO (?:\w+\.)?(\w+)/.exec(query)?.[1]);
  for (const [i, target] of targets.entries())
    examiner.expect(target !== undefined, {
      where: `view ${database}.${views[i]!.name}`,
      what: "has a target of its own making",
      why: "that table remembers no tokens: every retry counts twice",
      fix: "make the view anew with TO and a target that has a window of tokens",
    });
  const remembering = new Set([...named, ...targets.filter((target) => target !== undefined)]);
  for (const table of tables) {
    if (!remembering.has(table.name) || !table.engine.endsWith("MergeTree")) continue;
    examineWindow(examiner, database, table, defaults!);
  }
  const replaces = (name: string): boolean => tables.every((table) => table.name !== name || table.engine.includes("ReplacingMergeTree"));
  for (const name of REPLACING)
    examiner.expect(replaces(name), {
      where: `table ${database}.${name}`,
      what: "is no ReplacingMergeTree",
      why: "a row that is written again would count twice",
      fix: "weir migrate into a database of its own, then exchange the tables",
    });
  return tables.some(({ name }) => name === "events");
}

function examineWindow(
  examiner: Examiner,
  database: string,
  { name, engine, engineFull }: Table,
  defaults: { readonly plain: number; readonly blocks: number; readonly seconds: number },
): void {
  const settingOf = (setting: string): number | undefined => {
    const text = new RegExp(`\\b${setting} = (\\d+)`).exec(engineFull)?.[1];
    return text === undefined ? undefined : Number(text);
  };
  const why = "a block that is sent again after an answer was lost is not recognised: its rows count twice";
  const where = `table ${database}.${name}`;
  const expect = (setting: string, found: number, least: number): void =>
    examiner.expect(found >= least, {
      where,
      what: `${setting} is ${found}, below ${least}`,
      why,
      fix: `ALTER TABLE ${database}.${name} MODIFY SETTING ${setting} = ${least * 10}`,
    });
  if (engine.startsWith("Replicated")) {
    expect("replicated_deduplication_window", settingOf("replicated_deduplication_window") ?? defaults.blocks, WINDOW_BLOCKS);
    const seconds = settingOf("replicated_deduplication_window_seconds") ?? defaults.seconds;
    expect("replicated_deduplication_window_seconds", seconds, WINDOW_SECONDS);
  } else expect("non_replicated_deduplication_window", settingOf("non_replicated_deduplication_window") ?? defaults.plain, WINDOW_BLOCKS);
}

function examineDrift(examiner: Examiner, drifts: readonly Drift[]): void {
  if (drifts.length === 0) examiner.expect(true, { where: "", what: "", why: "", fix: "" });
  for (const drift of drifts)
    examiner.expect(false, {
      where: drift.what,
      what: describeDrift([drift]).split("\n").slice(1, -1).map((line) => line.trim()).join("; "), // prettier-ignore
      why: "the schema is not what the migrations make: what was tested is not what runs",
      fix: "weir migrate --dry-run shows it whole; put it back, and the change into a new migration",
    });
}

async function driftOf(config: Config): Promise<Drift[]> {
  // Settings in the address are the session's that is examined; the comparison wants none.
  const [url = ""] = config.clickhouse.split("?");
  const client = new Clickhouse({ url, user: config.clickhouseUser, password: config.clickhousePassword });
  try {
    return await clickhouseDrift(client, config.clickhouseDatabase, { replicated: await isReplicated(client, config) });
  } finally {
    await client.close();
  }
}
