/** Which keys stand where: as ../../scanner/key-tree.ts, with the next key guessed by event type too, since types differ in their members. */
import * as m from "./memory";
import { equalBytes, hashBytes } from "./names";

let keys: i32 = 0;
let nodeCount: i32 = 0;
export let isFull: bool = false;
/** Ids from here on are keys that no rule names. */
export let learnedFrom: usize = 0;

/** Everything learned is forgotten; the host then puts the plan's keys, in the order of their ids. */
export function forget(): void {
  keys = 0;
  nodeCount = m.planNodes;
  isFull = false;
  learnedFrom = m.records + ((<usize>m.fieldCount) << m.RECORD_SHIFT);
  memory.fill(m.slots, 0, (<usize>m.slotMask + 1) << 2);
  memory.fill(m.nodes, 0, (<usize>m.nodeCapacity) << m.NODE_SHIFT);
  memory.fill(m.records, 0, (<usize>m.keyCapacity) << m.RECORD_SHIFT);
}

/** Back to the plan's keys. Their records stay as they are but for what points to learned ones. */
export function forgetLearned(): void {
  const learned = keys;
  keys = m.fieldCount;
  nodeCount = m.planNodes;
  isFull = false;
  memory.fill(m.slots, 0, (<usize>m.slotMask + 1) << 2);
  memory.fill(m.nodes, 0, (<usize>m.nodeCapacity) << m.NODE_SHIFT);
  for (let id = 0; id < learned; id++) {
    const record = m.records + ((<usize>id) << m.RECORD_SHIFT);
    memory.fill(record + m.R_LINKS, 0, 32);
    store<i32>(record, 0, m.R_EVENT);
    if (load<i32>(record, m.R_CHILD) >= m.planNodes) store<i32>(record, -1, m.R_CHILD);
    if (id < m.fieldCount) link(record, load<i32>(record, m.R_HASH), load<i32>(record, m.R_NODE));
  }
}

function slotOf(node: i32, hash: i32): i32 {
  const mixed = (hash ^ (node * <i32>0x85ebca6b)) * <i32>0x9e3779b1;
  return (mixed ^ (mixed >>> 15)) & m.slotMask;
}

function link(record: usize, hash: i32, node: i32): void {
  let slot = slotOf(node, hash);
  while (load<u32>(m.slots + ((<usize>slot) << 2)) != 0) slot = (slot + 1) & m.slotMask;
  store<u32>(m.slots + ((<usize>slot) << 2), <u32>record);
}

/** Record of a key under a node, learned if it is new; 0 = no room, or too long. */
export function resolveKey(node: i32, start: usize, size: i32): usize {
  const hash = hashBytes(start, size);
  for (let slot = slotOf(node, hash); ; slot = (slot + 1) & m.slotMask) {
    const record: usize = load<u32>(m.slots + ((<usize>slot) << 2));
    if (record == 0) break;
    if (
      load<i32>(record, m.R_HASH) == hash &&
      load<i32>(record, m.R_NODE) == node &&
      load<i32>(record, m.R_SPELLED) == size + 2 &&
      equalBytes(record + m.R_TEXT, start, size)
    )
      return record;
  }
  if (size > m.maxKeyBytes || size + 2 > m.SPELLED_MAX || isForbidden(start, size)) return 0;
  if (keys == m.keyCapacity) {
    isFull = true;
    return 0;
  }
  return putKey(node, start, size);
}

export function putKey(node: i32, start: usize, size: i32): usize {
  const record = m.records + ((<usize>keys) << m.RECORD_SHIFT);
  keys++;
  const hash = hashBytes(start, size);
  memory.fill(record, 0, (<usize>1) << m.RECORD_SHIFT);
  store<i32>(record, size + 2, m.R_SPELLED);
  store<i32>(record, -1, m.R_CHILD);
  store<i32>(record, node, m.R_NODE);
  store<i32>(record, hash, m.R_HASH);
  memory.copy(record + m.R_TEXT, start, size);
  store<u16>(record + m.R_TEXT + size, 0x3a22);
  link(record, hash, node);
  return record;
}

/** Called by the host: the members of a field's object. */
export function setChild(field: i32, node: i32): void {
  store<i32>(m.records + ((<usize>field) << m.RECORD_SHIFT), node, m.R_CHILD);
}

/** Node for the members of a key's object, made when it first holds one; -1 = no room. */
export function openChild(record: usize): i32 {
  const known = load<i32>(record, m.R_CHILD);
  if (known >= 0 || nodeCount == m.nodeCapacity) return known;
  const node = nodeCount++;
  store<i32>(record, node, m.R_CHILD);
  return node;
}

/** Whether `key":` of this record stands at `start`. */
export function matchesKey(record: usize, start: usize): bool {
  const size = load<i32>(record, m.R_SPELLED);
  const differ = i8x16.bitmask(i8x16.ne(v128.load(start), v128.load(record, m.R_TEXT)));
  if (size <= 16) return (differ & ((1 << size) - 1)) == 0;
  return differ == 0 && equalBytes(record + m.R_TEXT + 16, start + 16, size - 16);
}

/** __proto__, constructor, prototype: by length and first letter, the twin looks closer. */
export function isForbidden(start: usize, size: i32): bool {
  if (size != 9 && size != 11) return false;
  const first = load<u8>(start);
  return first == 0x5f || first == 0x63 || first == 0x70;
}
