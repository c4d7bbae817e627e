import type { Config } from "#shared/config/config.ts";

export interface Limits {
  readonly eventBytes: number;
  /** The event itself is depth 1. At most 200: the scanner recurses. */
  readonly depth: number;
  /** Over the whole event. */
  readonly keys: number;
  /** Of one array. */
  readonly items: number;
  /** Of one string and one key, as written between the quotes. */
  readonly stringBytes: number;
  readonly keyBytes: number;
  /** Names and values of one record's headers. */
  readonly headerBytes: number;
  readonly sessionIdBytes: number;
  readonly maxFutureSkewMs: number;
  readonly maxAgeMs: number;
  /** The lane is one of history: no age check, whatever the source. */
  readonly historical: boolean;
  /** Off only where records have no key: `weir check` on lines of a file. */
  readonly checkKey: boolean;
}

export const DEFAULT_LIMITS: Limits = {
  eventBytes: 262_144,
  depth: 32,
  keys: 1_000,
  items: 1_000,
  stringBytes: 32_768,
  keyBytes: 1_024,
  headerBytes: 16_384,
  sessionIdBytes: 128,
  maxFutureSkewMs: 300_000,
  maxAgeMs: 30 * 86_400_000,
  historical: false,
  checkKey: true,
};

export function limitsOf(config: Pick<Config, "maxEventBytes" | "maxFutureSkewMs" | "maxAgeMs" | "historical">): Limits {
  return {
    ...DEFAULT_LIMITS,
    eventBytes: config.maxEventBytes,
    maxFutureSkewMs: config.maxFutureSkewMs,
    maxAgeMs: config.maxAgeMs,
    historical: config.historical,
  };
}
