/** Fetch v12: the last version that names topics by name. Sessionless (KIP-227): each request says all it wants. */
import { brokerError, CODE } from "./broker-error.ts";
import type { Api } from "./api.ts";
import type { BufferPool } from "./buffer-pool.ts";
import type { Cluster } from "./cluster.ts";
import { type AbortedTransaction, decodeBatches } from "./record-batch.ts";
import type { FetchedPartition, FetchOptions, FetchRequest } from "./types.ts";
import { type Body, type WireReader, WireWriter } from "./wire.ts";

const FETCH: Api = { name: "Fetch", key: 1, version: 12 };
const MAX_BYTES = 16 << 20;
const PARTITION_MAX_BYTES = 4 << 20;
const MAX_WAIT_MS = 100;
/** On top of the wait that we ask for. */
const ANSWER_MS = 30_000;

interface Answer {
  readonly topic: string;
  readonly partition: number;
  readonly code: number;
  readonly highWatermarkOffset: number;
  readonly lastStableOffset: number;
  readonly logStartOffset: number;
  readonly aborted: readonly AbortedTransaction[];
  readonly bytes: Buffer;
  readonly frame: SharedFrame;
}

/** The receive buffer behind the partitions of one answer: goes back to the pool when each of them has done with it. */
class SharedFrame {
  readonly #pool: BufferPool;
  readonly #frame: Buffer;
  #users = 0;

  constructor(pool: BufferPool, frame: Buffer) {
    this.#pool = pool;
    this.#frame = frame;
  }

  addUser(): void {
    this.#users += 1;
  }

  release(): void {
    this.#users -= 1;
    if (this.#users === 0) this.#pool.give(this.#frame);
  }
}

function once(release: () => void): () => void {
  let done = false;
  return () => {
    if (!done) release();
    done = true;
  };
}

export async function fetchFrom(cluster: Cluster, requests: readonly FetchRequest[], options: FetchOptions): Promise<FetchedPartition[]> {
  const byLeader = new Map<string, FetchRequest[]>();
  for (const request of requests) {
    const leader = await cluster.leaderOf(request.topic, request.partition);
    const known = byLeader.get(leader);
    if (known === undefined) byLeader.set(leader, [request]);
    else known.push(request);
  }
  const maxWaitMs = options.maxWaitMs ?? MAX_WAIT_MS;
  const answers = await Promise.all(
    [...byLeader].map(([leader, wanted]) =>
      cluster.request(
        leader,
        FETCH,
        encodeFetch(wanted, options),
        (reader, frame) => readAnswers(reader, frame, cluster.pool),
        maxWaitMs + ANSWER_MS,
      ),
    ),
  );
  const found = new Map(answers.flat().map((answer) => [`${answer.topic}/${answer.partition}`, answer]));
  return requests.map((request) => {
    const where = `${request.topic}/${request.partition}`;
    const answer = found.get(where);
    if (answer === undefined) throw brokerError(where, CODE.unknownTopicOrPartition);
    if (answer.code !== CODE.none) {
      throw brokerError(answer.code === CODE.offsetOutOfRange ? `${where} at offset ${request.offset}` : where, answer.code);
    }
    const aborted = options.isolation === "read_committed" ? answer.aborted : [];
    const { records, nextOffset, viewsAnswer } = decodeBatches(answer.bytes, request.offset, aborted, where);
    const { highWatermarkOffset, lastStableOffset, logStartOffset } = answer;
    const release = once(() => answer.frame.release());
    if (!viewsAnswer) release();
    return {
      topic: request.topic,
      partition: request.partition,
      highWatermarkOffset,
      lastStableOffset,
      logStartOffset,
      records,
      nextOffset,
      release,
    };
  });
}

let turn = 0;

function encodeFetch(requests: readonly FetchRequest[], options: FetchOptions): Body {
  const body = new WireWriter()
    .int32(-1)
    .int32(options.maxWaitMs ?? MAX_WAIT_MS)
    .int32(options.minBytes ?? 1)
    .int32(options.maxBytes ?? MAX_BYTES)
    .int8(options.isolation === "read_committed" ? 1 : 0)
    .int32(0)
    .int32(-1);
  // The broker fills an answer in the order asked for: whoever came first would starve the others (KIP-74).
  const first = turn++ % requests.length;
  const topics = Map.groupBy([...requests.slice(first), ...requests.slice(0, first)], (request) => request.topic);
  body.array([...topics], ([topic, wanted]) => {
    body.string(topic).array(wanted, ({ partition, offset }) => {
      body
        .int32(partition)
        .int32(-1)
        .int64(offset)
        .int32(-1)
        .int64(-1)
        .int32(options.partitionMaxBytes ?? PARTITION_MAX_BYTES)
        .tags();
    });
    body.tags();
  });
  return body
    .array([], () => undefined)
    .string("")
    .tags()
    .finish();
}

function readAnswers(reader: WireReader, frame: Buffer, pool: BufferPool): Answer[] {
  const shared = new SharedFrame(pool, frame);
  reader.int32();
  const code = reader.int16();
  reader.int32();
  const topics = reader.array(() => {
    const topic = reader.string();
    const partitions = reader.array(() => readPartition(reader, topic, shared));
    reader.tags();
    return partitions;
  });
  if (code !== CODE.none) throw brokerError("fetch", code);
  return topics.flat();
}

function readPartition(reader: WireReader, topic: string, frame: SharedFrame): Answer {
  frame.addUser();
  const partition = reader.int32();
  const code = reader.int16();
  const highWatermarkOffset = reader.int64();
  const lastStableOffset = reader.int64();
  const logStartOffset = reader.int64();
  const aborted = reader.array(() => {
    const producerId = reader.bigint64();
    const firstOffset = reader.int64();
    reader.tags();
    return { producerId, firstOffset };
  });
  reader.int32();
  const bytes = reader.nullableBytes() ?? Buffer.alloc(0);
  reader.tags();
  return { topic, partition, code, highWatermarkOffset, lastStableOffset, logStartOffset, aborted, bytes, frame };
}
