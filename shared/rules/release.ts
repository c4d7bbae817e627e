/**
 * A release of the rules: event types, sources, and the rules on top of them, immutable under its version (docs/RULES.md). It comes from
 * PostgreSQL, is published as one JSON object and compiled once (plan.ts). Checked here, at the edge; a release that fails is refused whole, with
 * every problem.
 */
import { z } from "zod";
import { OperatingError } from "../kernel/errors.ts";
import { countChecks, effectiveProblems } from "./effective-type.ts";
import { formatPointer } from "./json-pointer.ts";
import { eventType, MAX_RULES, MAX_TYPES, type Release, release, rule, source, titleOfType } from "./release-schema.ts";
import { upcastProblems } from "./upcast.ts";

export type { FieldRule, FieldType } from "./field-rule.ts";
export { ENVELOPE_FIELDS, type EventTypeRule, type Release, type ReleaseInput } from "./release-schema.ts";

/** Of a release, so that neither compiling it nor holding it warm can surprise anyone. */
const MAX_FIELD_RULES = 5_000;
const MAX_CHECKS = 50_000;

export interface CheckedRelease {
  /** null when there are problems. */
  readonly release: Release | null;
  /** Each names what it is about (`event type click v1`, `rule strict-amounts`), the field, and what is wrong. */
  readonly problems: readonly string[];
}

/** Every problem at once: one part that is wrong does not hide what is wrong in the others. */
export function checkRelease(input: unknown): CheckedRelease {
  const problems: string[] = [];
  const outer = release.extend({
    eventTypes: z.array(z.unknown()).min(1).max(MAX_TYPES),
    sources: z.array(z.unknown()).max(1_000),
    rules: z.array(z.unknown()).max(MAX_RULES).default([]),
  });
  const parsed = outer.safeParse(input);
  if (!parsed.success) problems.push(...issues(parsed.error, ""));
  const part = (key: string): readonly unknown[] => {
    const list: unknown = (input as Readonly<Record<string, unknown>> | null)?.[key];
    return Array.isArray(list) ? list.slice(0, MAX_TYPES) : [];
  };
  const parts = <T>(key: string, schema: z.ZodType<T>, kind: string): T[] =>
    part(key).flatMap((entry, i) => {
      const one = schema.safeParse(entry);
      if (!one.success) problems.push(...issues(one.error, titleOf(kind, entry, i)));
      return one.success ? [one.data] : [];
    });
  const eventTypes = parts("eventTypes", eventType, "event type");
  const sources = parts("sources", source, "source");
  const rules = parts("rules", rule, "rule").toSorted((a, b) => a.priority - b.priority || (a.name < b.name ? -1 : 1));
  const sound = problems.length === 0;
  problems.push(
    ...repeated(eventTypes.map(titleOfType)),
    ...repeated(sources.map((entry) => `source ${entry.name}`)),
    ...repeated(rules.map((entry) => `rule ${entry.name}`)),
  );
  const count = [...eventTypes, ...rules].reduce((sum, { fields }) => sum + Object.keys(fields).length, 0);
  if (count > MAX_FIELD_RULES) problems.push(`the release has ${count} field rules, at most ${MAX_FIELD_RULES} are allowed`);
  const checks = countChecks({ eventTypes, rules });
  if (checks > MAX_CHECKS)
    problems.push(`rules and types come to ${checks} checks, at most ${MAX_CHECKS} are allowed: name fewer event types or sources`);
  // A rule may name a type that is itself wrong: what it says of others can only be told when all are known.
  else problems.push(...effectiveProblems({ eventTypes, sources, rules }, sound));
  problems.push(...upcastProblems(eventTypes));
  const complete = problems.length === 0 && parsed.success;
  return { release: complete ? { version: parsed.data.version, eventTypes, sources, rules } : null, problems: [...new Set(problems)] };
}

/** @throws OperatingError RULES_INVALID naming every problem. `origin` stands in the message. */
export function parseRelease(input: unknown, origin: string): Release {
  const { release: checked, problems } = checkRelease(input);
  if (checked !== null) return checked;
  throw new OperatingError(
    `rules ${origin} have ${problems.length} problem${problems.length === 1 ? "" : "s"}:\n${problems.map((problem) => `  ${problem}`).join("\n")}`,
    { code: "RULES_INVALID" },
  );
}

function titleOf(kind: string, entry: unknown, place: number): string {
  const { name: named, schemaVersion: version = 1 } = (typeof entry === "object" && entry !== null ? entry : {}) as Readonly<
    Record<string, unknown>
  >;
  const title = typeof named === "string" ? `${kind} ${named}` : `${kind} number ${place + 1}`;
  return kind === "event type" && typeof version === "number" ? `${title} v${version}` : title;
}

function issues(error: z.ZodError, title: string): string[] {
  return error.issues.map(({ path, message }) => {
    const [first, field, ...rest] = path.map(String);
    // The key of `fields` is a pointer already, and the one that a person looks for.
    const place =
      (first === "fields" || first === "rename" || first === "default") && field !== undefined
        ? [field.startsWith("/") ? field : `/${field}`, ...rest].join(" ")
        : formatPointer(path.map(String));
    return [[title, place].filter((text) => text !== "").join(", ") || "the release", message].join(": ");
  });
}

function repeated(titles: readonly string[]): string[] {
  return [...new Set(titles.filter((title, i) => titles.indexOf(title) !== i))].map((title) => `${title} is declared twice`);
}
