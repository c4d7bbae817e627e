/**
 * A release compiled for the scanner: flat numbers, no look-up by string per event. Compiled once per release.
 *
 * Every field that any rule names has one *field id* over the whole release, numbered so that the members of one object (a *node*) follow
 * each other; the ids below {@link ENVELOPE_FIELDS}.length are the envelope's. The scanner notes where a field's value stands; which rules
 * apply is known only when the event type is, and that may stand last.
 */
import { type EffectiveType, effectiveType, sourcesOf } from "./effective-type.ts";
import { formatPointer, parsePointer } from "./json-pointer.ts";
import { NameTable } from "./name-table.ts";
import { type Automaton, compilePattern } from "./pattern.ts";
import { ENVELOPE_FIELDS, type EventTypeRule, type FieldRule, type FieldType, type Release } from "./release.ts";
import { upcastPointers, upcastSteps } from "./upcast.ts";
import { compileUpcast, type UpcastPlan } from "./upcast-plan.ts";

/** What a JSON value is, as a bit, so that a rule is one mask. */
export const KIND = {
  string: 1,
  integer: 2,
  /** With a fraction or exponent. */
  decimal: 4,
  true: 8,
  false: 16,
  null: 32,
  object: 64,
  array: 128,
} as const;

const MASKS: Readonly<Record<FieldType, number>> = {
  string: KIND.string,
  integer: KIND.integer,
  number: KIND.integer | KIND.decimal,
  boolean: KIND.true | KIND.false,
  object: KIND.object,
  array: KIND.array,
  any: 255,
};

/** Envelope field ids. */
export const FIELD = {
  eventId: 0,
  eventTime: 1,
  userId: 2,
  eventType: 3,
  source: 4,
  sessionId: 5,
  deviceInfo: 6,
  geoLocation: 7,
  schemaVersion: 8,
  properties: 9,
} as const;

export const ENVELOPE_COUNT = ENVELOPE_FIELDS.length;

/** Members of one object that rules name: field id = firstField + place in the table. */
export interface PlanNode {
  readonly table: NameTable;
  readonly firstField: number;
}

/**
 * Range, enum, length and pattern of one field, which may have several: of its type and of rules. What every event of the type is checked
 * for stands in {@link TypePlan} itself.
 */
export interface ValueCheck {
  readonly field: number;
  readonly min: number;
  readonly max: number;
  readonly minLength: number;
  readonly maxLength: number;
  readonly enumNumbers: Float64Array | null;
  readonly enumStrings: NameTable | null;
  readonly pattern: Automaton | null;
  readonly flag: boolean;
}

export interface TypePlan {
  readonly name: string;
  readonly schemaVersion: number;
  /** Place in the plan's `versions`. */
  readonly place: number;
  /** Fields to look at, envelope first, each in one number: field id << PRESENCE_FIELD_SHIFT | NULLABLE | REQUIRED | kinds it may have. */
  readonly presence: Int32Array;
  readonly checks: readonly ValueCheck[];
  /** Field id of the measure, -1 = none. */
  readonly measure: number;
  readonly rejectUnknown: boolean;
  readonly flagUnknown: boolean;
  /** For these two: 1 where a field id of the release is one of this type's. */
  readonly declared: Uint8Array;
  /** By place of the source + 1 (0 = none): what holds instead of this for its events; null = this holds for all. */
  readonly bySource: readonly TypePlan[] | null;
  /** null = an event of this version stays as it is. */
  readonly upcast: UpcastPlan | null;
}

export interface Plan {
  readonly version: number;
  readonly nodes: readonly PlanNode[];
  /** Node of the members of a field's object, -1 = none is named. */
  readonly childNode: Int32Array;
  readonly fieldCount: number;
  readonly fieldPointers: readonly string[];
  /** Event type names; versions of each, ascending. */
  readonly typeNames: NameTable;
  readonly types: readonly (readonly TypePlan[])[];
  /** Every version of every type, by its place. */
  readonly versions: readonly { readonly name: string; readonly schemaVersion: number }[];
  readonly sourceNames: NameTable;
  readonly sourceHistorical: Uint8Array;
}

export const REQUIRED = 256;
export const NULLABLE = 512;
export const PRESENCE_FIELD_SHIFT = 10;

export function compilePlan(release: Release): Plan {
  const tree = layOutFields(release);
  const fieldOf = (pointer: string): number => {
    let field = -1;
    let node = 0;
    for (const token of parsePointer(pointer)) {
      const { table, firstField } = tree.nodes[node]!;
      field = firstField + table.names.indexOf(token);
      node = tree.childNode[field]!;
    }
    return field;
  };
  const names = [...new Set(release.eventTypes.map((type) => type.name))];
  const versionsOf = (name: string): EventTypeRule[] =>
    release.eventTypes.filter((type) => type.name === name).toSorted((a, b) => a.schemaVersion - b.schemaVersion);
  const versions = names.flatMap(versionsOf);
  const automata = new Map<string, Automaton>();
  return {
    version: release.version,
    ...tree,
    typeNames: new NameTable(names),
    types: names.map((name) => {
      const ofName = versionsOf(name);
      return ofName.map((type) =>
        compileVersions(type, ofName, release, { place: versions.indexOf(type), fieldOf, fieldCount: tree.fieldCount, automata }),
      );
    }),
    versions: versions.map(({ name, schemaVersion }) => ({ name, schemaVersion })),
    sourceNames: new NameTable(release.sources.map((source) => source.name)),
    sourceHistorical: Uint8Array.from(release.sources, (source) => (source.historical ? 1 : 0)),
  };
}

type FieldTree = Pick<Plan, "nodes" | "childNode" | "fieldCount" | "fieldPointers">;

function layOutFields(release: Release): FieldTree {
  const root = new Map<string, Branch>(ENVELOPE_FIELDS.map((name) => [name, new Map()]));
  for (const type of release.eventTypes) {
    const versions = release.eventTypes.filter(({ name }) => name === type.name);
    const ruled = new Set<string>();
    for (const source of [null, ...sourcesOf(type, release.rules)])
      for (const pointer of effectiveType(type, release.rules, source).declared) ruled.add(pointer);
    for (const pointer of [...namedPointers(type), ...ruled, ...upcastPointers(upcastSteps(type, versions))]) {
      let members = root;
      for (const token of parsePointer(pointer)) {
        const next: Branch = members.get(token) ?? new Map();
        members.set(token, next);
        members = next;
      }
    }
  }
  const nodes: PlanNode[] = [];
  const childNode: number[] = [];
  const fieldPointers: string[] = [];
  const queue: { members: Branch; path: string[]; parentField: number }[] = [{ members: root, path: [], parentField: -1 }];
  for (const { members, path, parentField } of queue) {
    if (parentField >= 0) childNode[parentField] = nodes.length;
    nodes.push({ table: new NameTable([...members.keys()]), firstField: fieldPointers.length });
    for (const [name, next] of members) {
      // Of properties always: a type that allows no unknown fields may be of a release that names none at all.
      if (next.size > 0 || (parentField < 0 && name === "properties"))
        queue.push({ members: next, path: [...path, name], parentField: fieldPointers.length });
      childNode.push(-1);
      fieldPointers.push(formatPointer([...path, name]));
    }
  }
  return { nodes, childNode: Int32Array.from(childNode), fieldCount: fieldPointers.length, fieldPointers };
}

type Branch = Map<string, Branch>;

function namedPointers(type: EventTypeRule): string[] {
  return [...type.required, ...type.nullable, ...Object.keys(type.fields), ...(type.measure === undefined ? [] : [type.measure])];
}

const ALWAYS_REQUIRED: ReadonlySet<number> = new Set([FIELD.eventId, FIELD.eventTime, FIELD.userId, FIELD.eventType]);

/** The scanner checks form and type of these four itself; `source` and `schema_version` likewise once they are not null. */
const ENVELOPE_MASKS: Readonly<Record<number, number>> = {
  [FIELD.source]: KIND.string,
  [FIELD.sessionId]: KIND.string,
  [FIELD.deviceInfo]: KIND.string | KIND.object,
  [FIELD.geoLocation]: KIND.string | KIND.object,
  [FIELD.properties]: KIND.object,
};

interface Places {
  readonly place: number;
  readonly fieldOf: (pointer: string) => number;
  readonly fieldCount: number;
  /** By pattern: one of a rule may stand in many types. */
  readonly automata: Map<string, Automaton>;
}

/** One version of a type, for events of every source. */
function compileVersions(type: EventTypeRule, versions: readonly EventTypeRule[], { rules, sources }: Release, places: Places): TypePlan {
  const { measure } = effectiveType(versions.at(-1)!, rules, null);
  const upcast = compileUpcast(type, versions, measure, places);
  const ofSource = (source: string | null): TypePlan => compileType(effectiveType(type, rules, source), upcast, places);
  const common = ofSource(null);
  const apart = sourcesOf(type, rules);
  if (apart.size === 0) return common;
  return { ...common, bySource: [common, ...sources.map(({ name }) => (apart.has(name) ? ofSource(name) : common))] };
}

function compileType(type: EffectiveType, upcast: UpcastPlan | null, { place, fieldOf, fieldCount, automata }: Places): TypePlan {
  const declared = new Uint8Array(fieldCount).fill(1, 0, ENVELOPE_COUNT);
  for (const pointer of type.declared) declared[fieldOf(pointer)] = 1;
  const required = new Set([...type.required].map(fieldOf));
  const nullable = new Set([...type.nullable].map(fieldOf));
  const types = new Map([...type.types].map(([pointer, fieldType]) => [fieldOf(pointer), fieldType]));
  const measure = type.measure === undefined ? -1 : fieldOf(type.measure);
  const fields = [...declared.keys()].filter(
    (field) => declared[field] === 1 && !ALWAYS_REQUIRED.has(field) && field !== FIELD.schemaVersion,
  );
  return {
    name: type.name,
    schemaVersion: type.schemaVersion,
    place,
    presence: Int32Array.from(fields, (field) => {
      const known = types.get(field);
      const ruled = MASKS[field === measure && (known === undefined || known === "any") ? "number" : (known ?? "any")];
      const kinds = ruled & (ENVELOPE_MASKS[field] ?? 255) & ~KIND.null;
      return (field << PRESENCE_FIELD_SHIFT) | (required.has(field) ? REQUIRED : 0) | (nullable.has(field) ? NULLABLE : 0) | kinds;
    }),
    checks: type.checks.map(({ pointer, rule }) => compileCheck(fieldOf(pointer), rule, automata)).filter((check) => check !== null),
    measure,
    rejectUnknown: type.unknownFields === "reject",
    flagUnknown: type.unknownFields === "flag",
    declared,
    bySource: null,
    upcast,
  };
}

function compileCheck(field: number, rule: FieldRule, automata: Map<string, Automaton>): ValueCheck | null {
  const { min, max, minLength, maxLength, enum: allowed, pattern } = rule;
  const isEmpty = [min, max, minLength, maxLength, allowed, pattern].every((part) => part === undefined);
  if (isEmpty) return null;
  return {
    field,
    min: min ?? -Infinity,
    max: max ?? Infinity,
    minLength: minLength ?? 0,
    maxLength: maxLength ?? Infinity,
    enumNumbers: allowed === undefined ? null : Float64Array.from(allowed.filter((value) => typeof value === "number")),
    enumStrings: allowed === undefined ? null : new NameTable(allowed.filter((value) => typeof value === "string")),
    pattern: pattern === undefined ? null : automatonOf(pattern, automata),
    flag: rule.action === "flag",
  };
}

/** The release has been checked, so it compiles. */
function automatonOf(pattern: string, automata: Map<string, Automaton>): Automaton {
  const known = automata.get(pattern);
  if (known !== undefined) return known;
  const compiled = compilePattern(pattern);
  if ("problem" in compiled) throw new Error(`pattern ${JSON.stringify(pattern)}: ${compiled.problem}`);
  automata.set(pattern, compiled.automaton);
  return compiled.automaton;
}
