/** The processor's process against a real broker: killed at every point of the commit protocol, overtaken, handed over, and asked to rebuild. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from "vitest";
import { openFolderStore } from "#processor/checkpoint/folder-store.ts";
import { parseSnapshotKey, snapshotKey, snapshotPrefix } from "#processor/checkpoint/snapshot-key.ts";
import { freePorts } from "#local/services/port.ts";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { kafkaJs } from "#shared/clients/kafka/kafkajs-client.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { type Config, environmentOf, loadConfig } from "#shared/config/config.ts";
import { groupId, topicName } from "#shared/events/names.ts";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import type { FailpointName } from "#shared/kernel/failpoint.ts";
import { settles } from "#test/support/process.ts";
import { parsePrometheus } from "#test/support/prometheus-text.ts";
import { uniqueLane } from "#test/support/stack.ts";
import { BlockFeed, expectCaughtUp, expectExactlyOnce } from "./block-feed.ts";
import { ProcessorProcess } from "./processor-process.ts";

let folder: string;
let kafka: Kafka;
let brokers: string[];
const processes: ProcessorProcess[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "weir-processor-"));
  brokers = inject("stack").kafka.split(",");
  kafka = await openKafka({ brokers, clientId: "weir-processor-test" });
});

afterEach(() => {
  for (const each of processes.splice(0)) each.kill();
});

afterAll(async () => {
  await kafka.close();
  await rm(folder, { recursive: true, force: true });
});

async function pipeline(more: Partial<Config> = {}): Promise<Config> {
  const lane = uniqueLane();
  const given = {
    lane,
    kafka: brokers.join(","),
    partitions: 2,
    dataDir: join(folder, lane),
    snapshotIntervalMs: 200,
    cutMs: 100,
    // Who is started after a kill takes over without waiting for the session of the dead.
    processorInstance: "only",
    ...more,
  };
  const config = loadConfig(environmentOf(given));
  await createTopics(brokers, topicSpecs(lane, config.partitions, { replicationFactor: 1 }));
  return config;
}

function start(config: Config, options: ConstructorParameters<typeof ProcessorProcess>[1] = {}): ProcessorProcess {
  const started = new ProcessorProcess(config, options);
  processes.push(started);
  return started;
}

/** Three hours ago: in the past for the real clock, so that ticks may close everything. */
function feedOf(config: Config): BlockFeed {
  return new BlockFeed({ ...config, kafka, startMs: Date.now() - 3 * 3_600_000 });
}

async function caughtUp(config: Config): Promise<void> {
  await settles(() => expectCaughtUp({ ...config, kafka, startMs: 0 }), { limitMs: 30_000 });
}

const POINTS: readonly (readonly [FailpointName, nth: number])[] = [
  ["before-produce", 4],
  ["mid-produce", 4],
  ["before-commit", 4],
  ["commit-sent-no-answer", 4],
  ["after-commit", 4],
  ["mid-snapshot", 2],
  ["after-snapshot", 2],
];

describe("a processor killed with -9", () => {
  test.each(POINTS)("at %s loses nothing and doubles nothing", async (point, nth) => {
    const config = await pipeline();
    const feed = feedOf(config);
    const first = start(config, { failpoint: `${point}:kill:${nth}` });
    await first.ready;
    for (let blocks = 0; !first.hasEnded && blocks < 400; blocks++) await feed.write();
    expect((await first.exit).signal, first.text()).toBe("SIGKILL");
    await feed.write();

    const second = start(config);
    await second.ready;
    for (let blocks = 0; blocks < 40; blocks++) await feed.write();
    await caughtUp(config);
    expect(await second.leave(), second.text()).toBe(0);

    const facts = await expectExactlyOnce(brokers, config, kafka);
    expect(facts.windows).toBeGreaterThan(0);
    expect(facts.clean).toBeGreaterThan(feed.rows / 2);
  });
});

describe("a second processor", () => {
  test("fences the first, which leaves with code 5, and nothing is lost or doubled", async () => {
    const config = await pipeline();
    const feed = feedOf(config);
    const first = start(config);
    await first.ready;
    for (let blocks = 0; blocks < 5; blocks++) await feed.write();
    const second = start(config);
    await second.ready;
    for (let blocks = 0; blocks < 10; blocks++) await feed.write();
    expect((await first.exit).code, first.text()).toBe(5);
    await caughtUp(config);
    expect(await second.leave()).toBe(0);
    await expectExactlyOnce(brokers, config, kafka);
  });
});

describe("a planned hand-over", () => {
  test("leaves a snapshot at the last commit, so that the successor replays nothing", async () => {
    const config = await pipeline({ snapshotIntervalMs: 3_600_000 });
    const feed = feedOf(config);
    const first = start(config);
    await first.ready;
    for (let blocks = 0; blocks < 5; blocks++) await feed.write();
    await caughtUp(config);
    expect(await first.leave(), first.text()).toBe(0);
    const store = openFolderStore(join(config.dataDir, "objects"), Date.now);
    for (let partition = 0; partition < config.partitions; partition++) {
      const at = { topic: topicName(config.lane, "valid"), partition };
      const [committed] = await kafka.committedOffsets(groupId(config, "processor"), [at], { requireStable: true });
      const objects = await store.list(snapshotPrefix(config, partition));
      expect(parseSnapshotKey(objects.at(-1)!.key)?.offset).toBe(committed!.offset);
    }
    const second = start(config);
    await second.ready;
    const recovered = second.log.filter(({ message }) => message === "partition recovered");
    expect(recovered.map(({ ["replayedRecords"]: replayed }) => replayed)).toEqual([0, 0]);
    expect(await second.leave()).toBe(0);
  });
});

describe("a partition that lost its committed offset", () => {
  test("refuses with the command that rebuilds it, and goes on exactly after that", async () => {
    const config = await pipeline({ partitions: 1 });
    const feed = feedOf(config);
    const first = start(config);
    await first.ready;
    for (let blocks = 0; blocks < 5; blocks++) await feed.write();
    await caughtUp(config);
    expect(await first.leave()).toBe(0);
    const admin = kafkaJs(brokers, "weir-test").admin();
    await admin.connect();
    await admin.deleteGroups([groupId(config, "processor")]);
    await admin.disconnect();

    const refused = start(config);
    expect((await refused.exit).code).toBe(1);
    expect(refused.text()).toContain("progress-lost");
    expect(refused.text()).toContain("node processor/main.ts rebuild-progress 0");
    const rebuild = start(config, { args: ["rebuild-progress", "0"] });
    expect((await rebuild.exit).code, rebuild.text()).toBe(0);

    const second = start(config);
    await second.ready;
    for (let blocks = 0; blocks < 5; blocks++) await feed.write();
    await caughtUp(config);
    expect(await second.leave()).toBe(0);
    await expectExactlyOnce(brokers, config, kafka);
  });
});

describe("a partition that refuses to start", () => {
  test("leaves the others at work, is told by metrics and stdout, and goes on by itself once it is mended, exactly", async () => {
    const [metricsPort] = await freePorts(1);
    const config = await pipeline({ metricsPort: metricsPort!, refusedRetryMs: 500 });
    const feed = feedOf(config);
    const committed = async (partition: number): Promise<number> => {
      const at = { topic: topicName(config.lane, "valid"), partition };
      return (await kafka.committedOffsets(groupId(config, "processor"), [at], { requireStable: true }))[0]!.offset;
    };
    // A snapshot without a committed offset: of somebody else, or the offset is lost. Both need a person.
    const store = openFolderStore(join(config.dataDir, "objects"), Date.now);
    const foreign = snapshotKey(snapshotPrefix(config, 1), 5, "0".repeat(64));
    await store.createOnce(foreign, [new Uint8Array(8)]);

    const only = start(config);
    let out = "";
    only.child.stdout!.on("data", (chunk: Buffer) => (out += chunk.toString()));
    await only.ready;
    const refusal = only.log.find(({ message }) => message === "partition refuses to start");
    const fix = "node processor/main.ts rebuild-progress 1";
    expect(refusal, only.text()).toMatchObject({ level: "error", partition: 1, refusal: "progress-lost", fix, code: "PARTITION_REFUSED" });
    for (let blocks = 0; blocks < 5; blocks++) await feed.write();
    const eventually = { limitMs: 60_000 };
    await settles(async () => expect(await committed(0)).toBeGreaterThanOrEqual(5), eventually);
    const page = only.log.find(({ message }) => message === "metrics page");
    const refused = async (): Promise<unknown> => {
      const answer = await fetch(String(page!["url"]));
      const samples = parsePrometheus(await answer.text()).get("weir_partition_refused")?.samples ?? [];
      return Object.fromEntries(samples.map(({ labels, value }) => [labels["partition"], value]));
    };
    await settles(async () => expect(await refused()).toEqual({ 0: 0, 1: 1 }), eventually);
    await settles(() => expect(only.log.map(({ message }) => message)).toContain("partition still refuses to start"), eventually);
    expect(await committed(1)).toBe(-1);

    await store.remove(foreign);
    await settles(async () => expect(await refused()).toEqual({ 0: 0, 1: 0 }), eventually);
    await settles(() => expectCaughtUp({ ...config, kafka, startMs: 0 }), eventually);
    expect(await only.leave(), only.text()).toBe(0);
    const said = out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(said).toEqual([
      { ready: true, partitions: 1, refused: "1", refusal: "progress-lost", fix },
      { trouble: expect.stringContaining(fix) },
      { trouble: null },
    ]);
    await expectExactlyOnce(brokers, config, kafka);
  }, 240_000);
});

describe("a silent partition", () => {
  test("gets a tick in its log that closes what is due", async () => {
    const config = await pipeline({ partitions: 1, idleTickMs: 100 });
    const feed = feedOf(config);
    const only = start(config);
    await only.ready;
    for (let blocks = 0; blocks < 4; blocks++) await feed.write();
    await caughtUp(config);
    // Three hours old: the first tick closes every session and window.
    const ended = await settles(async () => {
      await expectCaughtUp({ ...config, kafka, startMs: 0 });
      const facts = await expectExactlyOnce(brokers, config, kafka);
      expect(facts.windows).toBeGreaterThan(11);
      return facts;
    });
    expect(ended.clean).toBeGreaterThan(0);
    expect(await only.leave()).toBe(0);
  });
});
