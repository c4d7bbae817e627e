import { afterEach, describe, expect, test } from "vitest";
import type { Confirm } from "#shared/assignment/partition-owner.ts";
import { WorkerPool } from "#processor/assignment/worker-pool.ts";
import { FencedError } from "#shared/kernel/errors.ts";

const ENTRY = new URL("./scripted-worker.ts", import.meta.url);
let pool: WorkerPool;

function open(workers: number, confirm: Confirm = () => Promise.resolve(true)): WorkerPool {
  pool = new WorkerPool(ENTRY, workers, confirm);
  return pool;
}

afterEach(() => pool.close());

describe("a pool of workers", () => {
  test("starts and stops a task in a thread", async () => {
    const task = open(1).start(0);
    await task.running;
    task.stop();
    expect(await task.end).toEqual({ kind: "stopped" });
  });

  test("hands an error over with its class, code and hint", async () => {
    const end = await open(1).start(1).end;
    expect(end.kind).toBe("fenced");
    const { error } = end as { readonly error: Error };
    expect(error).toBeInstanceOf(FencedError);
    expect(error).toMatchObject({ message: "a newer owner exists", code: "KAFKA_FENCED", hint: "none" });
  });

  test("answers a worker's question whether a partition is ours from the main thread", async () => {
    const asked: number[] = [];
    const confirm: Confirm = (partition) => {
      asked.push(partition);
      return Promise.resolve(true);
    };
    await open(1, confirm).start(2).running;
    expect(asked).toEqual([2]);
  });

  test("ends all tasks of a worker that dies, and none of another", async () => {
    open(2);
    const [lost, kept] = [pool.start(0), pool.start(3)];
    await Promise.all([lost.running, kept.running]);
    // The third goes to the first worker again: both have one.
    const killer = pool.start(9);
    for (const task of [lost, killer]) expect(await task.end).toMatchObject({ kind: "failed", error: { code: "WORKER_DIED" } });
    kept.stop();
    expect(await kept.end).toEqual({ kind: "stopped" });
    // Nothing is started in the dead one.
    const ends = [pool.start(4), pool.start(5)].map(({ running, end }) =>
      Promise.race([running.then(() => "runs"), end.then(({ kind }) => kind)]),
    );
    expect(await Promise.all(ends)).toEqual(["runs", "runs"]);
  });
});
