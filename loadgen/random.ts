/**
 * The seeded random numbers of the load generator: the same seed gives the same stream on every machine. sfc32 (PractRand: passes 2^43
 * bytes), seeded through the finaliser of murmur3 so that neighbouring seeds share nothing.
 */

export interface Random {
  /** Uniform in [0, 2^32). */
  word(): number;
  /** Uniform in [0, 1). 32 bits. */
  fraction(): number;
  /** Uniform in [0, bound). `bound` at most 2^32. */
  below(bound: number): number;
}

export function createRandom(seed: string): Random {
  let hash = 0x9e3779b9;
  for (let i = 0; i < seed.length; i++) hash = mix(Math.imul(hash ^ seed.charCodeAt(i), 0x85ebca6b));
  let a = (hash = mix(hash + 0x9e3779b9));
  let b = (hash = mix(hash + 0x9e3779b9));
  let c = mix(hash + 0x9e3779b9);
  let counter = 1;
  const word = (): number => {
    const t = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + t;
    return t >>> 0;
  };
  for (let i = 0; i < 12; i++) word();
  return {
    word,
    fraction: () => word() / 0x1_0000_0000,
    // The bias of the product is below bound / 2^32.
    below: (bound) => Math.floor((word() / 0x1_0000_0000) * bound),
  };
}

function mix(word: number): number {
  let h = word | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
