import { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { Database } from "#shared/clients/postgres/database.ts";
import { migratePostgres } from "#shared/clients/postgres/migrate.ts";
import { pendingPostgresMigrations, postgresDrift } from "#shared/clients/postgres/schema-drift.ts";
import type { Config } from "#shared/config/config.ts";
import { OperatingError } from "#shared/kernel/errors.ts";
import { describeDrift, type Drift } from "#shared/kernel/schema-drift.ts";
import { clickhouseDrift, migrateClickhouse, pendingClickhouseMigrations } from "#sinks/clickhouse/migrate.ts";
import { type Command, EXIT, parseOptions, UsageError } from "./command.ts";
import { findPipeline } from "./pipeline.ts";

const STORES = ["clickhouse", "postgres"] as const;
type StoreName = (typeof STORES)[number];

interface Store {
  readonly name: StoreName;
  pending(): Promise<string[]>;
  drift(): Promise<Drift[]>;
  apply(): Promise<string[]>;
  close(): Promise<void>;
}

export const command: Command = {
  summary: "bring the schemas of ClickHouse and PostgreSQL up to date",
  help: `usage: weir migrate [clickhouse] [postgres] [--dry-run] [--replicated] [--json] [--data-dir DIR]

Applies the numbered migrations that a store does not have yet; forward only, and harmless when repeated. First it compares the tables with what
the applied migrations make: where somebody altered them by hand it prints the difference, changes nothing and exits 3.

  --dry-run      says what would be applied, and changes nothing
  --replicated   ClickHouse: replicated engines, for a cluster with Keeper (a database that has them is recognised)

examples:
  weir migrate --dry-run
  weir migrate clickhouse --replicated
`,
  async run({ args, out }) {
    const { values, positionals } = parseOptions(args, { "dry-run": { type: "boolean" }, replicated: { type: "boolean" } });
    const wrong = positionals.find((name) => !(STORES as readonly string[]).includes(name));
    if (wrong !== undefined) throw new UsageError(`${wrong}: not a store with migrations, which are ${STORES.join(" and ")}`);
    const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
    const names = STORES.filter((name) => positionals.length === 0 || positionals.includes(name));
    const stores = await Promise.all(names.map((name) => open(name, config, values.replicated === true)));
    try {
      const drifts = await inTurn(stores, (store) => store.drift());
      refuseDrift(stores, drifts);
      const isDry = values["dry-run"] === true;
      const migrations = await inTurn(stores, (store) => (isDry ? store.pending() : store.apply()));
      const results = stores.map(({ name }, i) => ({ store: name, [isDry ? "pending" : "applied"]: migrations[i]! }));
      if (values.json === true) out(`${JSON.stringify({ stores: results })}\n`);
      else {
        const verb = isDry ? "would be applied" : "applied";
        for (const [i, { name }] of stores.entries()) {
          if (migrations[i]!.length === 0) out(`${name}: up to date\n`);
          for (const migration of migrations[i]!) out(`${name}: ${migration} ${verb}\n`);
        }
      }
      return EXIT.ok;
    } finally {
      await Promise.all(stores.map((store) => store.close()));
    }
  },
};

async function inTurn<T>(stores: readonly Store[], work: (store: Store) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (const store of stores) results.push(await work(store));
  return results;
}

/** @throws OperatingError MIGRATION_DRIFT with the difference. */
function refuseDrift(stores: readonly Store[], drifts: readonly (readonly Drift[])[]): void {
  const texts = stores.flatMap(({ name }, i) => (drifts[i]!.length === 0 ? [] : [`${name}:\n${describeDrift(drifts[i]!)}`]));
  if (texts.length === 0) return;
  throw new OperatingError(
    `the schema was altered by hand; - is what the migrations make, + what is there\n${texts.join("")}nothing was applied`,
    { code: "MIGRATION_DRIFT", hint: "put the tables back as they were and the change into a new migration" },
  );
}

async function open(name: StoreName, config: Config, replicated: boolean): Promise<Store> {
  if (name === "postgres") {
    const database = new Database(config.postgres);
    return {
      name,
      pending: () => pendingPostgresMigrations(database),
      drift: () => postgresDrift(database),
      apply: () => migratePostgres(database),
      close: () => database.close(),
    };
  }
  const client = new Clickhouse({ url: config.clickhouse, user: config.clickhouseUser, password: config.clickhousePassword });
  const options = { replicated: replicated || (await isReplicated(client, config)) };
  return {
    name,
    pending: () => pendingClickhouseMigrations(client, config.clickhouseDatabase),
    drift: () => clickhouseDrift(client, config.clickhouseDatabase, options),
    apply: () => migrateClickhouse(client, config.clickhouseDatabase, options),
    close: () => client.close(),
  };
}

export async function isReplicated(client: Clickhouse, { clickhouseDatabase: database }: Config): Promise<boolean> {
  const found = await client.query(
    "SELECT 1 FROM system.tables WHERE database = {database:String} AND name = 'events' AND engine LIKE 'Replicated%'",
    { database },
  );
  return found.length > 0;
}
