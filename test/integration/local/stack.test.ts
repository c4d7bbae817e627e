import { ClickHouseLogLevel, createClient } from "@clickhouse/client";
import { Redis } from "ioredis";
import { Kafka, logLevel } from "kafkajs";
import pg from "pg";
import { describe, expect, inject, it } from "vitest";
import { uniqueLane } from "#test/support/stack.ts";

const stack = inject("stack");

describe("the local servers are what their unmodified clients take them for", () => {
  it("Kafka 4 with transactions V2 takes topics and refuses to make them by itself", async () => {
    const kafka = new Kafka({ brokers: [stack.kafka], clientId: "test", logLevel: logLevel.NOTHING, retry: { retries: 0 } });
    const admin = kafka.admin();
    await admin.connect();
    try {
      const topic = `${uniqueLane()}.events.raw`;
      await admin.createTopics({ topics: [{ topic, numPartitions: 3 }], waitForLeaders: true });
      expect((await admin.fetchTopicMetadata({ topics: [topic] })).topics[0]?.partitions).toHaveLength(3);
      await expect(admin.fetchTopicMetadata({ topics: [`${topic}.misspelt`] })).rejects.toThrow(/does not host this topic-partition/);
    } finally {
      await admin.disconnect();
    }
  });

  it("ClickHouse leaves every insert a block of its own and takes Arrow-sized requests", async () => {
    const clickhouse = createClient({ url: stack.clickhouse });
    try {
      const answer = await clickhouse.query({
        query:
          "SELECT name, value FROM system.settings WHERE name IN ('async_insert', 'deduplicate_blocks_in_dependent_materialized_views') ORDER BY name",
        format: "JSONEachRow",
      });
      expect(await answer.json()).toEqual([
        { name: "async_insert", value: "0" },
        { name: "deduplicate_blocks_in_dependent_materialized_views", value: "1" },
      ]);
    } finally {
      await clickhouse.close();
    }
  });

  it("ClickHouse's reader account reads and cannot write", async () => {
    const reader = createClient({ url: stack.clickhouse, username: "reader", log: { level: ClickHouseLogLevel.OFF } });
    try {
      expect(await (await reader.query({ query: "SELECT 1 AS one", format: "JSONEachRow" })).json()).toEqual([{ one: 1 }]);
      await expect(reader.command({ query: "CREATE DATABASE intruder" })).rejects.toThrow(/Not enough privileges|readonly/i);
    } finally {
      await reader.close();
    }
  });

  it("PostgreSQL 18 keeps its own database and does not run as root", async () => {
    const client = new pg.Client({ connectionString: stack.postgres });
    await client.connect();
    try {
      const { rows } = await client.query<{ database: string; version: number }>(
        "SELECT current_database() AS database, current_setting('server_version_num')::int AS version",
      );
      expect(rows[0]?.database).toBe("weir");
      expect(rows[0]?.version).toBeGreaterThanOrEqual(180_000);
    } finally {
      await client.end();
    }
  });

  it("Redis runs Lua and logs every write to its append-only file", async () => {
    const redis = new Redis(stack.redis);
    try {
      const key = uniqueLane();
      expect(await redis.eval("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])", 1, key, "7")).toBe("7");
      expect(await redis.config("GET", "appendonly")).toEqual(["appendonly", "yes"]);
    } finally {
      redis.disconnect();
    }
  });
});
