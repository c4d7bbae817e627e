/** Several processors of one lane: partitions move between real processes under load, in order and by force. */
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from "vitest";
import { openKafka } from "#shared/clients/kafka/client.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import type { Config } from "#shared/config/config.ts";
import { settles } from "#test/support/process.ts";
import { assignedTo, balanced, ProcessorLane } from "./processor-lane.ts";
import type { ProcessorProcess } from "./processor-process.ts";

let kafka: Kafka;
let brokers: string[];
let lane: ProcessorLane;

beforeAll(async () => {
  brokers = inject("stack").kafka.split(",");
  kafka = await openKafka({ brokers, clientId: "weir-assignment-test" });
});
afterEach(() => lane.close());
afterAll(() => kafka.close());

const open = async (partitions: number, more: Partial<Config> = {}): Promise<ProcessorLane> => {
  lane = await ProcessorLane.open({ brokers, kafka }, { partitions, ...more });
  return lane;
};

async function finish(): Promise<void> {
  await lane.settle();
  for (const each of lane.processes) if (!each.hasEnded) expect(await each.leave(), each.text()).toBe(0);
  const facts = await lane.expectExactlyOnce();
  expect(facts.windows).toBeGreaterThan(0);
  expect(facts.clean).toBeGreaterThan(lane.feed.rows / 2);
}

const recoveries = (one: ProcessorProcess): number[] =>
  one.log.filter(({ message }) => message === "partition recovered").map(({ replayedRecords }) => Number(replayedRecords));

describe("partitions of a lane", () => {
  test("follow a rolling restart of three processors, each from a snapshot at its last commit", async () => {
    await open(6);
    const members = [lane.start(), lane.start(), lane.start()];
    await Promise.all(members.map(({ ready }) => ready));
    lane.startLoad();
    await balanced(lane, members);
    await lane.blocksMore(10);
    for (let i = 0; i < members.length; i++) {
      const before = members.map(recoveries);
      const leaving = members[i]!;
      expect(await leaving.leave(), leaving.text()).toBe(0);
      const others = members.filter((one) => one !== leaving);
      await balanced(lane, others);
      // What stayed was not touched: only the leaver's two were started elsewhere.
      const started = (): number => others.reduce((sum, one) => sum + recoveries(one).length - before[members.indexOf(one)]!.length, 0);
      await settles(() => expect(started()).toBeGreaterThanOrEqual(2));
      expect(started()).toBe(2);
      members[i] = lane.start();
      await members[i]!.ready;
      await balanced(lane, members);
      await lane.blocksMore(10);
    }
    await finish();
    for (const one of lane.processes)
      expect(
        recoveries(one).filter((replayed) => replayed > 0),
        one.text(),
      ).toEqual([]);
  });

  test("spread over three processors, then two, then one, with sessions open all the while", async () => {
    await open(4);
    const first = lane.start();
    await first.ready;
    lane.startLoad();
    await balanced(lane, [first]);
    await lane.blocksMore(10);
    const [second, third] = [lane.start(), lane.start()];
    await balanced(lane, [first, second, third]);
    await lane.blocksMore(10);
    expect(await first.leave(), first.text()).toBe(0);
    await balanced(lane, [second, third]);
    await lane.blocksMore(10);
    expect(await third.leave(), third.text()).toBe(0);
    await balanced(lane, [second]);
    await lane.blocksMore(10);
    await finish();
  });

  test("of a processor killed with -9 are worked on by the others when its session ends", async () => {
    await open(4);
    const members = [lane.start(), lane.start()];
    await Promise.all(members.map(({ ready }) => ready));
    lane.startLoad();
    await balanced(lane, members);
    await lane.blocksMore(10);
    const [victim, other] = members;
    victim!.kill();
    await balanced(lane, [other!]);
    await lane.blocksMore(10);
    await finish();
  });

  test("of a processor that slept through its session stay with its successor: the sleeper is fenced, and joins again", async () => {
    await open(4);
    const members = [lane.start(), lane.start()];
    await Promise.all(members.map(({ ready }) => ready));
    lane.startLoad();
    await balanced(lane, members);
    await lane.blocksMore(10);
    const [sleeper, other] = members;
    sleeper!.child.kill("SIGSTOP");
    await balanced(lane, [other!]);
    await lane.blocksMore(10);
    const before = recoveries(other!).length;
    sleeper!.child.kill("SIGCONT");
    await settles(() => expect(sleeper!.log.map(({ message }) => message)).toContain("no member of the group any more: its session ended"));
    await balanced(lane, members);
    await lane.blocksMore(10);
    // It asked before it fenced anybody.
    expect(recoveries(other!).length).toBe(before);
    expect(sleeper!.hasEnded).toBe(false);
    await finish();
  });

  test("are left to the newer of two processors of the same name", async () => {
    await open(2);
    const older = lane.start({ processorInstance: "twin" });
    await older.ready;
    lane.startLoad();
    await lane.blocksMore(5);
    const newer = lane.start({ processorInstance: "twin" });
    await newer.ready;
    expect((await older.exit).code, older.text()).toBe(5);
    expect(older.text()).toContain("KAFKA_INSTANCE_FENCED");
    expect(assignedTo(newer)).toEqual([0, 1]);
    await lane.blocksMore(5);
    await finish();
  });

  test("are worked on by threads that share nothing, through a kill -9 and a hand-over", async () => {
    await open(4, { processorWorkers: 2, processorInstance: "threads" });
    const first = lane.start();
    await first.ready;
    lane.startLoad();
    await lane.blocksMore(10);
    first.kill();
    await first.exit;
    const second = lane.start();
    await second.ready;
    await lane.blocksMore(10);
    expect(await second.leave(), second.text()).toBe(0);
    const third = lane.start();
    await third.ready;
    const workers = (one: ProcessorProcess): Set<unknown> =>
      new Set(one.log.filter(({ worker }) => worker !== undefined).map(({ worker }) => worker));
    for (const one of [second, third]) expect(workers(one)).toEqual(new Set(["worker-1", "worker-2"]));
    await settles(() => expect(recoveries(third)).toEqual([0, 0, 0, 0]));
    await finish();
  });
});
