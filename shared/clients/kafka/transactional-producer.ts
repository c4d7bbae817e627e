/**
 * Transactions of one transactional id (KIP-98), by protocol V2 where the cluster has it (KIP-890 part 2: each EndTxn answers with the next epoch,
 * so a delayed EndTxn can never touch the following transaction), else V1.
 *
 * Owns: producer id, epoch, and the next sequence per partition. States: idle -> open (first send or offset commit) -> idle (commit) or dead.
 * I1 After any error the producer is dead: no call of its life sends anything any more. Recovery is InitProducerId, OffsetFetch, replay.
 * I2 A sequence is never used twice within an epoch; with a new epoch they begin at 0.
 * I3 EndTxn is sent only when every send and offset commit of the transaction was acknowledged.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { FencedError, OperatingError, toError, TransientError, UnknownOutcomeError } from "../../kernel/errors.ts";
import { BrokerError, brokerError, CODE, ConnectionLostError, isFencing } from "./broker-error.ts";
import type { Api } from "./api.ts";
import type { Cluster } from "./cluster.ts";
import { readCommitCode, writeOffsets } from "./group-offsets.ts";
import { type PartitionBatch, produceTo } from "./produce.ts";
import { encodeBatch } from "./record-batch.ts";
import type { CommittedOffset, Compression, OutgoingRecord, TopicPartition, TransactionalProducer } from "./types.ts";
import { type Body, type WireReader, WireWriter } from "./wire.ts";

const INIT_PRODUCER_ID: Api = { name: "InitProducerId", key: 22, version: 4 };
const ADD_PARTITIONS: Api = { name: "AddPartitionsToTxn", key: 24, version: 3 };
const ADD_OFFSETS: Api = { name: "AddOffsetsToTxn", key: 25, version: 3 };
/**
 * Answers to a produce after which the very batch may be sent again. The coordinator was busy with another partition of this transaction or with
 * the markers of the one before (reported as NOT_ENOUGH_REPLICAS: ReplicaManager's verification guard), or the partition's leader moved.
 */
const SEND_AGAIN: ReadonlySet<number> = new Set([
  CODE.concurrentTransactions,
  CODE.notEnoughReplicas,
  CODE.notLeaderOrFollower,
  CODE.leaderNotAvailable,
  CODE.fencedLeaderEpoch,
  CODE.unknownLeaderEpoch,
]);
/** The coordinator gives these also when its own append of the decision fails half-way (TransactionStateManager.appendTransactionToLog). */
const UNDECIDED: ReadonlySet<number> = new Set([
  CODE.unknownServerError,
  CODE.requestTimedOut,
  CODE.coordinatorNotAvailable,
  CODE.notCoordinator,
]);
const BUSY_FROM_MS = 2;
const BUSY_UP_TO_MS = 50;
const BUSY_LIMIT_MS = 30_000;

/** Pauses between tries of one request: short at first, since markers are mostly written within milliseconds. */
class Patience {
  readonly #began = performance.now();
  #pauseMs = BUSY_FROM_MS;

  /** False when it is over. */
  async wait(): Promise<boolean> {
    if (performance.now() - this.#began > BUSY_LIMIT_MS) return false;
    await sleep(this.#pauseMs);
    this.#pauseMs = Math.min(this.#pauseMs * 1.25, BUSY_UP_TO_MS);
    return true;
  }
}

/** Repeats while the coordinator is busy with the transaction before; it did nothing then. */
async function whenFree<T extends { readonly code: number }>(what: string, attempt: () => Promise<T>): Promise<T> {
  const patience = new Patience();
  for (;;) {
    const answer = await attempt();
    if (answer.code !== CODE.concurrentTransactions) return answer;
    if (!(await patience.wait())) {
      throw new TransientError(`${what}: the coordinator is busy with the transaction before for more than ${BUSY_LIMIT_MS / 1_000} s`, {
        code: "KAFKA_TRANSACTION_STUCK",
        hint: "kafka-transactions.sh describe names the partition whose leader does not take the marker",
      });
    }
  }
}

export async function openProducer(
  cluster: Cluster,
  transactionalId: string,
  transactionTimeoutMs: number,
): Promise<TransactionalProducer> {
  return cluster.retry(`transactional id ${transactionalId}`, { repeatable: true }, async () => {
    const coordinator = await cluster.coordinatorOf("transaction", transactionalId);
    const protocol = (await cluster.transactionVersion()) >= 2 ? "V2" : "V1";
    // -1/-1: "whoever held the id before is fenced". Any other pair claims to be that holder (KIP-360).
    const body = new WireWriter().string(transactionalId).int32(transactionTimeoutMs).bigint64(-1n).int16(-1).tags();
    const answer = await whenFree(`transactional id ${transactionalId}`, () =>
      cluster.request(coordinator, INIT_PRODUCER_ID, body.finish(), (reader) => {
        reader.int32();
        return { code: reader.int16(), producerId: reader.bigint64(), epoch: reader.int16() };
      }),
    );
    if (isFencing(answer.code)) throw fenced(transactionalId, answer.code);
    if (answer.code !== CODE.none) throw brokerError(`transactional id ${transactionalId}`, answer.code);
    return new Producer(cluster, transactionalId, protocol, answer.producerId, answer.epoch);
  });
}

function fenced(transactionalId: string, code: number): FencedError {
  return new FencedError(`a newer owner of ${transactionalId} exists`, { code: "KAFKA_FENCED", cause: brokerError(transactionalId, code) });
}

interface NumberedBatch extends PartitionBatch {
  readonly where: string;
}

interface QueuedSend {
  readonly where: string;
  readonly to: TopicPartition;
  readonly records: readonly OutgoingRecord[];
  readonly compression: Compression;
  resolve(baseOffset: number): void;
  reject(error: Error): void;
}

class Producer implements TransactionalProducer {
  readonly protocol: "V1" | "V2";
  readonly #cluster: Cluster;
  readonly #transactionalId: string;
  readonly #sequences = new Map<string, number>();
  readonly #added = new Set<string>();
  #producerId: bigint;
  #epoch: number;
  #queue: QueuedSend[] = [];
  #sending = false;
  #inFlight = 0;
  #open = false;
  #death: Error | undefined;

  constructor(cluster: Cluster, transactionalId: string, protocol: "V1" | "V2", producerId: bigint, epoch: number) {
    this.#cluster = cluster;
    this.#transactionalId = transactionalId;
    this.protocol = protocol;
    this.#producerId = producerId;
    this.#epoch = epoch;
  }

  get producerId(): bigint {
    return this.#producerId;
  }

  get epoch(): number {
    return this.#epoch;
  }

  send(to: TopicPartition, records: readonly OutgoingRecord[], options?: { readonly compression?: Compression }): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ where: `${to.topic}/${to.partition}`, to, records, compression: options?.compression ?? "none", resolve, reject });
      // Waits for the rest of this turn's sends: they go together.
      if (this.#queue.length === 1 && !this.#sending) queueMicrotask(() => void this.#sendQueue());
    });
  }

  /**
   * Rounds of one request per leader with the first waiting batch of each partition. One request adds all its partitions to the transaction at
   * once; requests beside each other would make the coordinator refuse all but one for its back-off of 20 ms.
   */
  async #sendQueue(): Promise<void> {
    this.#sending = true;
    while (this.#queue.length > 0) {
      const round = new Map<string, QueuedSend>();
      for (const send of this.#queue) if (!round.has(send.where)) round.set(send.where, send);
      const sends = [...round.values()];
      this.#queue = this.#queue.filter((send) => round.get(send.where) !== send);
      try {
        const offsets = await this.#guard(() => this.#sendRound(sends));
        for (const [i, send] of sends.entries()) send.resolve(offsets[i]!);
      } catch (thrown) {
        for (const send of sends) send.reject(toError(thrown));
      }
    }
    this.#sending = false;
  }

  async #sendRound(sends: readonly QueuedSend[]): Promise<number[]> {
    this.#open = true;
    if (this.protocol === "V1") await this.#addPartitions(sends);
    const batches = sends.map(({ where, to, records, compression }) => {
      const sequence = this.#sequences.get(where) ?? 0;
      this.#sequences.set(where, (sequence + records.length) % 0x8000_0000);
      const producer = { producerId: this.#producerId, epoch: this.#epoch, sequence, transactional: true };
      return {
        where,
        to,
        batch: encodeBatch(records, { compression, defaultTimestampMs: Date.now(), producer, pool: this.#cluster.pool }),
      };
    });
    const offsets = new Map<string, number>();
    await this.#deliver(batches, offsets, new Patience());
    for (const { batch } of batches) this.#cluster.pool.give(batch.owned);
    return sends.map(({ where }) => offsets.get(where)!);
  }

  /**
   * One request per leader. Where the answer is surely "not now" the very same batches go again, to whoever leads then: one that was appended
   * after all is known to the broker by its sequence.
   */
  async #deliver(batches: readonly NumberedBatch[], offsets: Map<string, number>, patience: Patience): Promise<void> {
    const byLeader = new Map<string, NumberedBatch[]>();
    for (const batch of batches) {
      const { topic, partition } = batch.to;
      const leader = await this.#cluster.retry(`leader of ${batch.where}`, { repeatable: true }, () =>
        this.#cluster.leaderOf(topic, partition),
      );
      const known = byLeader.get(leader);
      if (known === undefined) byLeader.set(leader, [batch]);
      else known.push(batch);
    }
    const options = { transactionalId: this.#transactionalId, version: this.protocol === "V2" ? 12 : 11 } as const;
    await Promise.all(
      [...byLeader].map(async ([leader, group]) => {
        try {
          const baseOffsets = await produceTo(this.#cluster, leader, group, options);
          for (const [i, { where }] of group.entries()) offsets.set(where, baseOffsets[i]!);
        } catch (thrown) {
          if (!(thrown instanceof BrokerError) || !SEND_AGAIN.has(thrown.brokerCode) || !(await patience.wait())) throw thrown;
          if (thrown.brokerCode !== CODE.concurrentTransactions) this.#cluster.forget();
          await this.#deliver(group, offsets, patience);
        }
      }),
    );
  }

  async #addPartitions(sends: readonly QueuedSend[]): Promise<void> {
    const fresh = sends.filter(({ where }) => !this.#added.has(where));
    if (fresh.length === 0) return;
    const body = this.#identity();
    body.array([...Map.groupBy(fresh, ({ to }) => to.topic)], ([topic, wanted]) => {
      body.string(topic).array(wanted, ({ to }) => void body.int32(to.partition));
      body.tags();
    });
    await this.#toCoordinator("transaction", this.#transactionalId, ADD_PARTITIONS, body.tags().finish(), readCommitCode);
    for (const { where } of fresh) this.#added.add(where);
  }

  #identity(): WireWriter {
    return new WireWriter().string(this.#transactionalId).bigint64(this.#producerId).int16(this.#epoch);
  }

  /** Finding out is harmless, so it may be repeated where the requests themselves may not. */
  #coordinator(kind: "group" | "transaction", id: string): Promise<string> {
    return this.#cluster.retry(`coordinator of ${kind} ${id}`, { repeatable: true }, () => this.#cluster.coordinatorOf(kind, id));
  }

  /** Repeats while the coordinator says that nothing happened (it moves, loads or is busy), throws any other code. */
  async #toCoordinator(
    kind: "group" | "transaction",
    id: string,
    api: Api,
    body: Body,
    readCode: (reader: WireReader) => number,
  ): Promise<void> {
    const what = `${api.name} of ${this.#transactionalId}`;
    await this.#cluster.retry(what, { repeatable: false }, async () => {
      const coordinator = await this.#cluster.coordinatorOf(kind, id);
      const { code } = await whenFree(what, async () => ({ code: await this.#cluster.request(coordinator, api, body, readCode) }));
      if (code !== CODE.none) throw brokerError(what, code);
    });
  }

  commitOffsets(group: string, offsets: readonly CommittedOffset[]): Promise<void> {
    return this.#guard(async () => {
      this.#open = true;
      if (this.protocol === "V1") {
        const adding = this.#identity().string(group).tags().finish();
        await this.#toCoordinator("transaction", this.#transactionalId, ADD_OFFSETS, adding, readCode);
      }
      const body = new WireWriter().string(this.#transactionalId).string(group).bigint64(this.#producerId).int16(this.#epoch);
      body.int32(-1).string("").string(null);
      writeOffsets(body, offsets);
      const api: Api = { name: "TxnOffsetCommit", key: 28, version: this.protocol === "V2" ? 5 : 3 };
      await this.#toCoordinator("group", group, api, body.tags().finish(), readCommitCode);
    });
  }

  async commit(): Promise<void> {
    if (this.#inFlight > 0 || this.#queue.length > 0)
      throw this.#die(new OperatingError("commit before every send was acknowledged", { code: "KAFKA_COMMIT_EARLY" }));
    if (this.#death === undefined && !this.#open) return;
    await this.#guard(async () => {
      const coordinator = await this.#coordinator("transaction", this.#transactionalId);
      const api: Api = { name: "EndTxn", key: 26, version: this.protocol === "V2" ? 5 : 3 };
      const body = this.#identity().boolean(true).tags().finish();
      const what = `EndTxn of ${this.#transactionalId}`;
      const answer = await whenFree(what, () =>
        this.#cluster.request(coordinator, api, body, (reader) => {
          const code = readCode(reader);
          return this.protocol === "V1" || code !== CODE.none ? { code } : { code, producerId: reader.bigint64(), epoch: reader.int16() };
        }),
      ).catch((thrown: unknown) => {
        throw thrown instanceof ConnectionLostError ? this.#unknownOutcome(thrown) : thrown;
      });
      if (UNDECIDED.has(answer.code)) throw this.#unknownOutcome(brokerError(what, answer.code));
      if (answer.code !== CODE.none) throw brokerError(what, answer.code);
      if (answer.producerId !== undefined) {
        this.#producerId = answer.producerId;
        this.#epoch = answer.epoch;
        this.#sequences.clear();
      }
      this.#open = false;
      this.#added.clear();
    });
  }

  #unknownOutcome(cause: Error): UnknownOutcomeError {
    return new UnknownOutcomeError(`whether the transaction of ${this.#transactionalId} was committed is unknown: ${cause.message}`, {
      code: "KAFKA_COMMIT_UNKNOWN",
      cause,
    });
  }

  async #guard<T>(attempt: () => Promise<T>): Promise<T> {
    if (this.#death !== undefined) {
      throw new OperatingError(`the producer of ${this.#transactionalId} is dead: ${this.#death.message}`, {
        code: "KAFKA_PRODUCER_DEAD",
        cause: this.#death,
      });
    }
    this.#inFlight += 1;
    try {
      return await attempt();
    } catch (thrown) {
      throw this.#die(thrown);
    } finally {
      this.#inFlight -= 1;
    }
  }

  #die(thrown: unknown): Error {
    const error =
      thrown instanceof BrokerError && isFencing(thrown.brokerCode) ? fenced(this.#transactionalId, thrown.brokerCode) : toError(thrown);
    this.#death ??= error;
    // Perhaps a leader moved: the next owner of the id in this process must not meet the same wrong one for ever.
    this.#cluster.forget();
    return error;
  }
}

function readCode(reader: WireReader): number {
  reader.int32();
  return reader.int16();
}
