/**
 * What an event type comes to when the rules on top of it are applied, in ascending priority. A rule may only tighten; one that contradicts what
 * stands before it is a problem that names both.
 */
import { type FieldRule, fieldRuleProblems, type FieldType, isNumeric } from "./field-rule.ts";
import type { EventTypeRule, Release, ValidationRule } from "./release-schema.ts";

export interface FieldCheck {
  readonly pointer: string;
  readonly rule: FieldRule;
}

export interface EffectiveType {
  readonly name: string;
  readonly schemaVersion: number;
  /** Every field that the type or a rule on it names. */
  readonly declared: ReadonlySet<string>;
  readonly required: ReadonlySet<string>;
  readonly nullable: ReadonlySet<string>;
  readonly types: ReadonlyMap<string, FieldType>;
  /** In the order in which they are made; several may be of one field. */
  readonly checks: readonly FieldCheck[];
  readonly measure: string | undefined;
  readonly unknownFields: UnknownFields;
  readonly problems: readonly string[];
}

export type UnknownFields = EventTypeRule["unknownFields"];
type Parts = Pick<Release, "eventTypes" | "sources" | "rules">;

const STRICTNESS: readonly UnknownFields[] = ["keep", "flag", "reject"];

/** Of events from `source`; null = from none, or one that no rule is about. */
export function effectiveType(type: EventTypeRule, rules: readonly ValidationRule[], source: string | null): EffectiveType {
  const title = `event type ${type.name} v${type.schemaVersion}`;
  const merge = new Merge(type, title);
  for (const rule of rules)
    if (isAbout(rule, type) && (rule.sources === undefined || (source !== null && rule.sources.includes(source)))) merge.apply(rule);
  return merge.result(title);
}

/** Sources for whose events the type comes to something else than for all others. */
export function sourcesOf(type: EventTypeRule, rules: readonly ValidationRule[]): ReadonlySet<string> {
  return new Set(rules.flatMap((rule) => (isAbout(rule, type) ? (rule.sources ?? []) : [])));
}

/** Checks that all types come to, for all sources: what a release costs to compile and to hold. */
export function countChecks({ eventTypes, rules }: Pick<Parts, "eventTypes" | "rules">): number {
  let count = 0;
  for (const type of eventTypes) {
    let ofType = Object.keys(type.fields).length;
    for (const rule of rules) if (isAbout(rule, type)) ofType += 1 + Object.keys(rule.fields).length;
    count += ofType * (1 + sourcesOf(type, rules).size);
  }
  return count;
}

/** `complete`: all parts of the release are known, so a name that is not among them is wrong. */
export function effectiveProblems({ eventTypes, sources, rules }: Parts, complete: boolean): string[] {
  const problems = eventTypes.flatMap((type) =>
    [null, ...sourcesOf(type, rules)].flatMap((source) => effectiveType(type, rules, source).problems),
  );
  if (!complete) return problems;
  for (const rule of rules) {
    const wanted = rule.eventTypes === "*" ? [] : rule.eventTypes;
    for (const name of wanted)
      if (!eventTypes.some((type) => type.name === name)) problems.push(`rule ${rule.name}: there is no event type ${name}`);
    for (const name of rule.sources ?? [])
      if (!sources.some((source) => source.name === name)) problems.push(`rule ${rule.name}: there is no source ${name}`);
  }
  return problems;
}

function isAbout(rule: ValidationRule, type: EventTypeRule): boolean {
  return (rule.eventTypes === "*" || rule.eventTypes.includes(type.name)) && rule.schemaVersions?.includes(type.schemaVersion) !== false;
}

interface Bound<T> {
  readonly value: T;
  readonly origin: string;
}

/** What all checks of one field come to, to find those that no value can pass. */
interface FieldState {
  type: Bound<FieldType>;
  readonly bounds: Map<"min" | "max" | "minLength" | "maxLength", Bound<number>>;
  allowed: Bound<readonly (string | number)[]> | undefined;
}

class Merge {
  readonly #type: EventTypeRule;
  readonly #required: Set<string>;
  readonly #nullable: Set<string>;
  readonly #states = new Map<string, FieldState>();
  readonly #checks: FieldCheck[] = [];
  readonly #problems: string[] = [];
  readonly #title: string;
  #measure: Bound<string> | undefined;
  #unknownFields: UnknownFields;

  constructor(type: EventTypeRule, title: string) {
    this.#type = type;
    this.#title = title;
    this.#required = new Set(type.required);
    this.#nullable = new Set(type.nullable);
    this.#unknownFields = type.unknownFields;
    this.#measure = type.measure === undefined ? undefined : { value: type.measure, origin: title };
    for (const [pointer, rule] of Object.entries(type.fields)) this.#add(pointer, rule, title);
  }

  apply(rule: ValidationRule): void {
    const origin = `rule ${rule.name}`;
    for (const pointer of rule.nullable) {
      if (this.#nullable.has(pointer)) continue;
      if (this.#isDeclared(pointer))
        this.#problem(origin, pointer, `null is allowed, which ${this.#title} does not do: a rule may only tighten`);
      else this.#nullable.add(pointer);
    }
    for (const pointer of rule.required) {
      this.#required.add(pointer);
      if (!rule.nullable.includes(pointer)) this.#nullable.delete(pointer);
    }
    for (const [pointer, field] of Object.entries(rule.fields)) this.#add(pointer, field, origin);
    if (rule.unknownFields !== undefined && STRICTNESS.indexOf(rule.unknownFields) > STRICTNESS.indexOf(this.#unknownFields)) {
      this.#unknownFields = rule.unknownFields;
    }
    if (rule.measure === undefined) return;
    if (this.#measure !== undefined && this.#measure.value !== rule.measure) {
      this.#problem(origin, rule.measure, `is to be the measure, which is ${this.#measure.value} by ${this.#measure.origin}`);
    } else this.#measure ??= { value: rule.measure, origin };
  }

  result(title: string): EffectiveType {
    const measure = this.#measure;
    const measured = measure === undefined ? undefined : this.#states.get(measure.value)?.type;
    if (measure !== undefined && measured !== undefined && !isNumeric(measured.value)) {
      this.#problem(measure.origin, measure.value, `must have type number or integer to be the measure, and has ${measured.value}`);
    }
    return {
      name: this.#type.name,
      schemaVersion: this.#type.schemaVersion,
      declared: new Set([
        ...this.#required,
        ...this.#nullable,
        ...this.#type.nullable,
        ...this.#states.keys(),
        ...(measure === undefined ? [] : [measure.value]),
      ]),
      required: this.#required,
      nullable: this.#nullable,
      types: new Map([...this.#states].map(([pointer, state]) => [pointer, state.type.value])),
      checks: this.#checks,
      measure: measure?.value,
      unknownFields: this.#unknownFields,
      problems: this.#problems.map((problem) => (problem.startsWith(title) ? problem : `${problem} (${title})`)),
    };
  }

  #isDeclared(pointer: string): boolean {
    return this.#required.has(pointer) || this.#states.has(pointer) || this.#measure?.value === pointer;
  }

  #add(pointer: string, rule: FieldRule, origin: string): void {
    const state = this.#states.get(pointer) ?? { type: { value: "any", origin }, bounds: new Map(), allowed: undefined };
    this.#states.set(pointer, state);
    const type = narrower(state.type.value, rule.type ?? "any");
    if (type === null) {
      this.#problem(origin, pointer, `type ${rule.type} contradicts type ${state.type.value} of ${state.type.origin}`);
      return;
    }
    if (type !== state.type.value) state.type = { value: type, origin };
    if (origin !== this.#title) for (const problem of fieldRuleProblems(rule, type)) this.#problem(origin, pointer, problem);
    this.#checks.push({ pointer, rule });
    for (const [low, high] of [
      ["min", "max"],
      ["minLength", "maxLength"],
    ] as const) {
      this.#bound(state, low, rule[low], origin, Math.max);
      this.#bound(state, high, rule[high], origin, Math.min);
      const [least, most] = [state.bounds.get(low), state.bounds.get(high)];
      if (least === undefined || most === undefined || least.value <= most.value || least.origin === most.origin) continue;
      this.#problem(origin, pointer, `${low} ${least.value} of ${least.origin} is above ${high} ${most.value} of ${most.origin}`);
    }
    if (rule.enum === undefined) return;
    const before = state.allowed;
    const left = before === undefined ? rule.enum : rule.enum.filter((value) => before.value.includes(value));
    if (left.length === 0) this.#problem(origin, pointer, `enum has no value in common with that of ${before!.origin}`);
    state.allowed = { value: left, origin };
  }

  #bound(
    state: FieldState,
    key: "min" | "max" | "minLength" | "maxLength",
    value: number | undefined,
    origin: string,
    tighter: (a: number, b: number) => number,
  ): void {
    if (value === undefined) return;
    const before = state.bounds.get(key);
    if (before === undefined || (tighter(before.value, value) === value && before.value !== value))
      state.bounds.set(key, { value, origin });
  }

  #problem(origin: string, pointer: string, what: string): void {
    this.#problems.push(`${origin}, ${pointer}: ${what}`);
  }
}

function narrower(a: FieldType, b: FieldType): FieldType | null {
  if (a === b || b === "any") return a;
  if (a === "any") return b;
  return isNumeric(a) && isNumeric(b) ? "integer" : null;
}
