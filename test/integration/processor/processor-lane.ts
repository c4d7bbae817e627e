/** A lane of its own with processors on it: topics, load, and the check against the undisturbed fold. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { type Config, environmentOf, loadConfig } from "#shared/config/config.ts";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import { settles } from "#test/support/process.ts";
import { uniqueLane } from "#test/support/stack.ts";
import { BlockFeed, expectCaughtUp, expectExactlyOnce, type OutputFacts } from "./block-feed.ts";
import { ProcessorProcess } from "./processor-process.ts";

export interface LaneCluster {
  readonly brokers: readonly string[];
  readonly kafka: Kafka;
  readonly replicationFactor?: number;
}

export class ProcessorLane {
  readonly config: Config;
  readonly feed: BlockFeed;
  readonly processes: ProcessorProcess[] = [];
  readonly #cluster: LaneCluster;
  #load: { readonly stop: AbortController; readonly done: Promise<void> } | null = null;

  private constructor(config: Config, cluster: LaneCluster) {
    this.config = config;
    this.#cluster = cluster;
    // Three hours ago: in the past for the real clock, so that ticks may close everything.
    this.feed = new BlockFeed({ ...config, kafka: cluster.kafka, startMs: Date.now() - 3 * 3_600_000 });
  }

  static async open(cluster: LaneCluster, more: Partial<Config> = {}): Promise<ProcessorLane> {
    const lane = uniqueLane();
    const dataDir = await mkdtemp(join(tmpdir(), "weir-processor-"));
    const given = {
      lane,
      kafka: cluster.brokers.join(","),
      partitions: 2,
      dataDir,
      snapshotIntervalMs: 200,
      cutMs: 100,
      processorSessionMs: 6_000,
      processorWorkers: 1,
      ...more,
    };
    const config = loadConfig(environmentOf(given));
    await createTopics(cluster.brokers, topicSpecs(lane, config.partitions, { replicationFactor: cluster.replicationFactor ?? 1 }));
    return new ProcessorLane(config, cluster);
  }

  start(more: Partial<Config> = {}, options: ConstructorParameters<typeof ProcessorProcess>[1] = {}): ProcessorProcess {
    const started = new ProcessorProcess({ ...this.config, ...more }, options);
    this.processes.push(started);
    return started;
  }

  /** Writes until {@link settle}, a block at a time. */
  startLoad(pauseMs = 20): void {
    const stop = new AbortController();
    const write = async (): Promise<void> => {
      while (!stop.signal.aborted) {
        await this.feed.write();
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    };
    const done = write();
    done.catch(() => undefined);
    this.#load = { stop, done };
  }

  /** Ends the load and waits until everything is committed. */
  async settle(limitMs = 30_000): Promise<void> {
    this.#load?.stop.abort();
    await this.#load?.done;
    this.#load = null;
    await settles(() => expectCaughtUp({ ...this.config, kafka: this.#cluster.kafka, startMs: 0 }), { limitMs });
  }

  /** So many blocks more are in the log, per partition. */
  async blocksMore(count: number): Promise<void> {
    const goal = this.feed.blocks[0]! + count;
    await settles(() => expect(this.feed.blocks[0]).toBeGreaterThanOrEqual(goal), { limitMs: 60_000 });
  }

  expectExactlyOnce(): Promise<OutputFacts> {
    return expectExactlyOnce(this.#cluster.brokers, this.config, this.#cluster.kafka);
  }

  async close(): Promise<void> {
    this.#load?.stop.abort();
    for (const each of this.processes) each.kill();
    await Promise.all(this.processes.map(({ exit }) => exit));
    await rm(this.config.dataDir, { recursive: true, force: true });
  }
}

/** What the process was told last that is its own. */
export function assignedTo(one: ProcessorProcess): number[] {
  const last = one.log.findLast(({ message }) => message === "partitions assigned" || message.startsWith("no member of the group"));
  const partitions = last?.message === "partitions assigned" ? String(last["partitions"]) : "";
  return partitions === "" ? [] : partitions.split(",").map(Number);
}

/** These processes, and only they, have all partitions, as evenly as can be, and none has two owners. */
export async function balanced(lane: ProcessorLane, processes: readonly ProcessorProcess[], limitMs = 30_000): Promise<void> {
  const { partitions } = lane.config;
  await settles(
    () => {
      const each = processes.map(assignedTo);
      expect(
        each.flat().toSorted((a, b) => a - b),
        processes.map((one) => one.text()).join("\n--\n"),
      ).toEqual(Array.from({ length: partitions }, (_, i) => i));
      for (const own of each) expect(own.length).toBeLessThanOrEqual(Math.ceil(partitions / processes.length));
    },
    { limitMs },
  );
}
