/** JSON whose numbers keep every digit: ids beyond 2^53 and prices such as 1.10 must come out as they went in. */

interface JsonWithSource {
  parse(text: string, reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown): unknown;
  rawJSON(text: string): object;
  isRawJSON(value: unknown): boolean;
}

/** ECMAScript 2026's JSON.parse source text access, which Node 24 has and TypeScript's library does not declare. */
const json = JSON as unknown as JsonWithSource;

/** A number that {@link parseExactly} kept as text; JSON.stringify gives it back. */
export function isRawJson(value: unknown): boolean {
  return json.isRawJSON(value);
}

/** As JSON.parse, but numbers that a double would round, or write otherwise, stay the text they are. */
export function parseExactly(text: string): unknown {
  return json.parse(text, (_key, value, { source }) =>
    typeof value === "number" && source !== undefined && String(value) !== source ? json.rawJSON(source) : value,
  );
}
