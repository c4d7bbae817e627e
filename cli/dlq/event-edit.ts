/**
 * Edits of an event as data: rename, delete, set, in this order. Numbers that a double would round stay the text they are; a member that is not
 * edited keeps its place.
 */
import { formatPointer, parsePointer } from "#shared/rules/json-pointer.ts";
import { UsageError } from "../command.ts";
import { isRawJson, parseExactly } from "../exact-json.ts";

export type Edit =
  | { readonly kind: "rename"; readonly from: string; readonly to: string }
  | { readonly kind: "delete"; readonly at: string }
  /** `json` is the text. */
  | { readonly kind: "set"; readonly at: string; readonly json: string };

/** What an edit did to one event: JSON texts; undefined = there was, or is, no such member. */
export interface Change {
  readonly pointer: string;
  readonly before: string | undefined;
  readonly after: string | undefined;
}

export const EDIT_OPTIONS = {
  rename: { type: "string", multiple: true },
  delete: { type: "string", multiple: true },
  set: { type: "string", multiple: true },
} as const;

export const EDIT_HELP = `  --rename /a=/b    moves a member; --delete /a removes one; --set /a=JSON sets one (objects on the way are made): in this order,
                    each repeatable; events that are no JSON object cannot be edited and are left out`;

const decoder = new TextDecoder("utf-8", { fatal: true });

type JsonObject = Record<string, unknown>;

/** @throws UsageError */
export function readEdits(values: {
  readonly rename?: readonly string[] | undefined;
  readonly delete?: readonly string[] | undefined;
  readonly set?: readonly string[] | undefined;
}): Edit[] {
  return [
    ...(values.rename ?? []).map((text): Edit => {
      const [, from, to] = /^(\/[^=]+)=(\/.+)$/.exec(text) ?? [];
      if (from === undefined || to === undefined) throw new UsageError(`--rename: must be /from=/to, got ${JSON.stringify(text)}`);
      return { kind: "rename", from: checked("rename", from), to: checked("rename", to) };
    }),
    ...(values.delete ?? []).map((text): Edit => ({ kind: "delete", at: checked("delete", text) })),
    ...(values.set ?? []).map((text): Edit => {
      const [, at, value] = /^(\/[^=]+)=([^]*)$/.exec(text) ?? [];
      if (at === undefined || value === undefined) throw new UsageError(`--set: must be /pointer=JSON, got ${JSON.stringify(text)}`);
      try {
        return { kind: "set", at: checked("set", at), json: JSON.stringify(parseExactly(value)) };
      } catch (thrown) {
        if (thrown instanceof UsageError) throw thrown;
        throw new UsageError(`--set: ${JSON.stringify(value)} is no JSON`, `a string needs its quotes: --set '${at}="text"'`);
      }
    }),
  ];
}

function checked(option: string, pointer: string): string {
  const isWrong = !pointer.startsWith("/") || /~(?![01])/.test(pointer) || pointer === "/";
  if (isWrong) throw new UsageError(`--${option}: ${JSON.stringify(pointer)} is no JSON pointer to a member, such as /properties/amount`);
  return formatPointer(parsePointer(pointer));
}

/** Undefined: no JSON object. */
export function parseEvent(value: Uint8Array): JsonObject | undefined {
  try {
    const event = parseExactly(decoder.decode(value));
    return isObject(event) ? event : undefined;
  } catch {
    return undefined;
  }
}

/** A string or a number, in full, as text; null for anything else. */
export function scalarText(value: unknown): string | null {
  if (typeof value === "string") return value;
  return typeof value === "number" || isRawJson(value) ? JSON.stringify(value) : null;
}

/** Undefined: the event cannot be edited, since it is no JSON object or a parent is none. */
export function editEvent(
  value: Uint8Array,
  edits: readonly Edit[],
): { readonly value: Uint8Array; readonly changes: Change[] } | undefined {
  const event = parseEvent(value);
  if (event === undefined) return undefined;
  const changes: Change[] = [];
  for (const edit of edits) if (!apply(event, edit, changes)) return undefined;
  const real = changes.filter(({ before, after }) => before !== after);
  return { value: real.length === 0 ? value : Buffer.from(JSON.stringify(event)), changes: real };
}

function apply(event: JsonObject, edit: Edit, changes: Change[]): boolean {
  if (edit.kind === "set") return put(event, edit.at, edit.json, changes);
  if (edit.kind === "delete") {
    take(event, edit.at, changes);
    return true;
  }
  const moved = take(event, edit.from, changes);
  // An event without the member has nothing to rename: that is no reason to leave it out.
  return moved === undefined || put(event, edit.to, moved, changes);
}

function take(event: JsonObject, pointer: string, changes: Change[]): string | undefined {
  const tokens = parsePointer(pointer);
  let parent: unknown = event;
  for (const token of tokens.slice(0, -1)) parent = isObject(parent) && Object.hasOwn(parent, token) ? parent[token] : undefined;
  const last = tokens.at(-1)!;
  if (!isObject(parent) || !Object.hasOwn(parent, last)) return undefined;
  const before = JSON.stringify(parent[last]);
  delete parent[last];
  changes.push({ pointer, before, after: undefined });
  return before;
}

function put(event: JsonObject, pointer: string, text: string, changes: Change[]): boolean {
  const tokens = parsePointer(pointer);
  let parent = event;
  for (const token of tokens.slice(0, -1)) {
    if (!Object.hasOwn(parent, token)) define(parent, token, {});
    const next = parent[token];
    if (!isObject(next)) return false;
    parent = next;
  }
  const last = tokens.at(-1)!;
  const before = Object.hasOwn(parent, last) ? JSON.stringify(parent[last]) : undefined;
  define(parent, last, parseExactly(text));
  changes.push({ pointer, before, after: text });
  return true;
}

/** An assignment to __proto__ would not make a member. */
function define(object: JsonObject, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !isRawJson(value);
}
