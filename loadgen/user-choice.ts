/** Which user sends the next event. */
import { assert } from "#shared/kernel/assert.ts";
import type { Random } from "./random.ts";

export const DISTRIBUTIONS = ["uniform", "zipf"] as const;
export type Distribution = (typeof DISTRIBUTIONS)[number];

/** YCSB's constant: the busiest of 10,000 users gets about a tenth of the events. */
const SKEW = 0.99;

/** Draws a user number in [1, users]. */
export function createUserChoice(distribution: Distribution, users: number, random: Random): () => number {
  assert(Number.isSafeInteger(users) && users >= 1 && users <= 2 ** 32, "users must be an integer in [1, 2^32]");
  if (distribution === "uniform" || users < 3) return () => 1 + random.below(users);

  // Gray et al., Quickly Generating Billion-Record Synthetic Databases (SIGMOD 1994), as in YCSB: one pow per draw. O(users) once.
  let zeta = 0;
  for (let i = 1; i <= users; i++) zeta += i ** -SKEW;
  const alpha = 1 / (1 - SKEW);
  const second = 1 + 0.5 ** SKEW;
  const eta = (1 - (2 / users) ** (1 - SKEW)) / (1 - second / zeta);
  // Busy users must not be neighbours in number, or they would look like a range; an odd factor permutes [0, users) when it shares no divisor.
  let stride = 2_654_435_761 % users || 1;
  while (greatestCommonDivisor(stride, users) !== 1) stride++;
  return () => {
    const u = random.fraction();
    const weight = u * zeta;
    const rank = weight < 1 ? 0 : weight < second ? 1 : Math.min(users - 1, Math.floor(users * (eta * u - eta + 1) ** alpha));
    return 1 + ((rank * stride) % users);
  };
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
