/**
 * A pattern compiled to a deterministic automaton over UTF-8 bytes: one load per byte whatever the pattern and whatever the text, so no rule and
 * no event can make the validator slow. All that can explode does so here, when a release is made, and is bounded there.
 */
import { utf8Sequences } from "./byte-sequences.ts";
import { parsePattern, type PatternNode, PatternProblem } from "./pattern-syntax.ts";

export interface Automaton {
  /** Byte to its column in `next`, from 1 on: bytes that no part of the pattern tells apart share one. */
  readonly columnOf: Uint16Array;
  /** Rows of one state each, named by the place of their first entry, which is 1 if the text may end there. State 0 is dead. */
  readonly next: Int32Array;
  readonly start: number;
  readonly rowEntries: number;
}

export type CompiledPattern = { readonly automaton: Automaton } | { readonly problem: string };

const MAX_STATES = 2_000;
/** Of the automaton on the way, which is not deterministic. */
const MAX_PARTS = 10_000;
/** Some tenths of a second. */
const MAX_STEPS = 5_000_000;
/** Pairs of states that a comparison looks at; beyond, it does not know. */
const MAX_PAIRS = 50_000;

export function compilePattern(text: string): CompiledPattern {
  try {
    return { automaton: determine(new Parts(), parsePattern(text)) };
  } catch (thrown) {
    if (!(thrown instanceof PatternProblem)) throw thrown;
    return { problem: thrown.message };
  }
}

/** Whether all of `bytes[start..end)`, which is UTF-8, matches. */
export function matches(automaton: Automaton, bytes: Uint8Array, start: number, end: number): boolean {
  const { columnOf, next } = automaton;
  let state = automaton.start;
  for (let at = start; at < end; at++) {
    state = next[state + columnOf[bytes[at]!]!]!;
    if (state === 0) return false;
  }
  return next[state] === 1;
}

/** A shortest text that `a` takes and `b` does not; null = there is none; undefined = too many states to say. */
export function difference(a: Automaton, b: Automaton): string | null | undefined {
  const columns = new Map<number, number>();
  for (let byte = 0; byte < 256; byte++) {
    const key = a.columnOf[byte]! * 512 + b.columnOf[byte]!;
    // A letter of several tells a person more than a control character.
    if (!columns.has(key) || (columns.get(key)! < 0x20 && byte >= 0x20 && byte < 0x7f)) columns.set(key, byte);
  }
  const bytes = [...columns.values()].toSorted((x, y) => Number(x < 0x30 || x > 0x7e) - Number(y < 0x30 || y > 0x7e) || x - y);
  const pairs: { readonly a: number; readonly b: number; readonly from: number; readonly byte: number }[] = [
    { a: a.start, b: b.start, from: -1, byte: 0 },
  ];
  const seen = new Set([a.start * b.next.length + b.start]);
  for (let i = 0; i < pairs.length; i++) {
    const pair = pairs[i]!;
    if (a.next[pair.a] === 1 && b.next[pair.b] !== 1) {
      const text: number[] = [];
      for (let at = pair; at.from >= 0; at = pairs[at.from]!) text.push(at.byte);
      return Buffer.from(text.toReversed()).toString();
    }
    for (const byte of bytes) {
      const toA = a.next[pair.a + a.columnOf[byte]!]!;
      if (toA === 0) continue;
      const toB = pair.b === 0 ? 0 : b.next[pair.b + b.columnOf[byte]!]!;
      const key = toA * b.next.length + toB;
      if (seen.has(key)) continue;
      if (pairs.length === MAX_PAIRS) return undefined;
      seen.add(key);
      pairs.push({ a: toA, b: toB, from: i, byte });
    }
  }
  return null;
}

/** Thompson's construction, built from the end so that every part knows what comes behind it. */
class Parts {
  /** Lowest byte, or FORK or END. */
  readonly low: number[] = [];
  readonly high: number[] = [];
  readonly to: number[] = [];
  readonly other: number[] = [];

  add(low: number, high: number, to: number, other: number): number {
    if (this.low.length === MAX_PARTS) throw tooLarge();
    this.low.push(low);
    this.high.push(high);
    this.to.push(to);
    this.other.push(other);
    return this.low.length - 1;
  }

  build(node: PatternNode, next: number): number {
    switch (node.kind) {
      case "characters":
        return this.#characters(node.ranges, next);
      case "sequence":
        return node.parts.reduceRight((behind, part) => this.build(part, behind), next);
      case "choice":
        return node.options.map((option) => this.build(option, next)).reduce((a, b) => this.add(FORK, 0, a, b));
      case "repeat":
        return this.#repeat(node.body, node.least, node.most, next);
    }
  }

  #repeat(body: PatternNode, least: number, most: number, next: number): number {
    let start = next;
    if (most === Infinity) {
      start = this.add(FORK, 0, next, next);
      this.to[start] = this.build(body, start);
    } else for (let i = least; i < most; i++) start = this.add(FORK, 0, this.build(body, start), next);
    for (let i = 0; i < least; i++) start = this.build(body, start);
    return start;
  }

  #characters(ranges: readonly number[], next: number): number {
    const known = new Map<string, number>();
    const heads = new Set<number>();
    for (let i = 0; i < ranges.length; i += 2) {
      for (const sequence of utf8Sequences(ranges[i]!, ranges[i + 1]!)) {
        let at = next;
        for (const [low, high] of sequence.toReversed()) {
          const key = `${low} ${high} ${at}`;
          at = known.get(key) ?? this.add(low, high, at, -1);
          known.set(key, at);
        }
        heads.add(at);
      }
    }
    // No character at all, as in [^\s\S]: a part that no byte passes.
    if (heads.size === 0) return this.add(1, 0, next, -1);
    return [...heads].reduce((a, b) => this.add(FORK, 0, a, b));
  }
}

const FORK = -1;
const END = -2;

function determine(parts: Parts, node: PatternNode): Automaton {
  const start = parts.build(node, parts.add(END, 0, -1, -1));
  const { columnOf, samples } = columnsOf(parts);
  const rowEntries = samples.length + 1;
  const marks = new Int32Array(parts.low.length);
  let mark = 0;
  let steps = 0;
  /** All parts that can be reached without a byte, sorted; forks left out. */
  const close = (from: readonly number[]): number[] => {
    mark++;
    const found: number[] = [];
    const stack = [...from];
    for (let part = stack.pop(); part !== undefined; part = stack.pop()) {
      if (marks[part] === mark) continue;
      marks[part] = mark;
      if (++steps > MAX_STEPS) throw tooLarge();
      if (parts.low[part] === FORK) stack.push(parts.to[part]!, parts.other[part]!);
      else found.push(part);
    }
    return found.sort((a, b) => a - b);
  };
  const states: number[][] = [[], close([start])];
  const stateOf = new Map(states.map((members, i) => [members.join(" "), i]));
  const rows: number[][] = [Array.from<number>({ length: rowEntries }).fill(0)];
  for (let i = 1; i < states.length; i++) {
    const members = states[i]!;
    const row = [members.some((part) => parts.low[part] === END) ? 1 : 0];
    for (const sample of samples) {
      steps += members.length;
      const target = close(
        members
          .filter((part) => parts.low[part]! <= sample && sample <= parts.high[part]! && parts.low[part]! >= 0)
          .map((part) => parts.to[part]!),
      );
      const key = target.join(" ");
      let state = stateOf.get(key);
      if (state === undefined) {
        if (states.length > MAX_STATES) throw tooLarge();
        state = states.length;
        stateOf.set(key, state);
        states.push(target);
      }
      row.push(state * rowEntries);
    }
    rows.push(row);
  }
  return { columnOf, next: Int32Array.from(rows.flat()), start: rowEntries, rowEntries };
}

/** `samples`: one byte of each column. */
function columnsOf(parts: Parts): { readonly columnOf: Uint16Array; readonly samples: readonly number[] } {
  const starts = new Uint8Array(257);
  starts[0] = 1;
  for (let part = 0; part < parts.low.length; part++) {
    if (parts.low[part]! < 0) continue;
    starts[parts.low[part]!] = 1;
    starts[parts.high[part]! + 1] = 1;
  }
  const columnOf = new Uint16Array(256);
  const samples: number[] = [];
  for (let byte = 0; byte < 256; byte++) {
    if (starts[byte] === 1) samples.push(byte);
    columnOf[byte] = samples.length;
  }
  return { columnOf, samples };
}

function tooLarge(): PatternProblem {
  return new PatternProblem(`needs more than ${MAX_STATES} states: repeat less (minLength and maxLength bound a length without any)`);
}
