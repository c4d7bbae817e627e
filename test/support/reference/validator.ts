/**
 * The verdict on one record, written again from the texts of shared/events/reasons.ts and the rules' own words (shared/rules/release.ts): a
 * tree, maps and regular expressions. It keeps nothing between records, so whatever the validator remembers shows as a difference.
 */
import type { Limits } from "#functions/validator/scanner/limits.ts";
import type { ReasonCode } from "#shared/events/reasons.ts";
import { formatPointer, parsePointer } from "#shared/rules/json-pointer.ts";
import { ENVELOPE_FIELDS, type EventTypeRule, type FieldRule, type FieldType, type Release } from "#shared/rules/release.ts";
import { xxHash32 } from "./xx-hash.ts";
import { isViolation, type JsonKind, type JsonNode, readJson, utf8Length, type Violation } from "./json.ts";

export interface ReferenceRecord {
  readonly value: Uint8Array | null;
  /** undefined = none is expected. */
  readonly key: Uint8Array | null | undefined;
  readonly timestampMs: number;
}

/** One row of a block in words. Where an event has no such thing, null. */
export interface ReferenceRow {
  readonly verdict: "ok" | "warning" | "reject";
  readonly reason: ReasonCode | null;
  readonly pointer: string | null;
  readonly eventId: string | null;
  readonly eventTimeMs: number;
  readonly userId: bigint | null;
  readonly eventType: string | null;
  readonly source: string | null;
  readonly sessionId: string | null;
  readonly value: number | null;
  readonly deviceInfo: string | null;
  readonly geoLocation: string | null;
  readonly properties: string | null;
  readonly fingerprint: number;
  /** Hexadecimal. */
  readonly raw: string | null;
  readonly rawKey: string | null;
}

const KEPT_VALUE_BYTES = 900_000;
const KEPT_KEY_BYTES = 16_384;
const POINTER_CHARACTERS = 256;

const KINDS: Readonly<Record<FieldType, readonly JsonKind[]>> = {
  string: ["string"],
  integer: ["integer"],
  number: ["integer", "decimal"],
  boolean: ["true", "false"],
  object: ["object"],
  array: ["array"],
  any: ["string", "integer", "decimal", "true", "false", "object", "array"],
};
const ENVELOPE_KINDS: Readonly<Record<string, readonly JsonKind[]>> = {
  source: ["string"],
  session_id: ["string"],
  device_info: ["string", "object"],
  geo_location: ["string", "object"],
  properties: ["object"],
};
const PLACEHOLDERS = new Set([
  "00000000-0000-0000-0000-000000000000",
  "null",
  "undefined",
  "[object Object]",
  "NaN",
  "nan",
  "none",
  "None",
  "guest",
  "anonymous",
  "true",
  "false",
  "0",
]);
const BINARY: readonly (readonly [reason: ReasonCode, magic: RegExp])[] = [
  ["encoding.bom", /^\xef\xbb\xbf/],
  // UTF-16 of either order, with its mark or without.
  ["encoding", /^(?:\xfe\xff|\xff\xfe|\{\0[^]\0|\0\{\0)/],
  // oxlint-disable-next-line no-control-regex -- that is what binary formats begin with
  ["format", /^(?:\u001f\x8b|\(\xb5\/\xfd|\u0004"M\u0018|\x82SNA|Obj\u0001|PAR1|\xff{4}|\0)/],
];

class Refusal extends Error {
  readonly reason: ReasonCode;
  readonly path: readonly (string | number)[];

  constructor(reason: ReasonCode, path: readonly (string | number)[]) {
    super(reason);
    this.reason = reason;
    this.path = path;
  }
}

export class ReferenceValidator {
  readonly #release: Release;
  readonly #limits: Limits;
  /** Every field that a rule of the release names, and the objects on the way to it: shallow ones first, in the order of their first naming. */
  readonly #named: readonly string[];

  constructor(release: Release, limits: Limits) {
    this.#release = release;
    this.#limits = limits;
    const named = release.eventTypes.flatMap((type) => [
      ...type.required,
      ...type.nullable,
      ...Object.keys(type.fields),
      ...(type.measure === undefined ? [] : [type.measure]),
    ]);
    const root: NameTree = new Map(ENVELOPE_FIELDS.map((field) => [field, new Map()]));
    for (const pointer of named) {
      let level = root;
      for (const token of parsePointer(pointer)) {
        if (!level.has(token)) level.set(token, new Map());
        level = level.get(token)!;
      }
    }
    this.#named = breadthFirst(root);
  }

  row(record: ReferenceRecord): ReferenceRow {
    const { value } = record;
    if (value === null) return this.#refused(record, "value.null", "");
    if (value.length > this.#limits.eventBytes) return this.#refused(record, "size.event", "");
    const tree = readJson(value, this.#limits);
    if (isViolation(tree)) return this.#refusedText(record, value, tree);
    const check = new Check(this.#release, this.#limits, this.#named, tree, record);
    try {
      check.run();
    } catch (thrown) {
      if (!(thrown instanceof Refusal)) throw thrown;
      return { ...this.#refused(record, thrown.reason, pointerOf(thrown.path)), ...check.known };
    }
    const content = (field: string): string | null => {
      const node = tree.members.get(field);
      if (node === undefined || node.kind === "null") return null;
      return node.kind === "string" ? node.decoded : Buffer.from(value.subarray(node.start, node.end)).toString("utf8");
    };
    return {
      ...check.known,
      verdict: check.warning === null ? "ok" : "warning",
      reason: check.warning,
      pointer: null,
      eventTimeMs: check.eventTimeMs,
      sessionId: content("session_id") || null,
      value: check.measure,
      deviceInfo: content("device_info"),
      geoLocation: content("geo_location"),
      properties: content("properties") ?? "{}",
      fingerprint: xxHash32(value),
      raw: null,
      rawKey: null,
    };
  }

  #refusedText(record: ReferenceRecord, value: Uint8Array, violation: Violation): ReferenceRow {
    const { reason, at, path } = violation;
    if (reason === "json.syntax" || reason === "encoding") {
      const head = Buffer.from(value.subarray(0, 8)).toString("latin1");
      const binary = BINARY.find(([, magic]) => magic.test(head));
      if (binary !== undefined) return this.#refused(record, binary[0], "@0");
      const bad = firstBadCharacter(value);
      if (bad !== null) return this.#refused(record, "encoding", `@${reason === "encoding" ? at : bad}`);
    }
    const isPosition = ["json.syntax", "json.multiple", "json.empty", "encoding"].includes(reason);
    const place = reason === "json.empty" ? 0 : at;
    return this.#refused(record, reason, isPosition ? `@${place}` : pointerOf(path));
  }

  #refused({ value, key }: ReferenceRecord, reason: ReasonCode, pointer: string): ReferenceRow {
    return {
      verdict: "reject",
      reason,
      pointer: Buffer.from(pointer).toString("utf8"),
      eventId: null,
      eventTimeMs: 0,
      userId: null,
      eventType: null,
      source: null,
      sessionId: null,
      value: null,
      deviceInfo: null,
      geoLocation: null,
      properties: "",
      fingerprint: xxHash32(value ?? new Uint8Array(0)),
      raw: value === null ? null : hex(value.subarray(0, KEPT_VALUE_BYTES)),
      rawKey: key === null || key === undefined ? null : hex(key.subarray(0, KEPT_KEY_BYTES)),
    };
  }
}

type NameTree = Map<string, NameTree>;

function breadthFirst(root: NameTree): string[] {
  const found: string[] = [];
  const queue: [NameTree, string[]][] = [[root, []]];
  for (const [tree, path] of queue) {
    for (const [name, members] of tree) {
      found.push(formatPointer([...path, name]));
      queue.push([members, [...path, name]]);
    }
  }
  return found;
}

class Check {
  readonly #release: Release;
  readonly #limits: Limits;
  readonly #named: readonly string[];
  readonly #tree: JsonNode;
  readonly #record: ReferenceRecord;
  eventTimeMs = 0;
  measure: number | null = null;
  warning: ReasonCode | null = null;
  /** Columns that a reject keeps too. */
  readonly known: { eventId: string | null; userId: bigint | null; eventType: string | null; source: string | null } = {
    eventId: null,
    userId: null,
    eventType: null,
    source: null,
  };

  constructor(release: Release, limits: Limits, named: readonly string[], tree: JsonNode, record: ReferenceRecord) {
    this.#release = release;
    this.#limits = limits;
    this.#named = named;
    this.#tree = tree;
    this.#record = record;
  }

  run(): void {
    this.#eventId();
    const userText = this.#userId();
    const type = this.#type();
    this.#source();
    this.#fields(type);
    this.#time();
    this.#age();
    const { key } = this.#record;
    if (key === undefined) return;
    if (key === null || key.length === 0) throw new Refusal("key.missing", ["user_id"]);
    if (Buffer.compare(key, Buffer.from(userText)) !== 0) throw new Refusal("key.mismatch", ["user_id"]);
  }

  #at(pointer: string): JsonNode | undefined {
    let node: JsonNode | undefined = this.#tree;
    for (const token of parsePointer(pointer)) node = node?.kind === "object" ? node.members.get(token) : undefined;
    return node;
  }

  #requiredText(field: string): string {
    const node = this.#tree.members.get(field);
    if (node === undefined || node.kind === "null") throw new Refusal("schema.required", [field]);
    if (node.kind !== "string") throw new Refusal("schema.type", [field]);
    if (isBlank(node.decoded)) throw new Refusal("schema.required", [field]);
    return node.decoded;
  }

  #eventId(): void {
    const text = this.#requiredText("event_id");
    const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
    if (PLACEHOLDERS.has(text)) throw new Refusal("id.placeholder", ["event_id"]);
    if (!uuid.test(text)) throw new Refusal("id.format", ["event_id"]);
    this.known.eventId = text.toLowerCase().replaceAll("-", "");
  }

  #userId(): string {
    const node = this.#tree.members.get("user_id");
    if (node?.kind === "integer" && node.text.startsWith("-")) throw new Refusal("schema.range", ["user_id"]);
    const text = node?.kind === "integer" ? node.text : this.#requiredText("user_id");
    if (!/^(?:0|[1-9][0-9]{0,19})$/.test(text)) throw new Refusal(PLACEHOLDERS.has(text) ? "id.placeholder" : "id.format", ["user_id"]);
    if (BigInt(text) >= 2n ** 64n) throw new Refusal("schema.range", ["user_id"]);
    this.known.userId = BigInt(text);
    return text;
  }

  #type(): EventTypeRule {
    const name = this.#requiredText("event_type");
    const versions = this.#release.eventTypes.filter((type) => type.name === name);
    if (versions.length === 0) throw new Refusal("unknown_event", ["event_type"]);
    this.known.eventType = name;
    const node = this.#tree.members.get("schema_version");
    const wanted = node === undefined ? 1 : node.kind === "integer" ? Number(node.text) : Number.NaN;
    const type = versions.find((candidate) => candidate.schemaVersion === wanted);
    if (type === undefined) throw new Refusal("schema.version", ["schema_version"]);
    return type;
  }

  #source(): void {
    const node = this.#tree.members.get("source");
    if (node?.kind !== "string") return;
    if (!this.#release.sources.some(({ name }) => name === node.decoded)) throw new Refusal("unknown_source", ["source"]);
    this.known.source = node.decoded;
  }

  #fields(type: EventTypeRule): void {
    const rules = new Map(Object.entries(type.fields).map(([pointer, rule]) => [canonical(pointer), rule]));
    const required = new Set(type.required.map(canonical));
    const nullable = new Set(type.nullable.map(canonical));
    const measure = type.measure === undefined ? null : canonical(type.measure);
    const own = new Set([...rules.keys(), ...required, ...nullable, ...(measure === null ? [] : [measure])]);
    for (const field of ENVELOPE_FIELDS) own.add(formatPointer([field]));
    const elsewhere = new Set(["/event_id", "/event_time", "/user_id", "/event_type", "/schema_version"]);
    for (const pointer of this.#named) {
      if (!own.has(pointer) || elsewhere.has(pointer)) continue;
      const node = this.#at(pointer);
      const path = parsePointer(pointer);
      if (node === undefined) {
        if (required.has(pointer)) throw new Refusal("schema.required", path);
        continue;
      }
      if (node.kind === "null") {
        if (!nullable.has(pointer)) throw new Refusal(required.has(pointer) ? "schema.required" : "schema.null", path);
        continue;
      }
      const envelope = path.length === 1 ? ENVELOPE_KINDS[path[0]!] : undefined;
      const ruled = KINDS[rules.get(pointer)?.type ?? (pointer === measure ? "number" : "any")];
      if (!ruled.includes(node.kind) || envelope?.includes(node.kind) === false) throw new Refusal("schema.type", path);
      if (node.kind === "string" && required.has(pointer) && isBlank(node.decoded)) throw new Refusal("schema.required", path);
    }
    if (type.unknownFields === "reject") this.#unknown(own);
    const session = this.#tree.members.get("session_id");
    if (session?.kind === "string" && Buffer.byteLength(session.text) > this.#limits.sessionIdBytes) {
      throw new Refusal("size.field", ["session_id"]);
    }
    const measured = measure === null ? undefined : this.#at(measure);
    if (measured?.kind === "integer" || measured?.kind === "decimal") this.measure = Number(measured.text);
    for (const [pointer, rule] of rules) {
      const reason = this.#broken(this.#at(pointer), rule);
      if (reason === null) continue;
      if (rule.action === "reject") throw new Refusal(reason, parsePointer(pointer));
      this.warning ??= "rule.flag";
    }
  }

  #broken(node: JsonNode | undefined, rule: FieldRule): ReasonCode | null {
    if (node?.kind === "integer" || node?.kind === "decimal") {
      const value = Number(node.text);
      if (rule.min !== undefined && value < rule.min) return "schema.range";
      if (rule.max !== undefined && value > rule.max) return "schema.range";
      return rule.enum === undefined || rule.enum.some((allowed) => allowed === value) ? null : "schema.enum";
    }
    if (node?.kind !== "string") return null;
    const characters = Array.from(node.decoded).length;
    if (rule.minLength !== undefined && characters < rule.minLength) return "schema.length";
    if (rule.maxLength !== undefined && characters > rule.maxLength) return "schema.length";
    return rule.enum === undefined || rule.enum.includes(node.decoded) ? null : "schema.enum";
  }

  /** Members of the event and of `properties` that no rule of the release names, then those that only other types name. */
  #unknown(own: ReadonlySet<string>): void {
    for (const [prefix, node] of [
      ["", this.#tree],
      ["/properties", this.#tree.members.get("properties")],
    ] as const) {
      if (node?.kind !== "object") continue;
      const stranger = [...node.members.keys()].find((key) => !this.#named.includes(prefix + formatPointer([key])));
      if (stranger !== undefined) throw new Refusal("schema.unknown_field", [...node.path, stranger]);
    }
    for (const pointer of this.#named) {
      if (!own.has(pointer) && this.#at(pointer) !== undefined) throw new Refusal("schema.unknown_field", parsePointer(pointer));
    }
  }

  #time(): void {
    const node = this.#tree.members.get("event_time");
    const path = ["event_time"];
    if (node?.kind === "integer") {
      const milliseconds = BigInt(/^-?\d+/.exec(node.text)![0]);
      if (node.text.startsWith("-") || milliseconds < 100_000_000n) throw new Refusal("time.ancient", path);
      if (milliseconds < 100_000_000_000n || milliseconds >= 100_000_000_000_000n) throw new Refusal("time.unit", path);
      this.eventTimeMs = Number(milliseconds);
      return;
    }
    const text = this.#requiredText("event_time");
    const parts = /^(\d{4}-\d\d-\d\d)[tT](\d\d):(\d\d):(\d\d)(\.\d+)?([zZ]|[+-]\d\d:\d\d)?$/.exec(text);
    if (parts === null) throw new Refusal("time.unparseable", path);
    const [, date, hour, minute, second, fraction = ".0", zone] = parts;
    const midnight = new Date(`${date}T00:00:00Z`);
    const isDay = !Number.isNaN(midnight.getTime()) && midnight.toISOString().startsWith(date!);
    const isZone = zone === undefined || /^[zZ]$/.test(zone) || (Number(zone.slice(1, 3)) < 24 && Number(zone.slice(4)) < 60);
    const isTime = isDay && Number(hour) < 24 && Number(minute) < 60 && Number(second) < 60 && isZone;
    if (!isTime) throw new Refusal("time.unparseable", path);
    if (zone === undefined) throw new Refusal("time.zone", path);
    const offset = /^[zZ]$/.test(zone) ? 0 : Number(`${zone[0]}1`) * (60 * Number(zone.slice(1, 3)) + Number(zone.slice(4)));
    const minutes = 60 * Number(hour) + Number(minute) - offset;
    this.eventTimeMs = midnight.getTime() + (60 * minutes + Number(second)) * 1_000 + Number(fraction.slice(1, 4).padEnd(3, "0"));
  }

  #age(): void {
    const { timestampMs } = this.#record;
    const path = ["event_time"];
    if (this.eventTimeMs <= 0) throw new Refusal("time.ancient", path);
    if (!(timestampMs > 0)) {
      this.warning ??= "time.unchecked";
      return;
    }
    if (this.eventTimeMs > timestampMs + this.#limits.maxFutureSkewMs) throw new Refusal("time.future", path);
    if (this.eventTimeMs >= timestampMs - this.#limits.maxAgeMs || this.#limits.historical) return;
    const source = this.#release.sources.find(({ name }) => name === this.known.source);
    if (source?.historical !== true) throw new Refusal("time.ancient", path);
  }
}

function pointerOf(path: readonly (string | number)[]): string {
  const pointer = formatPointer(path);
  return pointer.length <= POINTER_CHARACTERS ? pointer : `${pointer.slice(0, POINTER_CHARACTERS - 1)}…`;
}

function canonical(pointer: string): string {
  return formatPointer(parsePointer(pointer));
}

function isBlank(text: string): boolean {
  return Array.from(text).every((character) => character <= " ");
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
}

function firstBadCharacter(bytes: Uint8Array): number | null {
  for (let at = 0; at < bytes.length;) {
    const length = bytes[at]! < 0x80 ? 1 : utf8Length(bytes, at);
    if (length === 0) return at;
    at += length;
  }
  return null;
}
