/** RFC 6901 pointers of rules: object members only, since a rule on "the third item" has no meaning for events. */

/** `/properties/amount` -> ["properties", "amount"]; a plain name is the top-level field of that name. */
export function parsePointer(text: string): string[] {
  if (!text.startsWith("/")) return [text];
  return text
    .slice(1)
    .split("/")
    .map((token) => token.replaceAll("~1", "/").replaceAll("~0", "~"));
}

export function formatPointer(tokens: readonly (string | number)[]): string {
  return tokens.map((token) => `/${String(token).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

/** Undefined when well-formed, else what is wrong. */
export function pointerProblem(text: string): string | undefined {
  if (text === "") return "a pointer to the whole event names no field";
  if (/~(?![01])/.test(text)) return "~ must be written ~0, / as ~1";
  const tokens = parsePointer(text);
  if (tokens.length > 4) return "at most four levels deep";
  const forbidden = tokens.find((token) => token === "__proto__" || token === "constructor" || token === "prototype" || token === "");
  return forbidden === undefined ? undefined : `the key ${JSON.stringify(forbidden)} is not allowed in events`;
}
