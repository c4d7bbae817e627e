/** A short run of what `npm run soak -- kills` does without end. */
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { openKafka } from "#shared/clients/kafka/client.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { runKillRounds } from "./kill-rounds.ts";

let kafka: Kafka;
let brokers: string[];

beforeAll(async () => {
  brokers = inject("stack").kafka.split(",");
  kafka = await openKafka({ brokers, clientId: "weir-kills-test" });
});
afterAll(() => kafka.close());

test("ten rounds of kill -9 at random and at named points lose nothing and double nothing", { timeout: 240_000 }, async () => {
  const report = await runKillRounds({ rounds: 10, seed: Math.floor(Math.random() * 2 ** 31), cluster: { brokers, kafka } });
  expect(Object.values(report.kills).reduce((sum, count) => sum + count, 0)).toBe(10);
  expect(report.windows).toBeGreaterThan(0);
  expect(report.clean).toBeGreaterThan(report.fedRows / 2);
});
