import { describe, expect, test } from "vitest";
import { grantsOf, grantText } from "#shared/clients/kafka/acls.ts";
import { KAFKA_PARTS, kafkaRights } from "#shared/events/kafka-rights.ts";
import { OUTPUT_ROLES, TOPICS, type TopicRole, topicName, transactionalId } from "#shared/events/names.ts";

const ID = { lane: "live", generation: 3 };

describe("rights in Kafka", () => {
  const rights = kafkaRights(ID);
  const who = (right: "read" | "write", role: TopicRole): string[] =>
    KAFKA_PARTS.filter((part) => rights[part][right].includes(topicName("live", role)));

  test("only the processor reads events.valid, and only it writes outputs", () => {
    expect(who("read", "valid")).toEqual(["processor"]);
    for (const role of OUTPUT_ROLES) expect(who("write", role)).toEqual(["processor"]);
    expect(KAFKA_PARTS.filter((part) => rights[part].transactionalIdPrefix !== undefined)).toEqual(["processor"]);
  });

  test("the processor's prefix covers its transactional ids and those of no other lane or generation", () => {
    const prefix = rights.processor.transactionalIdPrefix!;
    for (const partition of [0, 9, 319]) expect(transactionalId(ID, partition)).toMatch(new RegExp(`^${prefix}`));
    for (const other of [
      { lane: "live", generation: 4 },
      { lane: "live", generation: 33 },
      { lane: "live-2", generation: 3 },
    ])
      expect(transactionalId(other, 0).startsWith(prefix)).toBe(false);
  });

  test("a producer can do no more than write events", () => {
    expect(rights.producer).toEqual({ read: [], write: [TOPICS.raw], groups: [] });
  });

  test("another lane's rights name none of the live topics and groups", () => {
    const live = new Set<string>(Object.values(TOPICS));
    for (const { read, write, describe: seen = [] } of Object.values(kafkaRights({ lane: "history", generation: 1 })))
      for (const topic of [...read, ...write, ...seen]) expect(live.has(topic)).toBe(false);
  });

  test("as lines of an access list no two are the same, and a prefix is written as one only where it must be", () => {
    const grants = KAFKA_PARTS.flatMap((part) => grantsOf(`User:${part}`, rights[part]));
    expect(new Set(grants.map(grantText)).size).toBe(grants.length);
    expect(grants.filter(({ isPrefix }) => isPrefix).map(grantText)).toEqual(["User:processor may write transactional-id weir-live-3-*"]);
  });
});
