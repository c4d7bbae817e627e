/** A partition in a calm world, driven by hand: for promises that one sequence of events shows better than a thousand random ones. */
import { resolveStart } from "#processor/checkpoint/resolve.ts";
import { PartitionTask, type TaskEnd } from "#processor/runtime/partition-task.ts";
import type { FoldFactory } from "#processor/runtime/ports.ts";
import { HEADERS, topicName } from "#shared/events/names.ts";
import type { LogFields, Logger } from "#shared/telemetry/logger.ts";
import { SimulatedBroker } from "./broker.ts";
import { type FoldKit, modelKit } from "./fold-kit.ts";
import { plainCodec, SimulatedObjects } from "./object-store.ts";
import { SimulatedProcess, World } from "./world.ts";

export const VALID = { topic: topicName("live", "valid"), partition: 0 };
export const RAW = { topic: topicName("live", "raw"), partition: 0 };
export const GROUP = "weir-processor-live-1";

const decoder = new TextDecoder();

export interface RunningOwner {
  readonly process: SimulatedProcess;
  readonly task: PartitionTask;
  readonly log: { readonly message: string; readonly fields: LogFields }[];
  end: TaskEnd | null;
  stop(): void;
}

export class CalmPartition {
  readonly world = new World(1, { lostRequest: 0, lostAnswer: 0, lateRequest: 0 });
  readonly broker = new SimulatedBroker(this.world, { protocol: "V2", fences: true });
  readonly objects = new SimulatedObjects(this.world);
  readonly kit: FoldKit;
  rows = 0;

  constructor(kit: FoldKit = modelKit()) {
    this.kit = kit;
  }

  start(more: { readonly folds?: FoldFactory; readonly snapshotIntervalMs?: number } = {}): RunningOwner {
    const process = new SimulatedProcess("owner", 0);
    const stopping = new AbortController();
    const log: RunningOwner["log"] = [];
    const write = (message: string, fields: LogFields = {}): void => void log.push({ message, fields });
    const logger: Logger = { debug: write, info: write, warn: write, error: write, child: () => logger };
    const ports = {
      kafka: this.broker.client(process),
      folds: more.folds ?? this.kit.folds,
      snapshots: this.objects.client(process),
      codec: plainCodec,
    };
    const times = { idleTickMs: 500, snapshotIntervalMs: more.snapshotIntervalMs ?? 1_000, transactionTimeoutMs: 20_000 };
    const task = new PartitionTask(
      { ...ports, clock: this.world.clock(process), log: logger, resolve: resolveStart },
      { id: { lane: "live", generation: 1 }, partition: 0, partitions: 1, ...times },
    );
    const owner: RunningOwner = { process, task, log, end: null, stop: () => stopping.abort() };
    this.world.at(0, process, () => void task.run(stopping.signal).then((end) => (owner.end = end)));
    return owner;
  }

  /** Rows in events.raw and, unless the validator is slow, their block in events.valid. */
  feed(rows: number, { validated = true } = {}): void {
    this.broker.append(
      RAW,
      Array.from({ length: rows }, () => ({ key: null, value: null })),
    );
    if (validated) this.broker.append(VALID, [this.kit.block(this.rows, rows, this.world.nowMs)]);
    this.rows += rows;
  }

  async until(condition: () => boolean, limitMs = 600_000): Promise<void> {
    const deadlineMs = this.world.nowMs + limitMs;
    while (!condition()) {
      if (this.world.nowMs > deadlineMs || !(await this.world.step()))
        throw new Error(`not within ${limitMs} simulated ms: ${condition.toString()}`);
    }
  }

  async pass(durationMs: number): Promise<void> {
    const untilMs = this.world.nowMs + durationMs;
    await this.until(() => this.world.nowMs >= untilMs, durationMs + 60_000);
  }

  get position(): number {
    return this.broker.committedOffset(GROUP, VALID)?.offset ?? 0;
  }

  /** Feeds blocks of three rows, a quarter of a second apart, and waits until they are committed. */
  async run(blocks: number): Promise<void> {
    for (let i = 0; i < blocks; i++) {
      this.feed(3);
      await this.pass(250);
    }
    await this.caughtUp();
  }

  caughtUp(): Promise<void> {
    return this.until(() => this.position >= this.broker.log(VALID).end);
  }

  rowsOf(role: "clean" | "windows" | "dlq"): string[] {
    return this.broker
      .log({ topic: topicName("live", role), partition: 0 })
      .committed()
      .flatMap(({ record }) => this.kit.rowsOf(role, record.value!));
  }

  ticks(): number[] {
    return this.broker
      .log(VALID)
      .entries.filter(({ record }) => record.headers.some(([key, value]) => key === HEADERS.kind && decoder.decode(value) === "tick"))
      .map(({ record }) => record.timestampMs);
  }
}
