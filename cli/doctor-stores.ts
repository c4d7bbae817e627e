/** PostgreSQL and Redis: what the audit of rules and the guard of hot values rest on. */
import { Database } from "#shared/clients/postgres/database.ts";
import { missingTriggers, pendingPostgresMigrations } from "#shared/clients/postgres/schema-drift.ts";
import { RedisGroups } from "#shared/clients/redis/groups.ts";
import type { Config } from "#shared/config/config.ts";
import { type Examination, Examiner } from "./doctor-finding.ts";

/** HSET with several fields is older; scripts whose effects are replicated instead of themselves are the only kind since 7. */
const REDIS_MAJOR = 6;

export async function examinePostgres(config: Config): Promise<Examination> {
  const examiner = new Examiner("PostgreSQL");
  const database = new Database(config.postgres);
  try {
    for (const name of await pendingPostgresMigrations(database))
      examiner.expect(false, {
        where: `migration ${name}`,
        what: "is not applied",
        why: "this version reads and writes what it makes",
        fix: "weir migrate",
      });
    const { expected, missing } = await missingTriggers(database);
    for (let i = 0; i < expected - missing.length; i++) examiner.expect(true, { where: "", what: "", why: "", fix: "" });
    for (const { name, table } of missing)
      examiner.expect(false, {
        where: `table ${table}`,
        what: `trigger ${name} is missing or disabled`,
        why: whyOf(name),
        fix: `ALTER TABLE ${table} ENABLE TRIGGER ${name}, or make it as the migrations do`,
      });
    const [role] = await database.query<{ role: string }>("SELECT current_setting('session_replication_role') AS role");
    examiner.expect(role!.role === "origin", {
      where: "session",
      what: `session_replication_role is ${role!.role}, not origin`,
      why: "no trigger fires: changes of rules leave no trace and history can be rewritten",
      fix: "ALTER ROLE ... RESET session_replication_role, ALTER DATABASE ... RESET session_replication_role",
    });
    return examiner.result();
  } finally {
    await database.close();
  }
}

function whyOf(trigger: string): string {
  if (trigger.startsWith("audit")) return "a change of what events are judged by leaves no audit row";
  if (trigger === "count_version") return "two editors overwrite each other unseen";
  return "releases, the audit log and the record of replays can be changed afterwards: nothing proves what was in force";
}

export async function examineRedis(config: Config): Promise<Examination> {
  const examiner = new Examiner("Redis");
  const groups = new RedisGroups(config.redis);
  try {
    for (const [i, redis] of groups.all.entries()) {
      await redis.connect();
      const info = await redis.script("return redis.call('INFO')", [], []);
      examineInfo(examiner, groups.all.length === 1 ? "server" : `server of group ${i}`, String(info));
    }
    return examiner.result();
  } finally {
    groups.close();
  }
}

function examineInfo(examiner: Examiner, where: string, info: string): void {
  const value = (key: string): string | undefined => new RegExp(`^${key}:(.*?)\\r?$`, "m").exec(info)?.[1];
  // Valkey tells a Redis version for those who ask; it is the one it is compatible with.
  const version = value("redis_version") ?? "";
  examiner.expect(Number(version.split(".")[0]) >= REDIS_MAJOR, {
    where,
    what: `version ${version}`,
    why: "the script that guards each partition's mark needs a newer one",
    fix: `Redis ${REDIS_MAJOR} or newer, or Valkey`,
  });
  const policy = value("maxmemory_policy");
  examiner.expect(policy === "noeviction", {
    where,
    what: `maxmemory-policy is ${policy}, not noeviction`,
    why: "a full server drops marks: what was refused as old before would be taken, and a value would go back in time",
    fix: "CONFIG SET maxmemory-policy noeviction, and in its configuration",
  });
  examiner.expect(value("aof_enabled") === "1", {
    where,
    what: "appendonly is no, not yes",
    why: "after a restart every hot value is missing until the log has been read again from its beginning",
    fix: "CONFIG SET appendonly yes, and in its configuration",
  });
  examiner.expect(value("role") === "master", {
    where,
    what: `is a ${value("role")}, not the master`,
    why: "writes are refused, or land where a newer value already is",
    fix: "set WEIR_REDIS to the primary's address",
  });
}
