/**
 * Whom each partition goes to: even to one, and otherwise where it is. A partition that has to move is left out of this round for both, so that
 * its owner gives it up first (KIP-429: no partition has two owners between two rounds). Pure; every member comes to the same.
 */
import type { MemberClaim } from "#shared/clients/kafka/group-membership-requests.ts";

export const STICKY_PROTOCOL = "weir-sticky-1";

export function assignSticky(members: readonly MemberClaim[], partitions: number): Map<string, number[]> {
  const ownerOf = owners(members, partitions);
  const given = new Map(members.map(({ memberId }) => [memberId, [] as number[]]));
  const quotas = quotasOf(members, ownerOf, partitions);
  const free: number[] = [];
  for (let partition = 0; partition < partitions; partition++) {
    const owner = ownerOf[partition];
    const list = owner === undefined || owner === null ? undefined : given.get(owner);
    if (list !== undefined && list.length < quotas.get(owner!)!) list.push(partition);
    // Claimed by two: both give it up, and the next round finds it free.
    else if (owner !== null) free.push(partition);
  }
  const receivers = [...given].toSorted(([a], [b]) => (a < b ? -1 : 1));
  for (const partition of free) {
    // The emptiest of those with room, so that one failure's partitions spread.
    let best: (typeof receivers)[number] | undefined;
    for (const receiver of receivers) {
      const [memberId, list] = receiver;
      if (list.length < quotas.get(memberId)! && (best === undefined || list.length < best[1].length)) best = receiver;
    }
    best![1].push(partition);
  }
  // What has another owner still is planned for its receiver, not given yet.
  return new Map(
    receivers.map(([memberId, list]) => [
      memberId,
      list.filter((partition) => (ownerOf[partition] ?? memberId) === memberId).toSorted((a, b) => a - b),
    ]),
  );
}

/** undefined: nobody's; null: claimed twice in the same generation. */
function owners(members: readonly MemberClaim[], partitions: number): (string | null | undefined)[] {
  const ownerOf: (string | null | undefined)[] = Array.from({ length: partitions });
  const since: number[] = Array.from({ length: partitions }, () => Number.NEGATIVE_INFINITY);
  for (const { memberId, owned, generation } of members) {
    for (const partition of new Set(owned)) {
      if (partition < 0 || partition >= partitions || generation < since[partition]!) continue;
      ownerOf[partition] = generation === since[partition] ? null : memberId;
      since[partition] = generation;
    }
  }
  return ownerOf;
}

/** Sums to at least the number of partitions; the odd ones go to those who have most, which moves least. */
function quotasOf(
  members: readonly MemberClaim[],
  ownerOf: readonly (string | null | undefined)[],
  partitions: number,
): ReadonlyMap<string, number> {
  const even = Math.floor(partitions / members.length);
  let odd = partitions % members.length;
  const has = new Map<string, number>();
  for (const owner of ownerOf) if (typeof owner === "string") has.set(owner, (has.get(owner) ?? 0) + 1);
  const mostFirst = members.map(({ memberId }) => memberId).toSorted((a, b) => (has.get(b) ?? 0) - (has.get(a) ?? 0) || (a < b ? -1 : 1));
  return new Map(mostFirst.map((memberId) => [memberId, even + (odd-- > 0 ? 1 : 0)]));
}
