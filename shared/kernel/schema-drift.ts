/** What a store's schema is against what its migrations make of it, object by object. */

export interface Drift {
  /** `table events: column value` */
  readonly what: string;
  /** Null: it should not be there. */
  readonly expected: string | null;
  /** Null: it is not there. */
  readonly found: string | null;
}

/** Definitions by name. Objects that only `found` has count when `isOurs` says so: tables of others may stand beside ours. */
export function compareSchemas(
  expected: ReadonlyMap<string, string>,
  found: ReadonlyMap<string, string>,
  isOurs: (what: string) => boolean,
): Drift[] {
  const changed = [...expected]
    .filter(([what, definition]) => found.get(what) !== definition)
    .map(([what, definition]) => ({ what, expected: definition, found: found.get(what) ?? null }));
  const added = [...found]
    .filter(([what]) => !expected.has(what) && isOurs(what))
    .map(([what, definition]) => ({ what, expected: null, found: definition }));
  return [...changed, ...added].toSorted((a, b) => (a.what < b.what ? -1 : 1));
}

/** As a diff: `-` what the migrations make, `+` what is there. */
export function describeDrift(drifts: readonly Drift[]): string {
  return drifts
    .map(({ what, expected, found }) => {
      const line = (sign: string, text: string | null): string =>
        text === null ? "" : text.split("\n").map((each) => `  ${sign} ${each}\n`).join(""); // prettier-ignore
      return `${what}\n${line("-", expected)}${line("+", found)}`;
    })
    .join("");
}
