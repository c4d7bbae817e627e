import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from "vitest";
import { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { type Config, environmentOf } from "#shared/config/config.ts";
import { groupId, topicName } from "#shared/events/names.ts";
import { PROGRESS_VERSION, type Progress } from "#shared/events/progress.ts";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import { migrateClickhouse } from "#sinks/clickhouse/migrate.ts";
import { settles } from "#test/support/process.ts";
import { uniqueLane } from "#test/support/stack.ts";

const MAIN = join(import.meta.dirname, "../../../dashboard/server/main.ts");
const DATABASE = "weir_test_status_page";
/** Port 1 of loopback: nothing listens there. */
const NOWHERE = "127.0.0.1:1";
const HOSTILE_TYPE = '<img src=x onerror="alert(1)">';

interface Status {
  readonly problems: Record<string, string>;
  readonly pipeline: unknown;
  readonly verified: unknown;
  readonly partitions: { rawEnd: number; accounted: number; inFlight: number; watermarkMs: number | null; counts: unknown }[] | null;
  readonly tables: {
    rows: number;
    recent: { event_type: string }[];
    reasons: unknown[];
    quality: { targets: { name: string }[]; rows: unknown[] };
    cost: unknown[];
  } | null;
}

let clickhouse: Clickhouse;
let folder: string;
let lane: string;
let page: ChildProcess | undefined;
let doors: Server[] = [];

beforeAll(async () => {
  clickhouse = new Clickhouse({ url: inject("stack").clickhouse, user: "default", password: "" });
  await migrateClickhouse(clickhouse, DATABASE, { replicated: false });
});

afterAll(async () => {
  await clickhouse.command(`DROP DATABASE ${DATABASE}`);
  await clickhouse.close();
});

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "weir-status-"));
  lane = uniqueLane();
});

afterEach(async () => {
  page?.kill("SIGKILL");
  page = undefined;
  for (const door of doors) door.close();
  doors = [];
  await rm(folder, { recursive: true, force: true });
});

/** Starts the page and returns its address. */
async function startPage(config: Partial<Config>): Promise<string> {
  const child = spawn(process.execPath, [MAIN], {
    env: { ...environmentOf({ dataDir: folder, lane, partitions: 2, clickhouseDatabase: DATABASE, ...config }), PATH: "/usr/bin:/bin" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  page = child;
  let out = "";
  let log = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (log += chunk.toString()));
  return settles(
    () => {
      expect(out, log).toContain("\n");
      return (JSON.parse(out.split("\n")[0]!) as { url: string }).url;
    },
    { unless: () => child.exitCode !== null },
  );
}

async function statusAt(url: string): Promise<Status> {
  const answer = await fetch(`${url}/api/status`);
  expect(answer.status).toBe(200);
  return (await answer.json()) as Status;
}

/** With headers that fetch would not let us send. */
function ask(url: string, headers: Record<string, string>, method = "GET"): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    request(url, { method, headers }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => resolve({ status: response.statusCode!, text }));
    })
      .on("error", reject)
      .end();
  });
}

/** A way to the broker that can be shut: the page bootstraps through it. */
async function openDoor(broker: string, port: number): Promise<number> {
  const [host = "", brokerPort = ""] = broker.split(":");
  const door = createServer((socket) => {
    const onward = connect(Number(brokerPort), host);
    socket.pipe(onward).pipe(socket);
    socket.on("error", () => onward.destroy());
    onward.on("error", () => socket.destroy());
  });
  await new Promise<void>((resolve) => door.listen(port, "127.0.0.1", resolve));
  doors.push(door);
  return (door.address() as AddressInfo).port;
}

async function insertEvent(): Promise<void> {
  await clickhouse.command(
    `INSERT INTO ${DATABASE}.events (event_id, event_time, user_id, event_type, timestamp, session_start, lane, gen, p, oseq)
     VALUES (generateUUIDv4(), now64(3), 18446744073709551615, '${HOSTILE_TYPE}', now64(3), now64(3), '${lane}', 1, 0, 1)`,
  );
}

/** Twice, as by a retry whose token is forgotten: counted once. */
async function insertMinute(): Promise<void> {
  for (let i = 0; i < 2; i++) {
    await clickhouse.command(
      `INSERT INTO ${DATABASE}.quality_1min SETTINGS insert_deduplicate = 0
       VALUES (toStartOfMinute(now()), '${HOSTILE_TYPE}', 'click', 400, 400, 400, 400, 400, 399, '${lane}', 1, 0, 1)`,
    );
    await clickhouse.command(
      `INSERT INTO ${DATABASE}.cost_1min SETTINGS insert_deduplicate = 0
       VALUES (toStartOfMinute(now()), 'web', 'redis', 400, 8000, 0.5, '${lane}', 1, 0, 1)`,
    );
  }
}

describe("the status page", () => {
  test("starts while Kafka and ClickHouse are down, and names both", async () => {
    const url = await startPage({ kafka: NOWHERE, clickhouse: `http://${NOWHERE}` });
    const status = await statusAt(url);
    expect(Object.keys(status.problems).toSorted()).toEqual(["ClickHouse", "Kafka"]);
    expect(status.problems["Kafka"]).toContain(NOWHERE);
    expect([status.partitions, status.tables]).toEqual([null, null]);
  });

  test("shows the tables while Kafka is down, and the partitions as soon as it answers", async () => {
    const { kafka: broker } = inject("stack");
    await createTopics([broker], topicSpecs(lane, 2, { replicationFactor: 1 }));
    await insertEvent();
    await insertMinute();
    const port = await openDoor(broker, 0);
    await new Promise((resolve) => doors.pop()!.close(resolve));
    const url = await startPage({ kafka: `127.0.0.1:${port}`, clickhouse: inject("stack").clickhouse });

    const without = await statusAt(url);
    expect(Object.keys(without.problems)).toEqual(["Kafka"]);
    expect(without.tables!.rows).toBe(1);
    // Markup in an event arrives as the text that it is; that the page puts it in as text is checked below.
    expect(without.tables!.recent.map((row) => row.event_type)).toEqual([HOSTILE_TYPE]);
    expect(without.tables!.quality.targets.map(({ name }) => name)[4]).toBe("accuracy");
    expect(without.tables!.quality.rows).toEqual([{ of: [HOSTILE_TYPE], events: 400, percents: [100, 100, 100, 100, 99.75] }]);
    expect(without.tables!.cost).toEqual([{ of: ["web", "redis"], events: 400, bytes: 8_000, usd: 0.5 }]);

    await openDoor(broker, port);
    const found = await settles(
      async () => {
        const status = await statusAt(url);
        expect(status.problems).toEqual({});
        return status;
      },
      { limitMs: 20_000, intervalMs: 200 },
    );
    expect(found.partitions!.map(({ rawEnd, accounted }) => [rawEnd, accounted])).toEqual([
      [0, 0],
      [0, 0],
    ]);
  });

  test("accounts for every record of events.raw by the committed progress, the rest is in flight", async () => {
    const { kafka: broker } = inject("stack");
    await createTopics([broker], topicSpecs(lane, 2, { replicationFactor: 1 }));
    const kafka = await openKafka({ brokers: [broker], clientId: "status-test" });
    try {
      const records = Array.from({ length: 7 }, (_, i) => ({ key: null, value: Buffer.from(String(i)) }));
      await kafka.produce({ topic: topicName(lane, "raw"), partition: 1 }, records);
      const counts = { raw: 5, clean: 2, deadLettered: 1, duplicate: 1, late: 1, redelivered: 3 };
      const progress: Progress = {
        v: PROGRESS_VERSION,
        hw: 4,
        oseq: { clean: 2, windows: 0, dlq: 1, late: 1, partials: 0, alerts: 0 },
        watermarkMs: 1_700_000_000_000,
        logTimeMs: 1_700_000_005_000,
        hash: "0".repeat(16),
        foldVersion: 1,
        rulesVersion: 1,
        cut: 1,
        counts,
      };
      const at = { topic: topicName(lane, "valid"), partition: 1, offset: 0, metadata: JSON.stringify(progress) };
      await kafka.commitOffsets(groupId({ lane, generation: 1 }, "processor"), [at]);
      const url = await startPage({ kafka: broker, clickhouse: `http://${NOWHERE}` });
      const status = await statusAt(url);
      expect(Object.keys(status.problems)).toEqual(["ClickHouse"]);
      expect(status.partitions![0]).toMatchObject({ rawEnd: 0, accounted: 0, inFlight: 0, watermarkMs: null, counts: null });
      expect(status.partitions![1]).toMatchObject({ rawEnd: 7, accounted: 5, inFlight: 2, watermarkMs: 1_700_000_000_000, counts });
    } finally {
      await kafka.close();
    }
  });

  test("passes on what the starter and verify wrote, and lives with files that are torn", async () => {
    await writeFile(join(folder, "status.json"), '{"parts":[{"name":"processor","state":"running"}]}');
    await writeFile(join(folder, "verify.json"), '{"lost":0,"doub');
    const url = await startPage({ kafka: NOWHERE, clickhouse: `http://${NOWHERE}` });
    const status = await statusAt(url);
    expect(status.pipeline).toEqual({ parts: [{ name: "processor", state: "running" }] });
    expect(status.verified).toBeNull();
  });

  test("answers its own address only, reads only, and runs no markup and no script of others", async () => {
    const url = await startPage({ kafka: NOWHERE, clickhouse: `http://${NOWHERE}` });
    const { port } = new URL(url);
    expect((await ask(url, { host: `localhost:${port}` })).status).toBe(200);
    for (const host of ["evil.example", `evil.example:${port}`, "127.0.0.1", `127.0.0.1:${Number(port) + 1}`]) {
      expect((await ask(`${url}/api/status`, { host })).status, host).toBe(403);
    }
    expect((await ask(`${url}/api/status`, { host: `127.0.0.1:${port}`, origin: "http://evil.example" })).status).toBe(403);
    expect((await ask(`${url}/api/status`, { host: `127.0.0.1:${port}` }, "POST")).status).toBe(405);
    expect((await ask(`${url}/../server/main.ts`, { host: `127.0.0.1:${port}` })).status).toBe(404);

    const answer = await fetch(url);
    const policy = answer.headers.get("content-security-policy")!;
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toMatch(/unsafe|https?:/);
    expect(await answer.text()).not.toMatch(/https?:|<script(?! src="\/)/);
    const script = await (await fetch(`${url}/page.js`)).text();
    expect(script).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(/);
  });

  test("leaves when it is asked to", async () => {
    await startPage({ kafka: NOWHERE, clickhouse: `http://${NOWHERE}` });
    const left = new Promise((resolve) => page!.once("exit", resolve));
    page!.kill("SIGTERM");
    expect(await left).toBe(0);
  });
});
