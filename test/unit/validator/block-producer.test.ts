import { beforeEach, describe, expect, test } from "vitest";
import type { BlockPlace } from "#functions/validator/batch-validator.ts";
import { BlockProducer } from "#functions/validator/block-producer.ts";
import { Deadline } from "#functions/validator/deadline.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { OperatingError, TransientError, UnavailableError } from "#shared/kernel/errors.ts";

const PLACE: BlockPlace = {
  partition: 3,
  firstSourceOffset: 10,
  lastSourceOffset: 19,
  count: 10,
  rulesVersion: 1,
  traces: null,
  oldestMs: null,
};
const VALUE = Uint8Array.of(1, 2, 3);

const lost = (): Error => new TransientError("got no clear answer", { code: "KAFKA_PRODUCE_UNCLEAR" });
const refused = (): Error => new OperatingError("Kafka refused the credentials", { code: "KAFKA_AUTH" });

let opened: number;
let closed: number;
let retries: string[];
/** What the produces answer, one after another; then they succeed. */
let failures: Error[];
let produced: number;
let hang: boolean;

function create(open?: () => Promise<Kafka>): BlockProducer {
  return new BlockProducer({
    topic: "events.valid",
    open: open ?? (async () => fakeKafka(opened++)),
    headersOf: () => [],
    onRetry: (problem) => retries.push(problem),
  });
}

function fakeKafka(_number: number): Kafka {
  const stopped = Promise.withResolvers<never>();
  stopped.promise.catch(() => undefined);
  return {
    produce: async () => {
      const failure = failures.shift();
      if (failure !== undefined) throw failure;
      if (hang) await stopped.promise;
      return produced++;
    },
    close: async () => {
      closed++;
      stopped.reject(new OperatingError("the Kafka client is closed", { code: "KAFKA_CLOSED" }));
    },
  } as Partial<Kafka> as Kafka;
}

beforeEach(() => {
  opened = closed = produced = 0;
  retries = [];
  failures = [];
  hang = false;
});

describe("a block", () => {
  test("goes over one warm connection, whoever sends", async () => {
    const producer = create();
    await Promise.all([producer.send(VALUE, PLACE), producer.send(VALUE, { ...PLACE, partition: 1 })]);
    await producer.send(VALUE, PLACE);
    expect([opened, closed, produced]).toEqual([1, 0, 3]);
  });

  test("whose acknowledgement was lost is sent again: the fold trims what came twice", async () => {
    failures = [lost(), lost()];
    await create().send(VALUE, PLACE);
    expect(produced).toBe(1);
    expect(retries).toEqual(["got no clear answer", "got no clear answer"]);
  });

  test("is given up after three tries, by an error that names topic, partition, offsets and cause", async () => {
    failures = [lost(), lost(), lost()];
    await expect(create().send(VALUE, PLACE)).rejects.toMatchObject({
      message: "cannot produce the block of offsets 10 to 19 to events.valid-3: got no clear answer",
      code: "KAFKA_PRODUCE_UNCLEAR",
    });
    expect(produced).toBe(0);
  });

  test("refused for its credentials is sent once more over a connection with fresh ones", async () => {
    failures = [refused()];
    await create().send(VALUE, PLACE);
    expect([opened, closed, produced]).toEqual([2, 1, 1]);
    failures = [refused(), refused()];
    await expect(create().send(VALUE, PLACE)).rejects.toMatchObject({ code: "KAFKA_AUTH" });
  });

  test("refused while connecting is tried once more with fresh credentials", async () => {
    let attempts = 0;
    const producer = create(async () => {
      if (attempts++ === 0) throw refused();
      return fakeKafka(0);
    });
    await producer.send(VALUE, PLACE);
    expect([attempts, produced]).toEqual([2, 1]);
  });

  test("is not repeated for what repeating does not mend", async () => {
    failures = [new UnavailableError("did not serve", { code: "KAFKA_UNAVAILABLE", hint: "start it" })];
    await expect(create().send(VALUE, PLACE)).rejects.toMatchObject({ code: "KAFKA_UNAVAILABLE", hint: "start it" });
    expect(retries).toEqual([]);
  });
});

describe("a connection", () => {
  test("that could not be opened is opened anew by the next send", async () => {
    let attempts = 0;
    const producer = create(async () => {
      if (attempts++ === 0) throw new UnavailableError("no broker", { code: "KAFKA_UNAVAILABLE" });
      return fakeKafka(0);
    });
    await expect(producer.send(VALUE, PLACE)).rejects.toThrow("no broker");
    await producer.send(VALUE, PLACE);
    expect(produced).toBe(1);
  });

  test("closed under a send ends it by the reason given, and nothing is sent behind", async () => {
    hang = true;
    const producer = create();
    const sending = producer.send(VALUE, PLACE);
    const why = new OperatingError("time is over", { code: "VALIDATOR_TIMEOUT" });
    await Promise.all([
      expect(sending).rejects.toMatchObject({
        code: "VALIDATOR_TIMEOUT",
        message: expect.stringContaining("events.valid-3: time is over"),
      }),
      // After the send has reached the broker.
      new Promise(setImmediate).then(() => producer.close(why)),
    ]);
    expect([opened, produced]).toEqual([1, 0]);
    hang = false;
    await producer.send(VALUE, PLACE);
    expect(opened).toBe(2);
  });
});

describe("the end of an invocation", () => {
  test("comes before Lambda's own, and names the brokers", async () => {
    const over = Promise.withResolvers<OperatingError>();
    const deadline = new Deadline({ getRemainingTimeInMillis: () => 50 }, "b-1:9098", over.resolve);
    const waiting = deadline.within(new Promise(() => undefined));
    await expect(waiting).rejects.toMatchObject({ code: "VALIDATOR_TIMEOUT" });
    expect((await over.promise).message).toBe("no acknowledgement from Kafka at b-1:9098 within 45 ms, the end of the invocation");
  });

  test("does not come to one that is done, nor to one without a context", async () => {
    let overs = 0;
    const done = new Deadline({ getRemainingTimeInMillis: () => 1 }, "b", () => overs++);
    done.clear();
    const free = new Deadline(undefined, "b", () => overs++);
    await expect(free.within(Promise.resolve(7))).resolves.toBe(7);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(overs).toBe(0);
  });
});
