/** Two releases side by side, as a person would tell the difference. Pure. */
import { formatPointer, parsePointer } from "#shared/rules/json-pointer.ts";
import type { Release } from "#shared/rules/release.ts";

export interface RulesChange {
  readonly sign: "+" | "-" | "~";
  /** `event type click v1`. */
  readonly what: string;
  /** Inside of it; "" = all of it. */
  readonly pointer: string;
  readonly before: unknown;
  readonly after: unknown;
}

export function rulesChanges(before: Release, after: Release): RulesChange[] {
  const old = partsOf(before);
  const fresh = partsOf(after);
  const changes: RulesChange[] = [];
  for (const [what, part] of fresh) {
    const previous = old.get(what);
    if (previous === undefined) changes.push({ sign: "+", what, pointer: "", before: undefined, after: part });
    else compare(previous, part, what, [], changes);
  }
  for (const [what, part] of old) if (!fresh.has(what)) changes.push({ sign: "-", what, pointer: "", before: part, after: undefined });
  return changes.toSorted((a, b) => (a.what === b.what ? 0 : a.what < b.what ? -1 : 1));
}

export function describeChanges(changes: readonly RulesChange[]): string {
  return changes
    .map(({ sign, what, pointer, before, after }) => {
      if (pointer === "") return `${sign} ${what}\n`;
      const values = before === undefined ? show(after) : after === undefined ? `was ${show(before)}` : `${show(before)} -> ${show(after)}`;
      // A field's own pointer stands in it unescaped, as in the release.
      return `${sign} ${what}  ${parsePointer(pointer).join(" ")}: ${values}\n`;
    })
    .join("");
}

function partsOf({ eventTypes, sources, rules, version: _version, ...rest }: Release): Map<string, unknown> {
  return new Map<string, unknown>([
    ...eventTypes.map(({ name, schemaVersion, ...schema }) => [`event type ${name} v${schemaVersion}`, schema] as const),
    ...sources.map(({ name, ...source }) => [`source ${name}`, source] as const),
    ...rules.map(({ name, ...rule }) => [`rule ${name}`, rule] as const),
    ...Object.entries(rest),
  ]);
}

function compare(before: unknown, after: unknown, what: string, path: readonly string[], changes: RulesChange[]): void {
  if (isObject(before) && isObject(after)) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)]))
      compare(before[key], after[key], what, [...path, key], changes);
    return;
  }
  // Lists of a release are sets, in no order that means anything.
  const same = (value: unknown): string =>
    JSON.stringify(Array.isArray(value) ? value.map((item) => JSON.stringify(item)).toSorted() : value) ?? "";
  if (same(before) === same(after)) return;
  const sign = before === undefined ? "+" : after === undefined ? "-" : "~";
  changes.push({ sign, what, pointer: formatPointer([...path]), before, after });
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 100 ? `${text.slice(0, 99)}…` : text;
}
