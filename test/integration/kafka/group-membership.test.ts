/** Membership in a group of a real broker, by members that do nothing but hold partitions. */
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { assignSticky, STICKY_PROTOCOL } from "#shared/assignment/sticky-assignor.ts";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { GroupMembership, type MembershipListener } from "#shared/clients/kafka/group-membership.ts";
import { topicName } from "#shared/events/names.ts";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import { toError } from "#shared/kernel/errors.ts";
import { settles } from "#test/support/process.ts";
import { uniqueLane } from "#test/support/stack.ts";

const PARTITIONS = 4;
const lane = uniqueLane();
let brokers: string[];
const members: Holder[] = [];

/** Holds what it is given; what is taken away it gives up at once, or when it is told to. */
class Holder implements MembershipListener {
  readonly #leaving = new AbortController();
  readonly #givesUp: boolean;
  readonly #membership: GroupMembership;
  readonly ended: Promise<Error | null>;
  held: number[] = [];
  revoked: number[] = [];

  constructor(instanceId: string, { givesUp = true } = {}) {
    this.#givesUp = givesUp;
    this.#membership = new GroupMembership(
      { brokers, clientId: `weir-holder-${instanceId}` },
      {
        group: lane,
        topic: topicName(lane, "valid"),
        partitions: PARTITIONS,
        protocol: STICKY_PROTOCOL,
        assign: assignSticky,
        sessionTimeoutMs: 60_000,
        instanceId,
        onTrouble: () => undefined,
      },
    );
    members.push(this);
    this.ended = this.#membership.run(this, this.#leaving.signal).then(() => null, toError);
  }

  owned(): readonly number[] {
    return this.held;
  }

  assigned(partitions: readonly number[]): void {
    this.revoked = this.held.filter((partition) => !partitions.includes(partition));
    if (!this.#givesUp) return void (this.held = [...new Set([...this.held, ...partitions])]);
    this.held = [...partitions];
    if (this.revoked.length > 0) this.#membership.rejoin();
  }

  async lost(): Promise<void> {
    this.held = [];
  }

  leave(): void {
    this.#leaving.abort();
  }
}

beforeAll(async () => {
  brokers = inject("stack").kafka.split(",");
  await createTopics(brokers, topicSpecs(lane, PARTITIONS, { replicationFactor: 1 }));
});
afterAll(async () => {
  for (const member of members) member.leave();
  await Promise.all(members.map(({ ended }) => ended));
});

test("a partition whose owner ends while it hands over is assigned when the owner's name is back, long before its session ends", async () => {
  const first = new Holder("a", { givesUp: false });
  await settles(() => expect(first.held).toEqual([0, 1, 2, 3]), { limitMs: 30_000 });
  const second = new Holder("b");
  await settles(() => expect(first.revoked).toEqual([2, 3]), { limitMs: 30_000 });
  // Takes the name of the first, as the restart of a killed process does: the broker gives it the place in a round that is over.
  const restarted = new Holder("a");
  expect(await first.ended).toMatchObject({ code: "KAFKA_INSTANCE_FENCED" });
  await settles(() => expect([...restarted.held, ...second.held].toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3]), { limitMs: 30_000 });
});
