import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "@clickhouse/client";
import { Redis } from "ioredis";
import { Kafka, logLevel, type Producer } from "kafkajs";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { freePorts, isPortFree, ownerOfPort } from "#local/services/port.ts";
import type { RunningServer, ServerName } from "#local/services/running-server.ts";
import { startServer } from "#local/services/servers.ts";
import { isRunning, settles } from "#test/support/process.ts";

let folder: string;
let server: RunningServer | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "weir-servers-"));
  chmodSync(folder, 0o755);
});

afterEach(async () => {
  await server?.stop();
  server = undefined;
  rmSync(folder, { recursive: true, force: true });
});

/** Starts, kills with -9, and starts again on the same folder and port. */
async function startKillStart(name: ServerName, write: (address: string) => Promise<void>): Promise<string> {
  const first = await startServer(name, { dir: folder });
  server = first;
  await write(first.address);
  process.kill(first.pid, "SIGKILL");
  expect((await first.exited).signal).toBe("SIGKILL");
  server = await startServer(name, { dir: folder, port: first.port });
  expect(server.address).toBe(first.address);
  return server.address;
}

describe("what a server has acknowledged survives kill -9 of it", () => {
  it("Kafka: a record sent with acks=all", async () => {
    const send = async (producer: Producer): Promise<void> => {
      await producer.connect();
      await producer.send({ topic: "test.kept", acks: -1, messages: [{ key: "1", value: "kept" }] });
      await producer.disconnect();
    };
    const kafkaAt = (address: string) => new Kafka({ brokers: [address], clientId: "test", logLevel: logLevel.NOTHING });
    const address = await startKillStart("kafka", async (at) => {
      const admin = kafkaAt(at).admin();
      await admin.connect();
      await admin.createTopics({ topics: [{ topic: "test.kept", numPartitions: 1 }], waitForLeaders: true });
      await admin.disconnect();
      await send(kafkaAt(at).producer());
    });
    const admin = kafkaAt(address).admin();
    await admin.connect();
    try {
      expect(await admin.fetchTopicOffsets("test.kept")).toMatchObject([{ partition: 0, high: "1" }]);
    } finally {
      await admin.disconnect();
    }
  });

  it("ClickHouse: an inserted row, and the token that makes its retry a no-op", async () => {
    const insert = async (url: string): Promise<void> => {
      const client = createClient({ url });
      await client.command({
        query:
          "CREATE TABLE IF NOT EXISTS kept (n UInt32) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100",
      });
      await client.insert({
        table: "kept",
        values: [{ n: 7 }],
        format: "JSONEachRow",
        clickhouse_settings: { insert_deduplication_token: "block-1" },
      });
      await client.close();
    };
    const address = await startKillStart("clickhouse", insert);
    await insert(address);
    const client = createClient({ url: address });
    const answer = await client.query({ query: "SELECT n FROM kept", format: "JSONEachRow" });
    expect(await answer.json()).toEqual([{ n: 7 }]);
    await client.close();
  });

  it("PostgreSQL: a committed row", async () => {
    const address = await startKillStart("postgres", async (connectionString) => {
      const client = new pg.Client({ connectionString });
      await client.connect();
      await client.query("CREATE TABLE kept AS SELECT 7 AS n");
      await client.end();
    });
    const client = new pg.Client({ connectionString: address });
    await client.connect();
    expect((await client.query("SELECT n FROM kept")).rows).toEqual([{ n: 7 }]);
    await client.end();
  });

  it("Redis: a write that has reached the append-only file", async () => {
    const address = await startKillStart("redis", async (at) => {
      const redis = new Redis(at);
      await redis.set("kept", "7");
      // 0 replicas, 1 local copy on disk.
      expect(await redis.call("WAITAOF", "1", "0", "5000")).toEqual([1, 0]);
      redis.disconnect();
    });
    const redis = new Redis(address);
    expect(await redis.get("kept")).toBe("7");
    redis.disconnect();
  });
});

describe("a server is stopped, found and refused as it should be", () => {
  it.each(["kafka", "clickhouse", "postgres", "redis"] as const)(
    "%s leaves no process and no port behind when it is stopped",
    async (name) => {
      const running = await startServer(name, { dir: folder });
      server = running;
      await running.stop();
      expect(isRunning(running.pid)).toBe(false);
      await settles(async () => expect(await isPortFree(running.port)).toBe(true));
    },
  );

  it("a taken port is refused with the pid and the name of its owner", async () => {
    const running = await startServer("redis", { dir: folder });
    server = running;
    expect(await ownerOfPort(running.port)).toMatch(new RegExp(`^pid ${running.pid} \\(.+\\)$`));
    await expect(startServer("redis", { dir: join(folder, "second"), port: running.port })).rejects.toThrow(
      `port ${running.port} for Redis is used by pid ${running.pid}`,
    );
  });

  it("a server that cannot come up is reported with the last lines of its log", async () => {
    const dir = join(folder, "redis");
    server = await startServer("redis", { dir });
    const client = new Redis(server.address);
    await client.set("a", "1");
    client.disconnect();
    await server.stop();
    const aof = join(dir, "appendonlydir");
    rmSync(join(aof, "appendonly.aof.manifest"));
    writeFileSync(join(aof, "appendonly.aof.manifest"), "torn\n");
    await expect(startServer("redis", { dir })).rejects.toThrow(
      /redis ended during its start \(exit 1\)\n {2}last lines of its log:\n.*manifest/s,
    );
    expect(readFileSync(join(dir, "server.log"), "utf8")).toContain("manifest");
  });

  it("a start that is called off ends its server", async () => {
    const controller = new AbortController();
    const [port] = await freePorts(1);
    const start = startServer("kafka", { dir: folder, port: port!, signal: controller.signal });
    setTimeout(() => controller.abort(new Error("called off")), 300);
    await expect(start).rejects.toThrow("called off");
    expect(await isPortFree(port!)).toBe(true);
  });
});
