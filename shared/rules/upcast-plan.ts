/** The way of an older version to the newest, compiled to slots: places that a value may leave or arrive at. */
import { formatPointer, parsePointer } from "./json-pointer.ts";
import type { EventTypeRule } from "./release-schema.ts";
import { upcastPointers, upcastSteps } from "./upcast.ts";

/** What is done with a member of `properties` that the walk meets. */
export const MEMBER = { copy: 0, slot: 1, descend: 2 } as const;
export const STEP = { rename: 0, default: 1 } as const;

export interface UpcastPlan {
  /** By slot: its field id, that of the object it is in (-1 = the event), and its key as JSON with the colon. */
  readonly fields: Int32Array;
  readonly parents: Int32Array;
  readonly keys: readonly Uint8Array[];
  /** Three numbers each: {@link STEP}, slot or literal to take from, slot to fill. */
  readonly steps: Int32Array;
  /** JSON text. */
  readonly literals: readonly Uint8Array[];
  readonly literalNumbers: Float64Array;
  /** By field id: {@link MEMBER}, and the slot. */
  readonly members: Uint8Array;
  readonly slotOf: Int32Array;
  /** The newest version's: a slot, or else a field id; -1 = neither. */
  readonly measureSlot: number;
  readonly measureField: number;
}

const encoder = new TextEncoder();

/** null = the version stays as it is. `measure`: pointer of the newest version's. */
export function compileUpcast(
  type: EventTypeRule,
  versions: readonly EventTypeRule[],
  measure: string | undefined,
  { fieldOf, fieldCount }: { readonly fieldOf: (pointer: string) => number; readonly fieldCount: number },
): UpcastPlan | null {
  const steps = upcastSteps(type, versions);
  const pointers = upcastPointers(steps);
  if (steps.length === 0) return null;
  const members = new Uint8Array(fieldCount);
  const slotOf = new Int32Array(fieldCount).fill(-1);
  const parents = pointers.map((pointer) => {
    const path = parsePointer(pointer).slice(0, -1);
    for (let length = 1; length <= path.length; length++) members[fieldOf(formatPointer(path.slice(0, length)))] = MEMBER.descend;
    return path.length === 0 ? -1 : fieldOf(formatPointer(path));
  });
  for (const [slot, pointer] of pointers.entries()) {
    members[fieldOf(pointer)] = MEMBER.slot;
    slotOf[fieldOf(pointer)] = slot;
  }
  const place = (pointer: string): number => pointers.indexOf(pointer);
  const literals: unknown[] = [];
  const flat: number[] = [];
  for (const { renames, defaults } of steps) {
    for (const [from, to] of renames) flat.push(STEP.rename, place(from), place(to));
    for (const [pointer, value] of defaults) flat.push(STEP.default, literals.push(value) - 1, place(pointer));
  }
  return {
    fields: Int32Array.from(pointers, fieldOf),
    parents: Int32Array.from(parents),
    keys: pointers.map((pointer) => encoder.encode(`${JSON.stringify(parsePointer(pointer).at(-1))}:`)),
    steps: Int32Array.from(flat),
    literals: literals.map((value) => encoder.encode(JSON.stringify(value))),
    literalNumbers: Float64Array.from(literals, (value) => (typeof value === "number" ? value : Number.NaN)),
    members,
    slotOf,
    measureSlot: measure === undefined ? -1 : place(measure),
    measureField: measure === undefined ? -1 : fieldOf(measure),
  };
}
