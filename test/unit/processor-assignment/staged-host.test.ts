/** The second stage beside the task of partition 0, with tasks and stages that are scripted and a clock that stands still. */
import { beforeEach, describe, expect, test } from "vitest";
import { StagedHost } from "#processor/assignment/staged-host.ts";
import type { SecondStageEnd } from "#processor/minutes/second-stage.ts";
import type { HostedTask, TaskEnd } from "#shared/assignment/partition-owner.ts";
import { FencedError } from "#shared/kernel/errors.ts";
import { settles } from "#test/support/process.ts";

interface Task {
  readonly running: PromiseWithResolvers<void>;
  readonly end: PromiseWithResolvers<TaskEnd>;
  stops: number;
}

interface Stage {
  readonly stop: AbortSignal;
  readonly end: PromiseWithResolvers<SecondStageEnd>;
}

let tasks: Task[];
let stages: Stage[];
let sleeps: PromiseWithResolvers<void>[];
let said: string[];
let host: StagedHost;
let isClosed: boolean;

beforeEach(() => {
  [tasks, stages, sleeps, said, isClosed] = [[], [], [], [], false];
  const inner = {
    start(): HostedTask {
      const task: Task = { running: Promise.withResolvers(), end: Promise.withResolvers(), stops: 0 };
      tasks.push(task);
      return { running: task.running.promise, end: task.end.promise, stop: () => void task.stops++ };
    },
    close: () => Promise.resolve(void (isClosed = true)),
  };
  const say = (message: string): void => void said.push(message);
  const log = { debug: say, info: say, warn: say, error: say, child: () => log };
  const clock = {
    now: () => 0,
    sleep(_durationMs: number, signal: AbortSignal) {
      const sleep = Promise.withResolvers<void>();
      signal.addEventListener("abort", () => sleep.resolve());
      sleeps.push(sleep);
      return sleep.promise;
    },
  };
  const run = (stop: AbortSignal): Promise<SecondStageEnd> => {
    const stage: Stage = { stop, end: Promise.withResolvers() };
    stop.addEventListener("abort", () => stage.end.resolve({ kind: "stopped" }));
    stages.push(stage);
    return stage.end.promise;
  };
  host = new StagedHost(inner, { run, clock, log });
});

async function runningZero(): Promise<HostedTask> {
  const hosted = host.start(0);
  tasks.at(-1)!.running.resolve();
  await settles(() => expect(stages.length).toBeGreaterThan(0));
  return hosted;
}

describe("the second stage", () => {
  test("runs beside partition 0 once that runs, and beside no other", async () => {
    host.start(1);
    tasks[0]!.running.resolve();
    host.start(0);
    await Promise.resolve();
    expect(stages).toEqual([]);
    tasks[1]!.running.resolve();
    await settles(() => expect(stages).toHaveLength(1));
  });

  test("is told to stop with its task, whose end does not wait for it", async () => {
    const hosted = await runningZero();
    hosted.stop();
    expect(tasks[0]!.stops).toBe(1);
    expect(stages[0]!.stop.aborted).toBe(true);
  });

  test("stops when its task ends by itself", async () => {
    const hosted = await runningZero();
    const end: TaskEnd = { kind: "fenced", error: new Error("newer") };
    tasks[0]!.end.resolve(end);
    expect(await hosted.end).toBe(end);
    await settles(() => expect(stages[0]!.stop.aborted).toBe(true));
  });

  test("never begins beside a partition that refuses to start", async () => {
    const hosted = host.start(0);
    tasks[0]!.end.resolve({ kind: "refused", verdict: { refusal: "x", message: "y", fix: "z" } });
    await hosted.end;
    await host.close();
    expect(stages).toEqual([]);
  });

  test.each([
    ["failed", "second stage ended: no minute is closed until it runs"],
    ["fenced", "second stage has a newer owner"],
  ] as const)("that has %s is told and tried again after a pause, and its task goes on", async (kind, message) => {
    await runningZero();
    stages[0]!.end.resolve({ kind, error: new FencedError("gone", { code: "KAFKA_FENCED" }) });
    await settles(() => expect(sleeps).toHaveLength(1));
    expect(said).toEqual([message]);
    expect(stages).toHaveLength(1);
    expect(tasks[0]!.stops).toBe(0);
    sleeps[0]!.resolve();
    await settles(() => expect(stages).toHaveLength(2));
  });

  test("has ended before the host is closed", async () => {
    const hosted = await runningZero();
    const closing = host.close();
    await Promise.resolve();
    expect(isClosed).toBe(false);
    hosted.stop();
    await closing;
    expect(isClosed).toBe(true);
  });
});
