/** Who works on what: the group's word against what the tasks do, with tasks that are scripted and a clock that stands still. */
import { beforeEach, describe, expect, test } from "vitest";
import { type HostedTask, PartitionOwner, type TaskEnd } from "#shared/assignment/partition-owner.ts";
import { RefusedPartitions } from "#shared/assignment/refused-partitions.ts";
import { FencedError, OperatingError, UnavailableError } from "#shared/kernel/errors.ts";
import type { LogFields, Logger } from "#shared/telemetry/logger.ts";

const RETRY_MS = 30_000;

/** What the test decides of a task. */
interface ScriptedTask {
  readonly partition: number;
  readonly runs: () => void;
  readonly ends: (end: TaskEnd) => void;
  isStopped: boolean;
}

interface Line {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields;
}

const REFUSED: TaskEnd = { kind: "refused", verdict: { refusal: "progress-lost", message: "outputs exist", fix: "rebuild-progress 1" } };
const STOPPED: TaskEnd = { kind: "stopped" };
const FENCED: TaskEnd = { kind: "fenced", error: new FencedError("a newer owner exists", { code: "KAFKA_FENCED" }) };
const unavailable: TaskEnd = { kind: "failed", error: new UnavailableError("no broker", { code: "KAFKA_UNAVAILABLE" }) };

let tasks: ScriptedTask[];
let sleeps: { readonly durationMs: number; readonly wake: () => void; isOver: boolean }[];
let lines: Line[];
let rejoins: number;
let readied: number[];
let troubles: (string | null)[];
let isOurs: boolean;
let nowMs: number;
let owner: PartitionOwner;
let refused: RefusedPartitions;

/** Promises that are due have gone on. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
/** The task of the partition that was started last. */
const task = (partition: number): ScriptedTask => tasks.findLast((one) => one.partition === partition)!;
const startsOf = (partition: number): number => tasks.filter((one) => one.partition === partition).length;
const waiting = (): number[] => sleeps.filter(({ isOver }) => !isOver).map(({ durationMs }) => durationMs);
const messages = (level: string): string[] => lines.filter((line) => line.level === level).map(({ message }) => message);

function logger(): Logger {
  const at =
    (level: string) =>
    (message: string, fields: LogFields = {}) =>
      void lines.push({ level, message, fields });
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error"), child: () => logger() };
}

function start(partition: number): HostedTask {
  const running = Promise.withResolvers<void>();
  const end = Promise.withResolvers<TaskEnd>();
  const scripted: ScriptedTask = { partition, runs: running.resolve, ends: end.resolve, isStopped: false };
  tasks.push(scripted);
  return { running: running.promise, end: end.promise, stop: () => (scripted.isStopped = true) };
}

const clock = {
  now: () => nowMs,
  sleep(durationMs: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const sleep = { durationMs, wake: resolve, isOver: false };
    void promise.then(() => (sleep.isOver = true));
    signal.addEventListener("abort", () => resolve(), { once: true });
    sleeps.push(sleep);
    return promise;
  },
};

/** The wait for the next try is over. */
async function retry(): Promise<void> {
  nowMs += RETRY_MS;
  for (const sleep of sleeps.filter(({ isOver, durationMs }) => !isOver && durationMs === RETRY_MS)) sleep.wake();
  await turn();
}

/** The first assignment: these run, and those refuse. */
async function started(running: readonly number[], refusing: readonly number[]): Promise<void> {
  owner.assigned([...running, ...refusing], 1);
  for (const partition of running) task(partition).runs();
  for (const partition of refusing) task(partition).ends(REFUSED);
  await turn();
}

async function brokenBy(): Promise<Error | null> {
  return Promise.race([owner.broken, turn().then(() => null)]);
}

beforeEach(() => {
  [tasks, sleeps, lines, readied, troubles] = [[], [], [], [], []];
  [rejoins, isOurs, nowMs] = [0, true, 1_000_000];
  const log = logger();
  refused = new RefusedPartitions({ clock, log, retryMs: RETRY_MS, onChange: () => troubles.push(refused.trouble) });
  owner = new PartitionOwner({
    host: { start },
    clock,
    log,
    refused,
    confirm: () => Promise.resolve(isOurs),
    rejoin: () => (rejoins += 1),
    onReady: (partitions) => readied.push(partitions),
  });
});

describe("the tasks that run", () => {
  test("are those of the assignment: what is added starts, what is taken away is drained and then given back", async () => {
    await started([0, 1], []);
    owner.assigned([1, 2], 2);
    expect([task(0).isStopped, task(1).isStopped]).toEqual([true, false]);
    expect(owner.owned()).toEqual([0, 1, 2]);
    expect(rejoins).toBe(0);
    task(0).ends(STOPPED);
    await turn();
    expect(owner.owned()).toEqual([1, 2]);
    expect(rejoins).toBe(1);
  });

  test("ask for one round when several are taken away: with the last of them", async () => {
    await started([0, 1], []);
    owner.assigned([], 2);
    task(1).ends(STOPPED);
    await turn();
    expect(rejoins).toBe(0);
    task(0).ends(STOPPED);
    await turn();
    expect(rejoins).toBe(1);
  });

  test("start again when their partition comes back while they are drained", async () => {
    await started([0], []);
    owner.assigned([], 2);
    owner.assigned([0], 3);
    task(0).ends(STOPPED);
    await turn();
    expect(startsOf(0)).toBe(2);
    expect(rejoins).toBe(0);
  });

  test("are all waited for before the process is ready", async () => {
    owner.assigned([0, 1], 1);
    task(0).runs();
    await turn();
    expect(readied).toEqual([]);
    task(1).runs();
    await turn();
    expect(readied).toEqual([2]);
  });

  test("all end before a drain does, and no other starts after it began", async () => {
    await started([0, 1], []);
    let isDrained = false;
    const drained = owner.drain().then(() => (isDrained = true));
    owner.assigned([0, 1, 2], 2);
    task(0).ends(STOPPED);
    await turn();
    expect(isDrained).toBe(false);
    task(1).ends(STOPPED);
    await drained;
    expect(tasks).toHaveLength(2);
    expect(rejoins).toBe(0);
  });

  test("all end when the group gives the member up", async () => {
    await started([0], [1]);
    const lost = owner.lost();
    task(0).ends(STOPPED);
    await lost;
    expect(owner.owned()).toEqual([]);
    expect(waiting()).toEqual([]);
  });

  test("take the process down when one fails, and it is not ready by that", async () => {
    owner.assigned([0, 1], 1);
    task(0).runs();
    const error = new OperatingError("a table is full", { code: "STATE_TABLE_FULL" });
    task(1).ends({ kind: "failed", error });
    expect(await brokenBy()).toBe(error);
    expect(owner.failure).toBe(error);
    expect(readied).toEqual([]);
    expect(startsOf(1)).toBe(1);
  });

  test("take a partition back that is theirs by assignment, at the fifth time in a minute no more", async () => {
    await started([0], []);
    for (let times = 1; times < 5; times++) {
      task(0).ends(FENCED);
      await turn();
      expect(waiting()).toEqual([200 * times]);
      sleeps.at(-1)!.wake();
      await turn();
      expect(startsOf(0)).toBe(times + 1);
    }
    task(0).ends(FENCED);
    expect(await brokenBy()).toBe((FENCED as { readonly error: Error }).error);
    expect(startsOf(0)).toBe(5);
  });

  test("leave a partition to its newer owner when the group says so, and ask for a round", async () => {
    await started([0], []);
    isOurs = false;
    task(0).ends(FENCED);
    await turn();
    expect(startsOf(0)).toBe(1);
    expect(rejoins).toBe(1);
  });
});

describe("a partition that refuses to start", () => {
  test("stops no other, does not end the process, and asks for no round of the group", async () => {
    await started([0, 2], [1]);
    expect(await brokenBy()).toBeNull();
    expect(owner.failure).toBeNull();
    expect(tasks.map(({ isStopped }) => isStopped)).toEqual([false, false, false]);
    expect(rejoins).toBe(0);
  });

  test("is reported as an error with the fix, and the process is ready with the others and names it", async () => {
    await started([0, 2], [1]);
    const { fields } = lines.find(({ level }) => level === "error")!;
    expect(fields).toMatchObject({ partition: 1, refusal: "progress-lost", fix: "rebuild-progress 1", code: "PARTITION_REFUSED" });
    expect(readied).toEqual([2]);
    expect(refused.partitions).toEqual([1]);
    expect(refused.facts).toEqual({ refused: "1", refusal: "progress-lost", fix: "rebuild-progress 1" });
  });

  test("is told in a line with its fix for as long as it refuses, and no longer", async () => {
    await started([0], [1]);
    expect(troubles).toEqual(["partition 1 refuses to start (progress-lost: outputs exist), fix: rebuild-progress 1"]);
    await retry();
    task(1).ends(REFUSED);
    await retry();
    task(1).runs();
    await turn();
    expect(troubles.slice(1)).toEqual([null]);
  });

  test("is told with the others that refuse", async () => {
    await started([0], [1, 3]);
    expect(troubles.at(-1)).toContain("its log has the fix for 3, which refuse as well");
    owner.assigned([0, 3], 2);
    expect(troubles.at(-1)).toContain("partition 3 refuses");
  });

  test("is still claimed, so that the group does not hand it round, and starts in no new round by itself", async () => {
    await started([0], [1]);
    expect(owner.owned()).toEqual([0, 1]);
    owner.assigned([0, 1, 2], 2);
    await turn();
    expect([startsOf(0), startsOf(1), startsOf(2)]).toEqual([1, 1, 1]);
  });

  test("is tried again after the pause, as often as it refuses, and runs when the fix was applied", async () => {
    await started([0], [1]);
    expect(waiting()).toEqual([RETRY_MS]);
    await retry();
    expect(startsOf(1)).toBe(2);
    expect(refused.partitions, "not well before it runs").toEqual([1]);
    task(1).ends(REFUSED);
    await turn();
    expect(waiting()).toEqual([RETRY_MS]);
    await retry();
    task(1).runs();
    await turn();
    expect(startsOf(1)).toBe(3);
    expect(refused.partitions).toEqual([]);
    expect(refused.facts).toEqual({});
    expect(new Set(owner.owned())).toEqual(new Set([0, 1]));
    expect(rejoins).toBe(0);
    expect(readied, "once").toEqual([1]);
    const { fields } = lines.find(({ message }) => message === "partition runs again after it refused to start")!;
    expect(fields).toMatchObject({ partition: 1, refusedForMs: 2 * RETRY_MS });
  });

  test("is an error in the log once per reason, and a warning each time it is tried in vain", async () => {
    await started([0], [1]);
    await retry();
    task(1).ends(REFUSED);
    await turn();
    expect(messages("error")).toEqual(["partition refuses to start"]);
    expect(messages("warn")).toEqual(["partition still refuses to start"]);
    await retry();
    task(1).ends({ kind: "refused", verdict: { refusal: "hash-mismatch", message: "other rows", fix: "report it" } });
    await turn();
    expect(messages("error")).toEqual(["partition refuses to start", "partition refuses to start"]);
    expect(refused.facts).toMatchObject({ refusal: "hash-mismatch", fix: "report it" });
  });

  test("ends the process when it is all there is at the first start, with its message and fix, and it was never ready", async () => {
    await started([], [0, 1]);
    expect(await brokenBy()).toMatchObject({
      message: "progress-lost: outputs exist",
      code: "PARTITION_REFUSED",
      hint: "rebuild-progress 1",
    });
    expect(readied).toEqual([]);
    expect(tasks).toHaveLength(2);
  });

  test("does not end a process that has run, even when no other is left", async () => {
    await started([0, 1], []);
    for (const partition of [0, 1]) task(partition).ends(REFUSED);
    expect(await brokenBy()).toBeNull();
    expect(refused.partitions).toEqual([0, 1]);
    expect(waiting()).toEqual([RETRY_MS, RETRY_MS]);
  });

  test("taken away while it waits is forgotten, given back by a round at once, and not tried any more", async () => {
    await started([0], [1]);
    owner.assigned([0], 2);
    await turn();
    expect(rejoins).toBe(1);
    expect(waiting()).toEqual([]);
    expect(owner.owned()).toEqual([0]);
    expect(refused.partitions).toEqual([]);
    expect(startsOf(1)).toBe(1);
  });

  test("taken away with one that runs is given back when that one is drained, in one round", async () => {
    await started([0, 2], [1]);
    owner.assigned([2], 2);
    await turn();
    expect(rejoins).toBe(0);
    task(0).ends(STOPPED);
    await turn();
    expect(rejoins).toBe(1);
  });

  test("taken away and given again is started at once, and tried once per pause", async () => {
    await started([0], [1]);
    owner.assigned([0], 2);
    owner.assigned([0, 1], 3);
    await turn();
    expect(startsOf(1)).toBe(2);
    task(1).ends(REFUSED);
    await turn();
    expect(waiting()).toEqual([RETRY_MS]);
  });

  test("taken away while it is tried again is drained like any other, and reported by its next owner", async () => {
    await started([0], [1]);
    await retry();
    owner.assigned([0], 2);
    expect(task(1).isStopped).toBe(true);
    task(1).ends(REFUSED);
    await turn();
    expect(refused.partitions).toEqual([]);
    expect(rejoins).toBe(1);
  });

  test("keeps no drain waiting", async () => {
    await started([0], [1]);
    const drained = owner.drain();
    task(0).ends(STOPPED);
    await drained;
    await retry();
    expect(startsOf(1)).toBe(1);
    expect(owner.owned()).toEqual([]);
  });

  test("goes on being tried when no broker answered a try: the others outlive that as well", async () => {
    await started([0], [1]);
    await retry();
    task(1).ends(unavailable);
    expect(await brokenBy()).toBeNull();
    expect(refused.partitions).toEqual([1]);
    await retry();
    expect(startsOf(1)).toBe(3);
  });

  test("is tried again after the pause, not at once, when the command that mends it fenced the try", async () => {
    await started([0], [1]);
    await retry();
    task(1).ends(FENCED);
    await turn();
    sleeps.at(-1)!.wake();
    await turn();
    expect([startsOf(1), rejoins]).toEqual([2, 0]);
    expect(waiting()).toEqual([RETRY_MS]);
    await retry();
    expect(startsOf(1)).toBe(3);
  });

  test("is somebody else's when the group says so, and comes back only by assignment", async () => {
    await started([0], [1]);
    await retry();
    isOurs = false;
    task(1).ends(FENCED);
    await turn();
    expect(refused.partitions).toEqual([]);
    expect(rejoins).toBe(1);
    owner.assigned([0, 1], 2);
    expect(startsOf(1)).toBe(3);
  });
});
