/**
 * What a change of the rules means for events: BACKWARD compatible if every event that the old rules accept is accepted by the new ones, FORWARD
 * if it holds the other way round. (The words are those of schema registries.)
 *
 * A field that a type does not declare, though it keeps unknown ones, is not part of what was agreed on: to declare it is compatible, unless
 * `strict` asks for the truth to the letter. Events of the pipeline's own making have no place here: the envelope never changes.
 */
import { type EffectiveType, effectiveType, sourcesOf, type UnknownFields } from "./effective-type.ts";
import type { FieldRule, FieldType } from "./field-rule.ts";
import { type CompiledPattern, compilePattern, difference } from "./pattern.ts";
import { ENVELOPE_FIELDS, type EventTypeRule, type Release, titleOfType } from "./release-schema.ts";

export interface RulesChange {
  /** `event type click v1`, `source web`. */
  readonly what: string;
  /** "" = all of it. */
  readonly field: string;
  readonly change: string;
  readonly backward: boolean;
  readonly forward: boolean;
}

export interface CompatibilityOptions {
  readonly strict?: boolean;
}

/** Of all that the two have, rules and single sources included. */
export function compareReleases(before: Release, after: Release, options: CompatibilityOptions = {}): RulesChange[] {
  return [...compareTypes(before, after, options), ...compareSources(before, after)];
}

/** What producers may rely on, which a version keeps for ever: a change that breaks it needs a new version. Rules on top may tighten at any time. */
export function brokenVersions(before: Release, after: Release): RulesChange[] {
  const own = (release: Release): Release => ({ ...release, rules: [] });
  return compareTypes(own(before), own(after), {}).filter(({ backward, field }) => !backward && field !== "");
}

/** Two versions of one type, as if the older one's events were sent under the newer one. */
export function compareVersions(before: EventTypeRule, after: EventTypeRule, options: CompatibilityOptions = {}): RulesChange[] {
  const what = `event type ${after.name} v${before.schemaVersion} -> v${after.schemaVersion}`;
  return new Comparison(effectiveType(before, [], null), effectiveType(after, [], null), what, options).changes();
}

function compareTypes(before: Release, after: Release, options: CompatibilityOptions): RulesChange[] {
  const changes: RulesChange[] = [];
  for (const old of before.eventTypes) {
    const fresh = after.eventTypes.find((type) => type.name === old.name && type.schemaVersion === old.schemaVersion);
    if (fresh === undefined) {
      changes.push({ what: titleOfType(old), field: "", change: "removed", backward: false, forward: true });
      continue;
    }
    const common = compareFor(old, fresh, before, after, null, options);
    changes.push(...common);
    const known = new Set(common.map(keyOf));
    for (const source of new Set([...sourcesOf(old, before.rules), ...sourcesOf(fresh, after.rules)])) {
      changes.push(...compareFor(old, fresh, before, after, source, options).filter((change) => !known.has(keyOf(change))));
    }
  }
  for (const fresh of after.eventTypes) {
    const isNew = !before.eventTypes.some((type) => type.name === fresh.name && type.schemaVersion === fresh.schemaVersion);
    if (isNew) changes.push({ what: titleOfType(fresh), field: "", change: "added", backward: true, forward: false });
  }
  return changes;
}

/** The same words may weigh more for one source: a rule for it may have declared the field before. */
function keyOf({ field, change, backward, forward }: RulesChange): string {
  return JSON.stringify([field, change, backward, forward]);
}

function compareFor(
  old: EventTypeRule,
  fresh: EventTypeRule,
  before: Release,
  after: Release,
  source: string | null,
  options: CompatibilityOptions,
): RulesChange[] {
  const what = source === null ? titleOfType(old) : `${titleOfType(old)} from ${source}`;
  return new Comparison(effectiveType(old, before.rules, source), effectiveType(fresh, after.rules, source), what, options).changes();
}

function compareSources(before: Release, after: Release): RulesChange[] {
  const changes: RulesChange[] = [];
  const add = (name: string, change: string, backward: boolean, forward: boolean): void =>
    void changes.push({ what: `source ${name}`, field: "", change, backward, forward });
  for (const { name, historical } of before.sources) {
    const fresh = after.sources.find((source) => source.name === name);
    if (fresh === undefined) add(name, "removed", false, true);
    else if (historical && !fresh.historical) add(name, "no longer historical: old events are refused", false, true);
    else if (!historical && fresh.historical) add(name, "historical: events of any age are taken", true, false);
  }
  for (const { name } of after.sources) if (!before.sources.some((source) => source.name === name)) add(name, "added", true, false);
  return changes;
}

const STRICTNESS: readonly UnknownFields[] = ["keep", "flag", "reject"];
/** Kinds of values, as {@link FieldType} has them: integers are numbers. */
const KINDS: Readonly<Record<FieldType, readonly string[]>> = {
  string: ["string"],
  integer: ["integer"],
  number: ["integer", "decimal"],
  boolean: ["boolean"],
  object: ["object"],
  array: ["array"],
  any: ["string", "integer", "decimal", "boolean", "object", "array"],
};

class Comparison {
  readonly #old: EffectiveType;
  readonly #fresh: EffectiveType;
  readonly #what: string;
  readonly #strict: boolean;
  readonly #changes: RulesChange[] = [];

  constructor(old: EffectiveType, fresh: EffectiveType, what: string, { strict = false }: CompatibilityOptions) {
    this.#old = old;
    this.#fresh = fresh;
    this.#what = what;
    this.#strict = strict;
  }

  changes(): RulesChange[] {
    const [old, fresh] = [this.#old, this.#fresh];
    for (const field of new Set([...old.declared, ...fresh.declared])) this.#field(field);
    if (old.measure !== fresh.measure) {
      const change = `the column value comes from ${fresh.measure ?? "no field"}, before from ${old.measure ?? "no field"}`;
      this.#add(fresh.measure ?? old.measure!, change, old.measure === undefined, fresh.measure === undefined);
    }
    const [was, is] = [STRICTNESS.indexOf(old.unknownFields), STRICTNESS.indexOf(fresh.unknownFields)];
    if (was !== is) {
      const change = `unknown fields: ${old.unknownFields} -> ${fresh.unknownFields}`;
      this.#add("/*", change, fresh.unknownFields !== "reject", old.unknownFields !== "reject");
    }
    return this.#changes;
  }

  #add(field: string, change: string, backward: boolean, forward: boolean): void {
    this.#changes.push({ what: this.#what, field, change, backward, forward });
  }

  #field(field: string): void {
    const [old, fresh] = [this.#old, this.#fresh];
    if (!isDeclared(field, old)) this.#declared(field, old.unknownFields, "declared", true);
    else if (!isDeclared(field, fresh)) this.#declared(field, fresh.unknownFields, "no longer declared", false);
    this.#presence(field);
    this.#kinds(field);
    this.#bounds(field);
    this.#allowed(field);
    this.#patterns(field);
  }

  /** `isNew`: by the new type. `unknownFields` is the policy of the other one. */
  #declared(field: string, unknownFields: UnknownFields, change: string, isNew: boolean): void {
    const isRefused = unknownFields === "reject";
    this.#add(field, change, isNew || !isRefused, !isNew || !isRefused);
  }

  /** Whether a rule of the one binds the values that the other lets in: see the head of this file. */
  #binds(field: string, other: EffectiveType): boolean {
    return isDeclared(field, other) || (this.#strict && other.unknownFields !== "reject");
  }

  #presence(field: string): void {
    const [old, fresh] = [this.#old, this.#fresh];
    if (old.required.has(field) !== fresh.required.has(field)) {
      if (fresh.required.has(field)) this.#add(field, "required", false, true);
      else this.#add(field, "no longer required", true, false);
    }
    const [couldBe, canBe] = [mayBeNull(field, old), mayBeNull(field, fresh)];
    if (couldBe === canBe) return;
    if (canBe) this.#add(field, "may be null", true, !this.#binds(field, fresh));
    else this.#add(field, "may not be null any more", !this.#binds(field, old), true);
  }

  #kinds(field: string): void {
    const [was, is] = [kindsOf(field, this.#old), kindsOf(field, this.#fresh)];
    const backward = was.every((kind) => is.includes(kind));
    const forward = is.every((kind) => was.includes(kind));
    if (backward && forward) return;
    const change = `type ${typeOf(field, this.#old)} -> ${typeOf(field, this.#fresh)}`;
    this.#add(field, change, backward || !this.#binds(field, this.#old), forward || !this.#binds(field, this.#fresh));
  }

  #bounds(field: string): void {
    const [old, fresh] = [rejecting(field, this.#old), rejecting(field, this.#fresh)];
    for (const [key, none, tightest] of [
      ["min", -Infinity, Math.max],
      ["max", Infinity, Math.min],
      ["minLength", 0, Math.max],
      ["maxLength", Infinity, Math.min],
    ] as const) {
      const value = (rules: readonly FieldRule[]): number => tightest(none, ...rules.flatMap((rule) => rule[key] ?? []));
      const [was, is] = [value(old), value(fresh)];
      if (was === is) continue;
      const isTighter = tightest(was, is) === is;
      const show = (bound: number): string => (bound === none ? "none" : String(bound));
      this.#narrowed(field, `${key} ${show(was)} -> ${show(is)}`, isTighter, !isTighter);
    }
  }

  #allowed(field: string): void {
    const lists = (type: EffectiveType): (readonly (string | number)[])[] =>
      rejecting(field, type).flatMap((rule) => (rule.enum === undefined ? [] : [rule.enum]));
    const [was, is] = [lists(this.#old), lists(this.#fresh)];
    if (JSON.stringify(was) === JSON.stringify(is)) return;
    const values = new Set([...was, ...is].flat());
    const passes = (value: string | number, all: readonly (readonly (string | number)[])[]): boolean =>
      all.every((list) => list.includes(value));
    const gone = was.length === 0 ? [] : [...values].filter((value) => passes(value, was) && !passes(value, is));
    const added = is.length === 0 ? [] : [...values].filter((value) => passes(value, is) && !passes(value, was));
    if (was.length === 0) this.#narrowed(field, `only ${show([...values])} are allowed`, true, false);
    else if (is.length === 0) this.#narrowed(field, "no list of allowed values any more", false, true);
    else if (gone.length > 0 || added.length > 0) {
      const parts = [gone.length > 0 ? `no longer allowed: ${show(gone)}` : "", added.length > 0 ? `now allowed: ${show(added)}` : ""];
      this.#narrowed(field, parts.filter((part) => part !== "").join("; "), gone.length > 0, added.length > 0);
    }
  }

  #patterns(field: string): void {
    const patterns = (type: EffectiveType): string[] => rejecting(field, type).flatMap((rule) => rule.pattern ?? []);
    const [was, is] = [patterns(this.#old), patterns(this.#fresh)];
    const [gone, added] = [was.filter((pattern) => !is.includes(pattern)), is.filter((pattern) => !was.includes(pattern))];
    for (const pattern of added) this.#pattern(field, `pattern ${pattern}`, refusedBy(pattern, was), "refuses", true);
    for (const pattern of gone) this.#pattern(field, `no pattern ${pattern} any more`, refusedBy(pattern, is), "allows", false);
  }

  /** `refused`: what the pattern refuses and all of the other side allow. */
  #pattern(field: string, change: string, refused: Refused, verb: string, isAdded: boolean): void {
    const example =
      refused === undefined ? ", which is too complex to compare" : refused === null ? "" : `, which ${verb} ${JSON.stringify(refused)}`;
    this.#narrowed(field, change + example, isAdded && refused !== null, !isAdded && refused !== null);
  }

  #narrowed(field: string, change: string, isTighter: boolean, isWider: boolean): void {
    this.#add(field, change, !isTighter || !this.#binds(field, this.#old), !isWider || !this.#binds(field, this.#fresh));
  }
}

function rejecting(field: string, type: EffectiveType): FieldRule[] {
  return type.checks.flatMap(({ pointer, rule }) => (pointer === field && rule.action === "reject" ? [rule] : []));
}

const ENVELOPE: ReadonlySet<string> = new Set(ENVELOPE_FIELDS.map((name) => `/${name}`));

function isDeclared(field: string, type: EffectiveType): boolean {
  return type.declared.has(field) || ENVELOPE.has(field);
}

function mayBeNull(field: string, type: EffectiveType): boolean {
  return type.nullable.has(field) || !isDeclared(field, type);
}

function typeOf(field: string, type: EffectiveType): FieldType {
  const ruled = type.types.get(field) ?? "any";
  return ruled === "any" && type.measure === field ? "number" : ruled;
}

function kindsOf(field: string, type: EffectiveType): readonly string[] {
  return KINDS[typeOf(field, type)];
}

/** null = nothing, undefined = unknown. */
type Refused = string | null | undefined;

/** A text that `pattern` refuses and every one of `others` takes. With several others the first alone decides, which may call breaking what is not. */
function refusedBy(pattern: string, others: readonly string[]): Refused {
  const own = compilePattern(pattern);
  let refused: Refused;
  for (const other of others.length === 0 ? ["(?:.|\\s)*"] : others) {
    const found = differenceOf(compilePattern(other), own);
    if (found === null) return null;
    refused ??= found;
  }
  return refused;
}

function differenceOf(a: CompiledPattern, b: CompiledPattern): Refused {
  return "problem" in a || "problem" in b ? undefined : difference(a.automaton, b.automaton);
}

function show(values: readonly (string | number)[]): string {
  const some = values.slice(0, 10).map((value) => JSON.stringify(value));
  return values.length > 10 ? `${some.join(", ")} and ${values.length - 10} more` : some.join(", ");
}
