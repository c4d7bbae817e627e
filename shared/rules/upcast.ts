/**
 * How an event of an older version becomes one of the newest: each version says what changes on the way to the next, as renames and defaults.
 * What it means (docs/RULES.md), step by step from version to version: first every rename whose old field is there, whose new one is not, and
 * whose new place is in an object, all at once; then every default whose field is not there and whose place is in an object.
 */
import { parsePointer } from "./json-pointer.ts";
import type { EventTypeRule } from "./release-schema.ts";

type Scalar = string | number | boolean | null;

interface UpcastStep {
  readonly renames: readonly (readonly [from: string, to: string])[];
  readonly defaults: readonly (readonly [pointer: string, value: Scalar])[];
}

const MAX_POINTERS = 100;
const MAX_DEFAULT_CHARACTERS = 1_000;
const ENVELOPE =
  /^\/(?:event_id|event_time|user_id|event_type|source|session_id|device_info|geo_location|schema_version|properties)(?:\/|$)/;

/** Empty for the newest version, and for one that stays as it is. `versions`: of one event type. */
export function upcastSteps(type: EventTypeRule, versions: readonly EventTypeRule[]): UpcastStep[] {
  if (type.upcast === undefined) return [];
  return versions
    .filter((version) => version.schemaVersion >= type.schemaVersion && version.upcast !== undefined)
    .toSorted((a, b) => a.schemaVersion - b.schemaVersion)
    .map(({ upcast }) => ({ renames: Object.entries(upcast!.rename), defaults: Object.entries(upcast!.default) }));
}

/** All fields that the steps touch, in the order of their first naming. */
export function upcastPointers(steps: readonly UpcastStep[]): string[] {
  return [...new Set(steps.flatMap(({ renames, defaults }) => [...renames.flat(), ...defaults.map(([pointer]) => pointer)]))];
}

export function upcastProblems(eventTypes: readonly EventTypeRule[]): string[] {
  return [...new Set(eventTypes.map(({ name }) => name))].flatMap((name) => {
    const versions = eventTypes.filter((type) => type.name === name).toSorted((a, b) => a.schemaVersion - b.schemaVersion);
    return versions.flatMap((type) => {
      const title = `event type ${name} v${type.schemaVersion}, upcast`;
      return type.upcast === undefined ? [] : problemsOf(type, versions).map((problem) => `${title}: ${problem}`);
    });
  });
}

function problemsOf(type: EventTypeRule, versions: readonly EventTypeRule[]): string[] {
  const newer = versions.filter(({ schemaVersion }) => schemaVersion > type.schemaVersion);
  const [next] = newer;
  const newest = newer.at(-1);
  if (next === undefined || newest === undefined) return ["this is the newest version, there is none to become"];
  const steps = upcastSteps(type, versions);
  const stuck = newer.slice(0, -1).find(({ upcast }) => upcast === undefined);
  if (stuck !== undefined) return [`v${stuck.schemaVersion} has no upcast, so events would never become v${newest.schemaVersion}`];
  return [...placeProblems(type, steps), ...typeProblems(type, next), ...requiredProblems(type, newest, steps)];
}

function placeProblems({ upcast }: EventTypeRule, steps: readonly UpcastStep[]): string[] {
  const problems: string[] = [];
  const renames = Object.entries(upcast!.rename);
  const targets = renames.map(([, to]) => to);
  for (const [from, to] of renames) {
    if (ENVELOPE.test(from) && !isInProperties(from)) problems.push(`${from} is a field of every event and keeps its name`);
    if (!isInProperties(to)) problems.push(`${to}: a field can only move into /properties`);
    // All renames happen at once, and JSON objects have no order: what becomes of a field must not depend on which comes first.
    if (targets.includes(from)) problems.push(`${from} is both an old and a new name`);
    if (targets.indexOf(to) !== targets.lastIndexOf(to)) problems.push(`${to} is the new name of two fields`);
  }
  for (const [pointer, value] of Object.entries(upcast!.default)) {
    if (!isInProperties(pointer)) problems.push(`${pointer}: only fields in /properties can have a default`);
    if (typeof value === "string" && value.length > MAX_DEFAULT_CHARACTERS)
      problems.push(`${pointer}: a default has at most ${MAX_DEFAULT_CHARACTERS} characters`);
  }
  const all = upcastPointers(steps);
  if (all.length > MAX_POINTERS)
    problems.push(`${all.length} fields on the way to the newest version, at most ${MAX_POINTERS} are allowed`);
  for (const outer of all) {
    const inner = all.find((pointer) => pointer.startsWith(`${outer}/`));
    if (inner !== undefined) problems.push(`${inner} lies in ${outer}, which also changes`);
  }
  return problems;
}

function isInProperties(pointer: string): boolean {
  return parsePointer(pointer).length > 1 && pointer.startsWith("/properties/");
}

function typeProblems(type: EventTypeRule, next: EventTypeRule): string[] {
  const problems: string[] = [];
  for (const [from, to] of Object.entries(type.upcast!.rename)) {
    const [before, after] = [typeOf(from, type), typeOf(to, next)];
    const fits = after === "any" || before === after || (before === "integer" && after === "number");
    if (type.nullable.includes(from) && !next.nullable.includes(to) && next.fields[to] !== undefined)
      problems.push(`${from} may be null, but ${to} in v${next.schemaVersion} may not`);
    if (!fits) problems.push(`${from} has type ${before}, but ${to} in v${next.schemaVersion} has ${after}`);
  }
  for (const [pointer, value] of Object.entries(type.upcast!.default)) {
    const wanted = typeOf(pointer, next);
    if (value === null ? !next.nullable.includes(pointer) : !isOfType(value, wanted)) {
      problems.push(`the default of ${pointer} is ${JSON.stringify(value)}, which v${next.schemaVersion} does not allow there`);
    }
  }
  return problems;
}

function typeOf(pointer: string, type: EventTypeRule): string {
  const ruled = type.fields[pointer]?.type ?? "any";
  return ruled === "any" && type.measure === pointer ? "number" : ruled;
}

function isOfType(value: Exclude<Scalar, null>, type: string): boolean {
  if (type === "any") return true;
  if (typeof value !== "number") return typeof value === type;
  return type === "number" || (type === "integer" && Number.isSafeInteger(value));
}

function requiredProblems(type: EventTypeRule, newest: EventTypeRule, steps: readonly UpcastStep[]): string[] {
  let certain = new Set(type.required);
  for (const { renames, defaults } of steps) {
    const moved = new Map(renames);
    certain = new Set([...[...certain].map((pointer) => moved.get(pointer) ?? pointer), ...defaults.map(([pointer]) => pointer)]);
  }
  return newest.required
    .filter((pointer) => !certain.has(pointer))
    .map(
      (pointer) =>
        `${pointer} is required in v${newest.schemaVersion}, and an event of v${type.schemaVersion} may come without it: give it a default`,
    );
}
