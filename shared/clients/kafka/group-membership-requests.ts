/**
 * The requests of the classic group protocol (kafka.apache.org/protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup), and the subscription and
 * assignment of its protocol type `consumer`, whose form every broker's tools understand (ConsumerProtocolSubscription v2, ConsumerProtocolAssignment
 * v0: the forms before KIP-482).
 */
import { CorruptStateError } from "../../kernel/errors.ts";
import type { Api } from "./api.ts";
import type { Cluster } from "./cluster.ts";
import { WireWriter } from "./wire.ts";

const JOIN_GROUP: Api = { name: "JoinGroup", key: 11, version: 9 };
const SYNC_GROUP: Api = { name: "SyncGroup", key: 14, version: 5 };
const HEARTBEAT: Api = { name: "Heartbeat", key: 12, version: 4 };
const LEAVE_GROUP: Api = { name: "LeaveGroup", key: 13, version: 5 };

const PROTOCOL_TYPE = "consumer";
/** KIP-429 and what this one adds to it: who has what, and since which generation. */
const SUBSCRIPTION_VERSION = 2;
const ASSIGNMENT_VERSION = 0;

/** Who asks, as every request of the protocol says it. */
export interface MemberIdentity {
  readonly group: string;
  /** Empty before the first join. */
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly generation: number;
}

export interface MemberClaim {
  readonly memberId: string;
  /** Partitions that it works on. */
  readonly owned: readonly number[];
  /** In which generation it got them; of two that claim a partition, the younger generation is right. */
  readonly generation: number;
}

export interface JoinRequest {
  readonly protocol: string;
  readonly topic: string;
  readonly owned: readonly number[];
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly requestTimeoutMs: number;
}

export interface JoinAnswer {
  readonly code: number;
  readonly generation: number;
  readonly memberId: string;
  /** For the leader, who has to assign; null for everybody else, and for a leader that came back under its name and changed nothing. */
  readonly members: readonly MemberClaim[] | null;
}

export async function requestJoin(cluster: Cluster, who: MemberIdentity, join: JoinRequest): Promise<JoinAnswer> {
  const body = new WireWriter().string(who.group).int32(join.sessionTimeoutMs).int32(join.rebalanceTimeoutMs);
  body.string(who.memberId).string(who.instanceId).string(PROTOCOL_TYPE);
  body.array([join.protocol], (name) => void body.string(name).bytes(encodeSubscription(join, who.generation)).tags());
  body.string(null).tags();
  const coordinator = await cluster.coordinatorOf("group", who.group);
  return cluster.request(
    coordinator,
    JOIN_GROUP,
    body.finish(),
    (reader) => {
      reader.int32();
      const code = reader.int16();
      const generation = reader.int32();
      reader.nullableString();
      reader.nullableString();
      const leader = reader.string();
      const skipAssignment = reader.boolean();
      const memberId = reader.string();
      const members = reader.array((): MemberClaim => {
        const id = reader.string();
        reader.nullableString();
        const claim = decodeSubscription(reader.nullableBytes(), join.topic);
        reader.tags();
        return { memberId: id, ...claim };
      });
      return { code, generation, memberId, members: code === 0 && leader === memberId && !skipAssignment ? members : null };
    },
    join.requestTimeoutMs,
  );
}

export async function requestSync(
  cluster: Cluster,
  who: MemberIdentity,
  sync: { readonly protocol: string; readonly topic: string; readonly assignments: ReadonlyMap<string, readonly number[]> },
  timeoutMs: number,
): Promise<{ readonly code: number; readonly partitions: readonly number[] }> {
  const body = new WireWriter().string(who.group).int32(who.generation).string(who.memberId).string(who.instanceId);
  body.string(PROTOCOL_TYPE).string(sync.protocol);
  body.array([...sync.assignments], ([memberId, partitions]) => {
    body.string(memberId).bytes(encodeAssignment(sync.topic, partitions)).tags();
  });
  const coordinator = await cluster.coordinatorOf("group", who.group);
  return cluster.request(
    coordinator,
    SYNC_GROUP,
    body.tags().finish(),
    (reader) => {
      reader.int32();
      const code = reader.int16();
      reader.nullableString();
      reader.nullableString();
      return { code, partitions: code === 0 ? decodeAssignment(reader.nullableBytes(), sync.topic) : [] };
    },
    timeoutMs,
  );
}

export async function requestHeartbeat(cluster: Cluster, who: MemberIdentity, timeoutMs: number): Promise<number> {
  const body = new WireWriter().string(who.group).int32(who.generation).string(who.memberId).string(who.instanceId).tags();
  const coordinator = await cluster.coordinatorOf("group", who.group);
  return cluster.request(
    coordinator,
    HEARTBEAT,
    body.finish(),
    (reader) => {
      reader.int32();
      return reader.int16();
    },
    timeoutMs,
  );
}

export async function requestLeave(cluster: Cluster, who: MemberIdentity, timeoutMs: number): Promise<number> {
  const body = new WireWriter().string(who.group);
  body.array([who], ({ memberId, instanceId }) => void body.string(memberId).string(instanceId).string("leaving").tags());
  const coordinator = await cluster.coordinatorOf("group", who.group);
  return cluster.request(
    coordinator,
    LEAVE_GROUP,
    body.tags().finish(),
    (reader) => {
      reader.int32();
      return reader.int16();
    },
    timeoutMs,
  );
}

function classicList(body: WireWriter, topic: string, partitions: readonly number[]): void {
  body.int32(partitions.length > 0 ? 1 : 0);
  if (partitions.length === 0) return;
  body.classicString(topic).int32(partitions.length);
  for (const partition of partitions) body.int32(partition);
}

function encodeSubscription({ topic, owned }: JoinRequest, generation: number): Uint8Array {
  const body = new WireWriter().int16(SUBSCRIPTION_VERSION).int32(1).classicString(topic).int32(-1);
  classicList(body, topic, owned);
  return Buffer.concat(body.int32(generation).finish());
}

function encodeAssignment(topic: string, partitions: readonly number[]): Uint8Array {
  const body = new WireWriter().int16(ASSIGNMENT_VERSION);
  classicList(body, topic, partitions);
  return Buffer.concat(body.int32(-1).finish());
}

/** The forms before KIP-482. */
class ClassicReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  #take(size: number): number {
    const at = this.#at;
    if (size < 0 || at + size > this.#bytes.length) {
      throw new CorruptStateError("what a member of the group says of itself is cut short", { code: "KAFKA_PROTOCOL" });
    }
    this.#at = at + size;
    return at;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  int16(): number {
    return this.#bytes.readInt16BE(this.#take(2));
  }

  int32(): number {
    return this.#bytes.readInt32BE(this.#take(4));
  }

  string(): string {
    const length = this.int16();
    const at = this.#take(length);
    return this.#bytes.toString("utf8", at, at + length);
  }

  skipBytes(): void {
    this.#take(Math.max(0, this.int32()));
  }

  partitionsOf(topic: string): number[] {
    const found: number[] = [];
    for (let topics = this.int32(); topics > 0; topics--) {
      const isOurs = this.string() === topic;
      for (let count = this.int32(); count > 0; count--) {
        const partition = this.int32();
        if (isOurs) found.push(partition);
      }
    }
    return found;
  }
}

function decodeSubscription(bytes: Buffer | null, topic: string): { readonly owned: readonly number[]; readonly generation: number } {
  if (bytes === null || bytes.length === 0) return { owned: [], generation: -1 };
  const reader = new ClassicReader(bytes);
  const version = reader.int16();
  for (let topics = reader.int32(); topics > 0; topics--) reader.string();
  reader.skipBytes();
  const owned = version >= 1 && !reader.isAtEnd ? reader.partitionsOf(topic) : [];
  return { owned, generation: version >= 2 && !reader.isAtEnd ? reader.int32() : -1 };
}

/** Empty bytes: nothing is assigned. */
function decodeAssignment(bytes: Buffer | null, topic: string): number[] {
  if (bytes === null || bytes.length === 0) return [];
  const reader = new ClassicReader(bytes);
  reader.int16();
  return reader.partitionsOf(topic);
}
