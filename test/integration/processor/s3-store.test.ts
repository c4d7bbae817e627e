import { createServer, type IncomingMessage, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { randomBytes } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test, vi } from "vitest";
import { openSnapshotStore } from "#processor/checkpoint/open-store.ts";
import { openS3Store } from "#processor/checkpoint/s3-store.ts";
import { snapshotPrefix } from "#processor/checkpoint/snapshot-key.ts";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { S3Bucket } from "#shared/clients/objects/s3-bucket.ts";
import { environmentOf, loadConfig } from "#shared/config/config.ts";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import { settles } from "#test/support/process.ts";
import { hasS3Server, startS3Server, type S3Server } from "#test/support/s3-server.ts";
import { uniqueLane } from "#test/support/stack.ts";
import { BlockFeed, expectCaughtUp, expectExactlyOnce } from "./block-feed.ts";
import { ProcessorProcess } from "./processor-process.ts";
import { snapshotStoreContract } from "./snapshot-store-contract.ts";

const PREFIX = "snapshots/test-1/0/";
const key = (offset: number): string => `${PREFIX}${String(offset).padStart(20, "0")}-${"a".repeat(64)}.snap`;
/** S3's smallest part is 5 MiB, and moto holds us to it. */
const IN_PARTS = { singlePutBytesMax: 6 << 20, partBytes: 5 << 20 };

type Verdict = "pass" | "slow-down" | "lose-answer";

/** Between client and server: says of each request what becomes of it. */
class FaultyLine {
  readonly seen: string[] = [];
  decide: (request: IncomingMessage) => Verdict = () => "pass";
  readonly #server: Server;

  constructor(endpoint: string) {
    const { hostname, port } = new URL(endpoint);
    this.#server = createServer((incoming, outgoing) => {
      const verdict = this.decide(incoming);
      this.seen.push(`${incoming.method} ${incoming.url} ${verdict}`);
      if (verdict === "slow-down") {
        incoming.resume();
        outgoing.writeHead(503, { "Content-Type": "application/xml" });
        outgoing.end("<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>");
        return;
      }
      const upstream = request({ hostname, port, method: incoming.method, path: incoming.url, headers: incoming.headers }, (answer) => {
        if (verdict === "lose-answer") {
          answer.resume();
          answer.on("end", () => incoming.socket.destroy());
          return;
        }
        outgoing.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(outgoing);
      });
      upstream.on("error", () => incoming.socket.destroy());
      incoming.pipe(upstream);
    });
  }

  async open(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

describe.skipIf(!hasS3Server)("an S3 bucket as snapshot store", () => {
  let server: S3Server;
  let bucket: string;

  beforeAll(async () => {
    server = await startS3Server();
    for (const [name, value] of Object.entries(server.environment)) vi.stubEnv(name, value);
  });

  afterAll(async () => {
    vi.unstubAllEnvs();
    await server.stop();
  });

  beforeEach(async () => {
    bucket = uniqueLane();
    const location = "<CreateBucketConfiguration><LocationConstraint>eu-central-1</LocationConstraint></CreateBucketConfiguration>";
    expect((await fetch(`${server.endpoint}/${bucket}`, { method: "PUT", body: location })).status).toBe(200);
  });

  describe("by its address in the configuration", () => {
    snapshotStoreContract(() =>
      Promise.resolve(openSnapshotStore({ snapshotUrl: `s3://${bucket}/of/a/pipeline`, dataDir: "unused" }, Date.now)),
    );
  });

  describe("in parts", () => {
    const large = randomBytes(13 << 20);
    const open = () => openS3Store(new S3Bucket(bucket, "p", IN_PARTS));

    test("a large object reads back byte for byte, and the second writer of it is told", async () => {
      const store = open();
      expect(await store.createOnce(key(1), [large.subarray(0, 100), large.subarray(100)])).toBe("created");
      expect(await store.createOnce(key(1), [large])).toBe("exists");
      expect(Buffer.compare((await store.read(key(1)))!, large)).toBe(0);
      expect((await store.list(PREFIX)).map((object) => object.key)).toEqual([key(1)]);
    });

    test("of several writers of one large key one wins, and no upload is left half done", async () => {
      const outcomes = await Promise.all(Array.from({ length: 3 }, () => open().createOnce(key(2), [large])));
      expect(outcomes.toSorted()).toEqual(["created", "exists", "exists"]);
      const listing = await (await fetch(`${server.endpoint}/${bucket}?uploads`)).text();
      expect(listing).not.toContain("<Upload>");
    });
  });

  test("a list goes on behind the objects of one answer", async () => {
    const store = openS3Store(new S3Bucket(bucket, "", { pageKeys: 4 }));
    for (let offset = 0; offset < 11; offset++) await store.createOnce(key(offset), [new Uint8Array(1)]);
    const keys = (await store.list(PREFIX)).map((object) => object.key);
    expect(keys).toEqual(Array.from({ length: 11 }, (_, offset) => key(offset)));
  });

  test("a bucket that is not there, or refuses, is an absent store by name and no empty one", async () => {
    const store = openSnapshotStore({ snapshotUrl: "s3://no-such-bucket/x", dataDir: "unused" }, Date.now);
    const absent = {
      name: "UnavailableError",
      code: "SNAPSHOTS_UNAVAILABLE",
      message: expect.stringContaining("s3://no-such-bucket/x/") as string,
    };
    await expect(store.read(key(1))).rejects.toMatchObject(absent);
    await expect(store.list(PREFIX)).rejects.toMatchObject(absent);
    await expect(store.createOnce(key(1), [new Uint8Array(1)])).rejects.toMatchObject(absent);
  });

  test("a killed processor comes back from its snapshot in the bucket, and its outputs are exactly once", async () => {
    const lane = uniqueLane();
    const kafka = await openKafka({ brokers: inject("stack").kafka.split(","), clientId: "weir-s3-test" });
    const config = loadConfig(
      environmentOf({
        lane,
        kafka: inject("stack").kafka,
        partitions: 1,
        dataDir: "/nonexistent",
        snapshotUrl: `s3://${bucket}/weir`,
        snapshotIntervalMs: 200,
        cutMs: 100,
        processorInstance: "only",
      }),
    );
    await createTopics(config.kafka.split(","), topicSpecs(lane, 1, { replicationFactor: 1 }));
    const start = (): ProcessorProcess => new ProcessorProcess(config, { environment: server.environment });
    const processes = [start()];
    try {
      await processes[0]!.ready;
      const feed = new BlockFeed({ ...config, kafka, startMs: Date.now() - 3 * 3_600_000 });
      for (let block = 0; block < 10; block++) await feed.write();
      await settles(() => expectCaughtUp({ ...config, kafka, startMs: 0 }), { limitMs: 30_000 });
      const store = openSnapshotStore(config, Date.now);
      // By count of blocks: something new has to be committed for a snapshot to be due.
      await settles(
        async () => {
          await feed.write();
          expect(await store.list(snapshotPrefix(config, 0))).not.toEqual([]);
        },
        { limitMs: 30_000, intervalMs: 200 },
      );
      processes[0]!.kill();
      await processes[0]!.exit;
      for (let block = 0; block < 5; block++) await feed.write();
      processes.push(start());
      await settles(() => expectCaughtUp({ ...config, kafka, startMs: 0 }), { limitMs: 30_000 });
      const recovered = processes[1]!.log.find(({ message }) => message === "partition recovered");
      expect(recovered!["snapshotOffset"]).toBeGreaterThan(0);
      expect(await processes[1]!.leave()).toBe(0);
      const facts = await expectExactlyOnce(config.kafka.split(","), config, kafka);
      expect(facts.clean).toBeGreaterThan(100);
    } finally {
      for (const each of processes) each.kill();
      await kafka.close();
    }
  });

  describe("over a line with faults", () => {
    let line: FaultyLine;

    beforeEach(async () => {
      line = new FaultyLine(server.endpoint);
      vi.stubEnv("AWS_ENDPOINT_URL_S3", await line.open());
    });

    afterEach(() => {
      vi.stubEnv("AWS_ENDPOINT_URL_S3", server.endpoint);
      line.close();
    });

    test("503 SlowDown is waited out, for writing, reading, listing and removing", async () => {
      const store = openS3Store(new S3Bucket(bucket, ""));
      const refused = new Map<string, number>();
      line.decide = ({ method }) => {
        const times = refused.get(method!) ?? 0;
        refused.set(method!, times + 1);
        return times < 2 ? "slow-down" : "pass";
      };
      expect(await store.createOnce(key(1), [Buffer.from("state")])).toBe("created");
      expect(Buffer.from((await store.read(key(1)))!).toString()).toBe("state");
      refused.clear();
      expect(await store.list(PREFIX)).toHaveLength(1);
      await store.remove(key(1));
      expect(await store.list(PREFIX)).toEqual([]);
      expect(line.seen.filter((entry) => entry.endsWith("slow-down"))).toHaveLength(8);
    });

    test("a write whose answer is lost counts as done: the object is there, once", async () => {
      const store = openS3Store(new S3Bucket(bucket, ""));
      let lost = 0;
      line.decide = ({ method }) => (method === "PUT" && lost++ === 0 ? "lose-answer" : "pass");
      expect(await store.createOnce(key(1), [Buffer.from("state")])).toBe("exists");
      expect(lost).toBe(2);
      expect(Buffer.from((await store.read(key(1)))!).toString()).toBe("state");
    });

    test("a large upload whose last request never works leaves no object and no parts", async () => {
      const store = openS3Store(new S3Bucket(bucket, "", { ...IN_PARTS, requestTries: 3 }));
      const isLast = ({ method, url }: IncomingMessage): boolean => method === "POST" && url!.includes("uploadId=");
      line.decide = (incoming) => (isLast(incoming) ? "slow-down" : "pass");
      await expect(store.createOnce(key(1), [randomBytes(7 << 20)])).rejects.toMatchObject({ code: "SNAPSHOTS_UNAVAILABLE" });
      expect(line.seen.filter((entry) => entry.startsWith("POST") && entry.endsWith("slow-down")).length).toBeGreaterThan(2);
      expect(await store.read(key(1))).toBeNull();
      expect(await (await fetch(`${server.endpoint}/${bucket}?uploads`)).text()).not.toContain("<Upload>");
    }, 60_000);
  });
});
