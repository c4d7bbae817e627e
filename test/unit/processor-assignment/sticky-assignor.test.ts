import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { assignSticky } from "#shared/assignment/sticky-assignor.ts";
import type { MemberClaim } from "#shared/clients/kafka/group-membership-requests.ts";

const claim = (memberId: string, owned: readonly number[], generation = 1): MemberClaim => ({ memberId, owned, generation });
const given = (members: readonly MemberClaim[], partitions: number): Record<string, number[]> =>
  Object.fromEntries(assignSticky(members, partitions));

describe("the sticky assignor", () => {
  test("gives everything to the only member", () => {
    expect(given([claim("a", [])], 3)).toEqual({ a: [0, 1, 2] });
  });

  test("takes from the old member first, and gives to the new one in the round after", () => {
    const first = given([claim("a", [0, 1, 2, 3]), claim("b", [])], 4);
    expect(first).toEqual({ a: [0, 1], b: [] });
    expect(given([claim("a", first["a"]!), claim("b", [])], 4)).toEqual({ a: [0, 1], b: [2, 3] });
  });

  test("moves nothing when a member leaves but what was its own", () => {
    expect(given([claim("a", [0, 1]), claim("b", [2, 3])], 6)).toEqual({ a: [0, 1, 4], b: [2, 3, 5] });
  });

  test("believes the younger generation when two claim a partition, and nobody when they are of one age", () => {
    expect(given([claim("a", [0, 1], 3), claim("b", [1], 4)], 2)).toEqual({ a: [0], b: [1] });
    expect(given([claim("a", [0, 1], 4), claim("b", [1], 4)], 2)).toEqual({ a: [0], b: [] });
  });

  test("leaves members without work when there are more of them than partitions", () => {
    expect(given([claim("a", []), claim("b", []), claim("c", [])], 2)).toEqual({ a: [0], b: [1], c: [] });
  });

  test("passes over claims of partitions that do not exist", () => {
    expect(given([claim("a", [7, -1])], 2)).toEqual({ a: [0, 1] });
  });

  test("never gives a partition to two, never to one while another has it, and is even after two rounds, for any claims", () => {
    const scenario = fc.integer({ min: 1, max: 40 }).chain((partitions) =>
      fc.record({
        partitions: fc.constant(partitions),
        members: fc.uniqueArray(
          fc.record({
            memberId: fc.string({ minLength: 1, maxLength: 3 }),
            owned: fc.array(fc.integer({ min: 0, max: partitions - 1 }), { maxLength: partitions }),
            generation: fc.integer({ min: 0, max: 3 }),
          }),
          { selector: ({ memberId }) => memberId, minLength: 1, maxLength: 8 },
        ),
      }),
    );
    fc.assert(
      fc.property(scenario, ({ partitions, members }) => {
        let claims: readonly MemberClaim[] = members;
        for (let round = 1; ; round++) {
          const result = assignSticky(claims, partitions);
          const all = [...result.values()].flat();
          expect(new Set(all).size).toBe(all.length);
          for (const { memberId } of claims) {
            for (const partition of result.get(memberId)!) {
              const others = claims.filter((other) => other.memberId !== memberId && other.owned.includes(partition));
              const own = claims.find((one) => one.memberId === memberId)!;
              // Whoever else claims it does so from an older generation, so has lost it already.
              for (const other of others) expect(own.owned.includes(partition) && other.generation < own.generation).toBe(true);
            }
          }
          const settled = claims.every(
            ({ memberId, owned }) => String([...new Set(owned)].sort((a, b) => a - b)) === String(result.get(memberId)),
          );
          if (settled && all.length === partitions) {
            const sizes = [...result.values()].map((own) => own.length);
            expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
            return;
          }
          expect(round).toBeLessThanOrEqual(3);
          claims = [...result].map(([memberId, owned]) => ({ memberId, owned, generation: 3 + round }));
        }
      }),
      { numRuns: 500 },
    );
  });
});
