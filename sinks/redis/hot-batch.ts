/** What a run of records comes to as arguments of the script (apply-script.ts): the highest values of each key, however many rows there are. */

/** Kind, key, seconds to live, and what the script takes for the kind. */
export type HotValue = readonly (string | number)[];

export interface HotBatch {
  /** Keys to be written. */
  readonly size: number;
  /** `loggedMs`: when the log took the rows; `kind`: the record's header, if it has one. */
  add(value: Uint8Array, loggedMs: number, kind?: string): void;
  /** Each value that has not expired. */
  values(nowMs: number): HotValue[];
}

export function userIdAt(userId: Uint32Array, row: number): string {
  const low = userId[row * 2]!;
  const high = userId[row * 2 + 1]!;
  return high < 0x20_0000 ? String(high * 0x1_0000_0000 + low) : String((BigInt(high) << 32n) | BigInt(low));
}

/** Cheaper to make and to compare than the text; 64-bit ids that a double cannot hold stay text. */
export function userIdentity(userId: Uint32Array, row: number): number | string {
  const high = userId[row * 2 + 1]!;
  return high < 0x20_0000 ? high * 0x1_0000_0000 + userId[row * 2]! : userIdAt(userId, row);
}

/** A value lives as long as if it had been written when the log took its row: reading the log again revives nothing. */
export function ttlSeconds(whole: number, loggedMs: number, nowMs: number): number {
  return whole - Math.max(0, Math.floor((nowMs - loggedMs) / 1_000));
}
