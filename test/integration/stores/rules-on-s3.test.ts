/** Releases in a bucket, as in the cloud: PostgreSQL decides, S3 carries them, the validator's source takes them from there. */
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test, vi } from "vitest";
import { createRulesSource } from "#functions/validator/rules-source.ts";
import { openRulesObjects } from "#shared/clients/objects/open-objects.ts";
import type { ObjectStore } from "#shared/clients/objects/object-store.ts";
import { Database } from "#shared/clients/postgres/database.ts";
import { migratePostgres } from "#shared/clients/postgres/migrate.ts";
import { applyRules, seedRules } from "#shared/clients/postgres/rules-store.ts";
import { publishNewest } from "#shared/clients/rules/publication.ts";
import { CURRENT_KEY, loadSeedRelease } from "#shared/rules/load-release.ts";
import { hasS3Server, startS3Server, type S3Server } from "#test/support/s3-server.ts";
import { uniqueLane } from "#test/support/stack.ts";

describe.skipIf(!hasS3Server)("releases of the rules in a bucket", () => {
  const edit = { actor: "ada", reason: "because" };
  let s3: S3Server;
  let admin: Database;
  let database: Database;
  let name: string;
  let objects: ObjectStore;

  beforeAll(async () => {
    s3 = await startS3Server();
    for (const [variable, value] of Object.entries(s3.environment)) vi.stubEnv(variable, value);
    admin = new Database(inject("stack").postgres);
  });

  afterAll(async () => {
    vi.unstubAllEnvs();
    await s3.stop();
    await admin.close();
  });

  beforeEach(async () => {
    const bucket = uniqueLane();
    name = `weir_${bucket.replace("-", "_")}`;
    const location = "<CreateBucketConfiguration><LocationConstraint>eu-central-1</LocationConstraint></CreateBucketConfiguration>";
    expect((await fetch(`${s3.endpoint}/${bucket}`, { method: "PUT", body: location })).status).toBe(200);
    objects = await openRulesObjects({ rulesUrl: `s3://${bucket}/weir`, dataDir: "unused" });
    await admin.query(`CREATE DATABASE ${name}`);
    const url = new URL(inject("stack").postgres);
    url.pathname = `/${name}`;
    database = new Database(url.toString());
    await migratePostgres(database);
    await seedRules(database, loadSeedRelease());
    await applyRules(database, edit);
    return async () => {
      await database.close();
      await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
    };
  });

  const publish = () => publishNewest({ database, objects, id: { lane: "test", generation: 1 }, actor: "test" });

  test("the validator takes a release from there at its time, reads no more than the pointer's tag while nothing changes, and goes on without the server", async () => {
    await publish();
    let nowMs = 0;
    let wallMs = Date.now();
    const problems: string[] = [];
    const answers: (string | null)[] = [];
    const source = createRulesSource({
      open: () =>
        Promise.resolve({
          address: objects.address,
          list: (prefix: string) => objects.list(prefix),
          read: async (key: string, options?: { readonly knownEtag?: string | undefined; readonly signal?: AbortSignal }) => {
            const answer = await objects.read(key, options);
            answers.push(answer === "unchanged" ? answer : key);
            return answer;
          },
        }),
      now: () => nowMs,
      wallClock: () => wallMs,
      onFallback: (problem) => problems.push(problem),
      waitMs: 30_000,
      freshMs: 0,
    });
    expect((await source.plan()).version).toBe(1);
    expect(answers).toEqual([CURRENT_KEY, "rules/1.json"]);
    for (let i = 0; i < 3; i++) {
      nowMs += 1_000;
      await source.plan();
    }
    expect(answers.slice(2)).toEqual([CURRENT_KEY, "unchanged", "unchanged"]);

    await database.query("UPDATE event_types SET is_active = false WHERE name = 'heartbeat'");
    await applyRules(database, edit);
    const { fromMs } = (await publish())!;
    nowMs += 1_000;
    expect((await source.plan()).version).toBe(1);
    wallMs = fromMs;
    expect((await source.plan()).version).toBe(2);

    await s3.stop();
    nowMs += 1_000;
    expect((await source.plan()).version).toBe(2);
    expect(problems).toEqual([expect.stringContaining(`cannot read ${CURRENT_KEY} in ${objects.address}`)]);
    expect(source.state()).toMatchObject({ version: 2, ageMs: 1_000, failingForMs: 0 });
    s3 = await startS3Server();
    for (const [variable, value] of Object.entries(s3.environment)) vi.stubEnv(variable, value);
  });

  test("of publishers at the same time each finds the work done, and the newest release is the one that is pointed at", async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 6 }, async (_, i) => {
        await database.query("UPDATE event_types SET description = $1 WHERE name = 'click'", [String(i)]);
        await database.query("UPDATE data_sources SET is_historical = NOT is_historical WHERE name = 'web'");
        await applyRules(database, { actor: `person ${i}`, reason: "all at once" });
        return publish();
      }),
    );
    const [newest] = await database.query<{ version: number; sha256: string }>(
      "SELECT version, sha256 FROM rules_releases ORDER BY version DESC LIMIT 1",
    );
    expect(Math.max(...outcomes.map((outcome) => outcome!.version))).toBe(newest!.version);
    const pointer = await objects.read(CURRENT_KEY);
    expect(pointer).not.toBeNull();
    expect(JSON.parse(Buffer.from((pointer as { bytes: Uint8Array }).bytes).toString())).toMatchObject({
      version: newest!.version,
      sha256: newest!.sha256,
    });
  });

  test("a bucket that is away leaves the release committed and says what finishes it", async () => {
    const away = await openRulesObjects({ rulesUrl: "s3://no-such-bucket/weir", dataDir: "unused" });
    await expect(publishNewest({ database, objects: away, id: { lane: "test", generation: 1 }, actor: "test" })).rejects.toMatchObject({
      name: "UnavailableError",
      code: "OBJECTS_UNAVAILABLE",
    });
    expect(await publish()).toMatchObject({ version: 1, pointerMoved: true });
  });
});
