/**
 * Which keys stand where. Members that the plan's rules name have their plan's field id; other keys get an id of their own when they are first
 * seen, so that the next event finds them by comparing a few words instead of hashing and searching. Objects inside arrays have no node: an id
 * stands for one place in an event.
 *
 * Learned keys are only a memory of what producers send. They are bounded, and forgotten all at once when there are too many.
 */
import type { Plan } from "#shared/rules/plan.ts";
import { hashBytes } from "#shared/rules/name-table.ts";

const LEARNED_KEYS = 256;
const LEARNED_NODES = 64;
const LEARNED_KEY_BYTES = 64;
const TABLE_SLOTS = 2_048;

const encoder = new TextEncoder();

export class KeyTree {
  readonly fieldCount: number;
  readonly capacity: number;
  /** By id: first word and number of words of `key":` in `words`, and the mask of the last one. 0 words = never equal to text as written. */
  readonly wordAt: Int32Array;
  readonly wordCount: Int32Array;
  readonly lastMask: Int32Array;
  readonly words: Int32Array;
  /** By id: node of the members, -1 = none. */
  readonly childNode: Int32Array;
  /** Producers keep one order: behind key `id` (at the start of node n: `capacity + n`) came this one last time. Only a guess. */
  readonly next: Int32Array;

  readonly #plan: Plan;
  readonly #names: Uint8Array[] = [];
  readonly #nodes: Int32Array;
  readonly #hashes: Int32Array;
  #slots: Int32Array;
  #keys = 0;
  #nodeCount = 0;
  #wordsUsed = 0;
  #full = false;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.fieldCount = plan.fieldCount;
    this.capacity = plan.fieldCount + LEARNED_KEYS;
    const nodes = plan.nodes.length + LEARNED_NODES;
    this.wordAt = new Int32Array(this.capacity);
    this.wordCount = new Int32Array(this.capacity);
    this.lastMask = new Int32Array(this.capacity);
    this.words = new Int32Array(
      LEARNED_KEYS * ((LEARNED_KEY_BYTES >> 2) + 2) + plan.fieldPointers.reduce((sum, text) => sum + text.length + 2, 0),
    );
    this.childNode = new Int32Array(this.capacity);
    this.next = new Int32Array(this.capacity + nodes);
    this.#nodes = new Int32Array(this.capacity);
    this.#hashes = new Int32Array(this.capacity);
    let slots = TABLE_SLOTS;
    while (slots < 4 * this.capacity) slots *= 2;
    this.#slots = new Int32Array(slots);
    this.#forget();
  }

  get nodeCapacity(): number {
    return this.next.length - this.capacity;
  }

  /** Before an event. */
  begin(): void {
    if (this.#full) this.#forget();
  }

  /** Id of a key under a node, learned if there is room; -1 = none. */
  resolve(node: number, bytes: Uint8Array, start: number, end: number, hash: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = place(node, hash) & mask; ; slot = (slot + 1) & mask) {
      const id = slots[slot]! - 1;
      if (id < 0) return this.#learn(node, bytes, start, end, hash, slot);
      if (this.#hashes[id] === hash && this.#nodes[id] === node && equalBytes(this.#names[id]!, bytes, start, end)) return id;
    }
  }

  /** Node for the members of a learned key, made when it first holds an object; -1 = no room. */
  openChild(id: number): number {
    const known = this.childNode[id]!;
    if (known >= 0 || this.#nodeCount === this.nodeCapacity) return known;
    const node = this.#nodeCount++;
    this.childNode[id] = node;
    return node;
  }

  #forget(): void {
    this.#full = false;
    this.#keys = 0;
    this.#nodeCount = this.#plan.nodes.length;
    this.#wordsUsed = 0;
    this.#names.length = 0;
    this.#slots.fill(0);
    this.next.fill(-1);
    this.childNode.fill(-1);
    this.childNode.set(this.#plan.childNode);
    for (const [node, { table }] of this.#plan.nodes.entries()) {
      for (const name of table.names) {
        const bytes = encoder.encode(name);
        this.#put(node, bytes, hashBytes(bytes, 0, bytes.length));
      }
    }
  }

  #learn(node: number, bytes: Uint8Array, start: number, end: number, hash: number, slot: number): number {
    if (this.#keys === this.capacity) {
      this.#full = true;
      return -1;
    }
    if (end - start > LEARNED_KEY_BYTES) return -1;
    return this.#put(node, bytes.slice(start, end), hash, slot);
  }

  #put(node: number, name: Uint8Array, hash: number, freeSlot = -1): number {
    const id = this.#keys++;
    let slot = freeSlot;
    if (slot < 0) {
      slot = place(node, hash) & (this.#slots.length - 1);
      while (this.#slots[slot] !== 0) slot = (slot + 1) & (this.#slots.length - 1);
    }
    this.#slots[slot] = id + 1;
    this.#names[id] = name;
    this.#nodes[id] = node;
    this.#hashes[id] = hash;
    this.#spell(id, name);
    return id;
  }

  /** The words of `name":`, little-endian, as the scanner reads them. */
  #spell(id: number, name: Uint8Array): void {
    this.wordAt[id] = this.#wordsUsed;
    this.wordCount[id] = 0;
    if (name.some((byte) => byte < 0x20 || byte === 0x22 || byte === 0x5c)) return;
    const spelled = new Uint8Array((name.length + 2 + 3) & ~3);
    spelled.set(name);
    spelled.set([0x22, 0x3a], name.length);
    const view = new DataView(spelled.buffer);
    for (let at = 0; at < spelled.length; at += 4) this.words[this.#wordsUsed++] = view.getInt32(at, true);
    this.wordCount[id] = spelled.length / 4;
    this.lastMask[id] = -1 >>> (8 * (spelled.length - name.length - 2));
  }
}

function equalBytes(name: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (name.length !== end - start) return false;
  for (let i = 0; i < name.length; i++) if (name[i] !== bytes[start + i]) return false;
  return true;
}

function place(node: number, hash: number): number {
  const mixed = Math.imul(hash ^ Math.imul(node, 0x85ebca6b), 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}
