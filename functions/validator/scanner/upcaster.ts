/**
 * Makes an accepted event of an older version one of the newest: the value, and `properties` rewritten as bytes. Members that nothing happens to
 * keep theirs, down to the spelling of a number. What the rules mean stands in shared/rules/upcast.ts.
 */
import { hashBytes } from "#shared/rules/name-table.ts";
import { FIELD, KIND, type Plan } from "#shared/rules/plan.ts";
import { MEMBER, STEP, type UpcastPlan } from "#shared/rules/upcast-plan.ts";
import { BACKSLASH, CLOSE_ARRAY, CLOSE_OBJECT, COLON, COMMA, OPEN_ARRAY, OPEN_OBJECT, QUOTE } from "./bytes.ts";
import type { JsonScanner } from "./json-scanner.ts";
import { RECORD, RECORD_SHIFT } from "./key-tree.ts";
import { parseNumber } from "./number-scanner.ts";
import { decodeText } from "./text.ts";
import { viewOf } from "./values.ts";

const NUMERIC = KIND.integer | KIND.decimal;
const ABSENT = -1;
const SLACK_BYTES = 8;
/** Contents from here down are literals. */
const LITERAL = -2;

export class Upcaster {
  readonly #plan: Plan;
  readonly #json: JsonScanner;
  #bytes: Uint8Array = new Uint8Array(0);
  #upcast: UpcastPlan | null = null;
  /** By slot, where its content comes from: a slot, {@link ABSENT} or a literal. */
  #contents = new Int32Array(16);
  #key = new Uint8Array(256);
  out: Uint8Array = new Uint8Array(1_024);
  /** Of `out`. */
  view: DataView = viewOf(this.out);
  length = 0;
  /** NaN = none. */
  readonly value = new Float64Array(1);

  constructor(plan: Plan, json: JsonScanner) {
    this.#plan = plan;
    this.#json = json;
  }

  /** Sets `value`. True: the new `properties` are `out[0..length)`; false: they stay as they stand. */
  apply(upcast: UpcastPlan, bytes: Uint8Array): boolean {
    this.#bytes = bytes;
    this.#upcast = upcast;
    const isChanged = this.#fill(upcast);
    this.#readValue(upcast);
    if (!isChanged) return false;
    this.#reserve(upcast);
    this.length = 0;
    if (this.#kind(FIELD.properties) === KIND.object)
      this.#writeObject(this.#plan.childNode[FIELD.properties]!, FIELD.properties, this.#start(FIELD.properties));
    else {
      this.out[this.length++] = OPEN_OBJECT;
      this.#writeArrivals(FIELD.properties);
      this.out[this.length++] = CLOSE_OBJECT;
    }
    return true;
  }

  #fill(upcast: UpcastPlan): boolean {
    const { fields, steps } = upcast;
    if (this.#contents.length < fields.length) this.#contents = new Int32Array(2 * fields.length);
    const contents = this.#contents;
    for (let slot = 0; slot < fields.length; slot++) contents[slot] = this.#kind(fields[slot]!) === 0 ? ABSENT : slot;
    let isChanged = false;
    for (let i = 0; i < steps.length; i += 3) {
      const from = steps[i + 1]!;
      const to = steps[i + 2]!;
      if (contents[to] !== ABSENT || !this.#isObject(upcast.parents[to]!)) continue;
      if (steps[i] === STEP.default) contents[to] = LITERAL - from;
      else if (contents[from] === ABSENT) continue;
      else {
        contents[to] = contents[from]!;
        contents[from] = ABSENT;
      }
      isChanged = true;
    }
    return isChanged;
  }

  #readValue({ measureSlot, measureField, fields, literalNumbers }: UpcastPlan): void {
    this.value[0] = NaN;
    const content = measureSlot < 0 ? ABSENT : this.#contents[measureSlot]!;
    if (content <= LITERAL) this.value[0] = literalNumbers[LITERAL - content]!;
    const field = measureSlot < 0 ? measureField : content >= 0 ? fields[content]! : -1;
    if (field >= 0 && (this.#kind(field) & NUMERIC) !== 0) this.value[0] = parseNumber(this.#bytes, this.#start(field), this.#end(field));
  }

  /** 0 = absent. */
  #kind(field: number): number {
    const { records, event } = this.#json;
    return records[field << RECORD_SHIFT] === event ? records[(field << RECORD_SHIFT) + RECORD.kind]! & 255 : 0;
  }

  #start(field: number): number {
    return this.#json.records[(field << RECORD_SHIFT) + RECORD.start]!;
  }

  #end(field: number): number {
    return this.#json.records[(field << RECORD_SHIFT) + RECORD.end]!;
  }

  /** Absent or null properties become an object in the block. */
  #isObject(field: number): boolean {
    const kind = field < 0 ? KIND.object : this.#kind(field);
    return kind === KIND.object || (field === FIELD.properties && (kind === 0 || kind === KIND.null));
  }

  #reserve({ fields, keys, literals }: UpcastPlan): void {
    let size = 2;
    if (this.#kind(FIELD.properties) === KIND.object) size += this.#end(FIELD.properties) - this.#start(FIELD.properties);
    for (let slot = 0; slot < fields.length; slot++) {
      const content = this.#contents[slot]!;
      if (content === slot || content === ABSENT) continue;
      size +=
        1 +
        keys[slot]!.length +
        (content <= LITERAL ? literals[LITERAL - content]!.length : this.#end(fields[content]!) - this.#start(fields[content]!));
    }
    // Columns copy whole words from here.
    if (this.out.length >= size + SLACK_BYTES) return;
    this.out = new Uint8Array(2 * size + SLACK_BYTES);
    this.view = viewOf(this.out);
  }

  #write(bytes: Uint8Array, start: number, end: number): void {
    const { out } = this;
    let to = this.length;
    for (let at = start; at < end; at++, to++) out[to] = bytes[at]!;
    this.length = to;
  }

  /** The object at `start`, field `object`, whose members stand in `node`; returns the position behind it. */
  #writeObject(node: number, object: number, start: number): number {
    const bytes = this.#bytes;
    const { members, slotOf } = this.#upcast!;
    this.out[this.length++] = OPEN_OBJECT;
    let at = skipSpace(bytes, start + 1);
    while (bytes[at] !== CLOSE_OBJECT) {
      const keyEnd = stringEnd(bytes, at);
      const field = this.#find(node, at + 1, keyEnd - 1);
      const valueAt = skipSpace(bytes, skipSpace(bytes, keyEnd) + 1);
      const action = field < 0 ? MEMBER.copy : members[field]!;
      if (action === MEMBER.descend && bytes[valueAt] === OPEN_OBJECT) {
        this.#separate();
        this.#write(bytes, at, keyEnd);
        this.out[this.length++] = COLON;
        at = this.#writeObject(this.#plan.childNode[field]!, field, valueAt);
      } else {
        const end = field < 0 ? valueEnd(bytes, valueAt) : this.#end(field);
        if (action !== MEMBER.slot || this.#contents[slotOf[field]!] === slotOf[field]) {
          this.#separate();
          this.#write(bytes, at, end);
        }
        at = end;
      }
      at = skipSpace(bytes, at);
      if (bytes[at] === COMMA) at = skipSpace(bytes, at + 1);
    }
    this.#writeArrivals(object);
    this.out[this.length++] = CLOSE_OBJECT;
    return at + 1;
  }

  #writeArrivals(object: number): void {
    const { parents, keys, fields, literals } = this.#upcast!;
    for (let slot = 0; slot < parents.length; slot++) {
      const content = this.#contents[slot]!;
      if (parents[slot] !== object || content === slot || content === ABSENT) continue;
      this.#separate();
      this.#write(keys[slot]!, 0, keys[slot]!.length);
      if (content <= LITERAL) this.#write(literals[LITERAL - content]!, 0, literals[LITERAL - content]!.length);
      else this.#write(this.#bytes, this.#start(fields[content]!), this.#end(fields[content]!));
    }
  }

  #separate(): void {
    if (this.out[this.length - 1] !== OPEN_OBJECT) this.out[this.length++] = COMMA;
  }

  /** Field id of a key, -1 = no rule names it. */
  #find(node: number, start: number, end: number): number {
    let bytes = this.#bytes;
    let from = start;
    let to = end;
    if (hasBackslash(bytes, start, end)) {
      if (this.#key.length < end - start) this.#key = new Uint8Array(2 * (end - start));
      to = decodeText(bytes, start, end, this.#key, 0);
      bytes = this.#key;
      from = 0;
    }
    const { table, firstField } = this.#plan.nodes[node]!;
    const place = table.find(bytes, from, to, hashBytes(bytes, from, to));
    return place < 0 ? -1 : firstField + place;
  }
}

// Text that has passed the scanner: no check is made again.

function skipSpace(bytes: Uint8Array, start: number): number {
  let at = start;
  while (bytes[at] === 0x20 || bytes[at] === 0x0a || bytes[at] === 0x0d || bytes[at] === 0x09) at++;
  return at;
}

function stringEnd(bytes: Uint8Array, start: number): number {
  let at = start + 1;
  while (bytes[at] !== QUOTE) at += bytes[at] === BACKSLASH ? 2 : 1;
  return at + 1;
}

function valueEnd(bytes: Uint8Array, start: number): number {
  let at = start;
  let depth = 0;
  do {
    const byte = bytes[at]!;
    if (byte === QUOTE) at = stringEnd(bytes, at);
    else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      depth++;
      at++;
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
      depth--;
      at++;
    } else if (depth > 0) at++;
    else at = scalarEnd(bytes, at);
  } while (depth > 0);
  return at;
}

/** Of a number or literal. */
function scalarEnd(bytes: Uint8Array, start: number): number {
  let at = start;
  while (bytes[at]! > 0x20 && bytes[at] !== COMMA && bytes[at] !== CLOSE_OBJECT && bytes[at] !== CLOSE_ARRAY) at++;
  return at;
}

function hasBackslash(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (bytes[at] === BACKSLASH) return true;
  return false;
}
