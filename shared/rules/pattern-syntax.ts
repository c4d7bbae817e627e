/**
 * The language of `pattern` in field rules, which docs/RULES.md describes: the part of JavaScript's regular expressions (flag u) that a finite
 * automaton can hold. What is left out (look-around, back-references, word boundaries) is refused by name and never read as something else.
 */

/** Characters as ranges of code points: [from, to, from, to ...]. */
export type PatternNode =
  | { readonly kind: "characters"; readonly ranges: readonly number[] }
  | { readonly kind: "sequence"; readonly parts: readonly PatternNode[] }
  | { readonly kind: "choice"; readonly options: readonly PatternNode[] }
  | { readonly kind: "repeat"; readonly body: PatternNode; readonly least: number; readonly most: number };

/** What is wrong with a pattern, for a person. */
export class PatternProblem extends Error {}

const MAX_REPEAT = 1_000;
const LAST_CODE_POINT = 0x10ffff;
const SYNTAX = "^$\\.*+?()[]{}|/";
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13 };
const DIGITS = [0x30, 0x39];
const WORDS = [0x30, 0x39, 0x41, 0x5a, 0x5f, 0x5f, 0x61, 0x7a];
/** WhiteSpace and LineTerminator of ECMA-262. */
// oxfmt-ignore
const SPACES = [
  0x09, 0x0d, 0x20, 0x20, 0xa0, 0xa0, 0x1680, 0x1680, 0x2000, 0x200a, 0x2028, 0x2029, 0x202f, 0x202f, 0x205f, 0x205f, 0x3000, 0x3000, 0xfeff, 0xfeff,
];
const LINE_ENDS = [0x0a, 0x0a, 0x0d, 0x0d, 0x2028, 0x2029];
const CLASSES: Readonly<Record<string, readonly number[]>> = {
  d: DIGITS,
  w: WORDS,
  s: SPACES,
  D: complement(DIGITS),
  W: complement(WORDS),
  S: complement(SPACES),
};

/** @throws PatternProblem */
export function parsePattern(text: string): PatternNode {
  return new PatternParser(text).parse();
}

class PatternParser {
  readonly #characters: readonly string[];
  #at = 0;

  constructor(text: string) {
    this.#characters = Array.from(text);
  }

  parse(): PatternNode {
    const anchoredAtStart = this.#take("^");
    const node = this.#choice();
    const anchoredAtEnd = this.#take("$");
    if (this.#at < this.#characters.length) throw this.#problem(this.#peek() === ")" ? ") without (" : "a $ stands only at the end");
    // /^a|b$/ binds each sign to one side only, which is hardly ever meant, and never what is done here.
    if ((anchoredAtStart || anchoredAtEnd) && node.kind === "choice") {
      throw new PatternProblem("with | at the top, leave ^ and $ out (a pattern always covers the whole text) or write ^(?:a|b)$");
    }
    return node;
  }

  #choice(): PatternNode {
    const options = [this.#sequence()];
    while (this.#take("|")) options.push(this.#sequence());
    return options.length === 1 ? options[0]! : { kind: "choice", options };
  }

  #sequence(): PatternNode {
    const parts: PatternNode[] = [];
    for (;;) {
      const next = this.#peek();
      if (next === undefined || next === "|" || next === ")" || next === "$") break;
      parts.push(this.#repeated(this.#atom()));
    }
    return parts.length === 1 ? parts[0]! : { kind: "sequence", parts };
  }

  #repeated(body: PatternNode): PatternNode {
    const bounds = this.#bounds();
    if (bounds === null) return body;
    const next = this.#peek();
    if (next === "?") throw this.#problem("lazy repetition means nothing here, since a pattern covers the whole text: leave the ? out");
    if (next === "*" || next === "+" || next === "{") throw this.#problem("nothing to repeat");
    return { kind: "repeat", body, least: bounds[0], most: bounds[1] };
  }

  #bounds(): readonly [least: number, most: number] | null {
    if (this.#take("?")) return [0, 1];
    if (this.#take("*")) return [0, Infinity];
    if (this.#take("+")) return [1, Infinity];
    if (!this.#take("{")) return null;
    const least = this.#count();
    let most = least;
    if (this.#take(",")) most = this.#peek() === "}" ? Infinity : this.#count();
    if (!this.#take("}")) throw this.#problem("a repetition is written {m}, {m,} or {m,n}; a { by itself \\{");
    if (least > most) throw this.#problem(`{${least},${most}}: the first number is the larger one`);
    return [least, most];
  }

  #count(): number {
    let digits = "";
    while (/^[0-9]$/.test(this.#peek() ?? "")) digits += this.#characters[this.#at++];
    if (digits === "") throw this.#problem("a repetition is written {m}, {m,} or {m,n}; a { by itself \\{");
    if (Number(digits) > MAX_REPEAT)
      throw this.#problem(`repeated ${digits} times: at most ${MAX_REPEAT} (minLength and maxLength bound a length)`);
    return Number(digits);
  }

  #atom(): PatternNode {
    const character = this.#characters[this.#at++]!;
    switch (character) {
      case "(":
        return this.#group();
      case "[":
        return { kind: "characters", ranges: this.#class() };
      case ".":
        return { kind: "characters", ranges: complement(LINE_ENDS) };
      case "\\":
        return { kind: "characters", ranges: this.#escape(false) };
      case "*":
      case "+":
      case "?":
        throw this.#problem("nothing to repeat", -1);
      case "^":
        throw this.#problem("a ^ stands only at the start", -1);
      case "{":
      case "}":
      case "]":
        throw this.#problem(`a ${character} by itself is written \\${character}`, -1);
      default:
        return { kind: "characters", ranges: single(character.codePointAt(0)!) };
    }
  }

  #group(): PatternNode {
    if (this.#take("?") && !this.#take(":")) {
      const sign = this.#characters.slice(this.#at, this.#at + 2).join("");
      const isLook = /^(?:[=!]|<[=!])/.test(sign);
      throw this.#problem(isLook ? "look-around needs more than linear time" : "a group is written ( ) or (?: )");
    }
    const node = this.#choice();
    if (!this.#take(")")) throw this.#problem(this.#peek() === "$" ? "a $ stands only at the end" : "( without )");
    return node;
  }

  #class(): number[] {
    const negated = this.#take("^");
    const ranges: number[] = [];
    for (;;) {
      const next = this.#peek();
      if (next === undefined) throw this.#problem("[ without ]");
      if (this.#take("]")) break;
      const from = this.#classMember();
      if (this.#peek() !== "-" || this.#characters[this.#at + 1] === "]") {
        ranges.push(...from);
        continue;
      }
      this.#at++;
      const to = this.#classMember();
      if (from.length !== 2 || to.length !== 2 || from[0] !== from[1] || to[0] !== to[1])
        throw this.#problem("a range has one character on each side");
      if (from[0]! > to[0]!) throw this.#problem("a range has its smaller character first");
      ranges.push(from[0]!, to[0]!);
    }
    const joined = join(ranges);
    return negated ? complement(joined) : joined;
  }

  #classMember(): readonly number[] {
    const character = this.#characters[this.#at++];
    if (character === undefined) throw this.#problem("[ without ]");
    return character === "\\" ? this.#escape(true) : single(character.codePointAt(0)!);
  }

  #escape(inClass: boolean): readonly number[] {
    const letter = this.#characters[this.#at++];
    if (letter === undefined) throw this.#problem("a \\ at the end");
    if (Object.hasOwn(CLASSES, letter)) return CLASSES[letter]!;
    if (Object.hasOwn(CONTROLS, letter)) return single(CONTROLS[letter]!);
    if (SYNTAX.includes(letter) || (inClass && letter === "-")) return single(letter.codePointAt(0)!);
    if (letter === "x") return single(this.#hexadecimal(2));
    if (letter === "u") return single(this.#unicode());
    if (/^[1-9]$/.test(letter) || letter === "k") throw this.#problem("a back-reference needs more than linear time");
    if (letter === "b" || letter === "B") throw this.#problem("a word boundary is not supported");
    if (letter === "p" || letter === "P") throw this.#problem("Unicode properties are not supported: name the ranges");
    throw this.#problem(`\\${letter} means nothing`);
  }

  #unicode(): number {
    if (this.#take("{")) {
      const end = this.#characters.indexOf("}", this.#at);
      const digits = this.#characters.slice(this.#at, Math.max(end, this.#at)).join("");
      if (!/^[0-9a-fA-F]{1,6}$/.test(digits)) throw this.#problem("a code point is written \\u{1F600}");
      this.#at = end + 1;
      return this.#codePoint(Number.parseInt(digits, 16));
    }
    const code = this.#hexadecimal(4);
    if (code < 0xd800 || code > 0xdbff) return this.#codePoint(code);
    if (!this.#take("\\") || !this.#take("u")) throw this.#problem("half of a surrogate pair is no character");
    const low = this.#hexadecimal(4);
    if (low < 0xdc00 || low > 0xdfff) throw this.#problem("half of a surrogate pair is no character");
    return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  }

  #codePoint(code: number): number {
    if (code > LAST_CODE_POINT) throw this.#problem("beyond U+10FFFF there is no character");
    if (code >= 0xd800 && code <= 0xdfff) throw this.#problem("half of a surrogate pair is no character");
    return code;
  }

  #hexadecimal(digits: number): number {
    const text = this.#characters.slice(this.#at, this.#at + digits).join("");
    if (text.length !== digits || !/^[0-9a-fA-F]+$/.test(text)) throw this.#problem(`${digits} hexadecimal digits are missing`);
    this.#at += digits;
    return Number.parseInt(text, 16);
  }

  #peek(): string | undefined {
    return this.#characters[this.#at];
  }

  #take(character: string): boolean {
    if (this.#characters[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #problem(what: string, shift = 0): PatternProblem {
    return new PatternProblem(`${what} (character ${Math.min(this.#at + shift, this.#characters.length) + 1})`);
  }
}

function single(code: number): readonly number[] {
  return [code, code];
}

/** Sorted, without overlap. */
function join(ranges: readonly number[]): number[] {
  const pairs: [number, number][] = [];
  for (let i = 0; i < ranges.length; i += 2) pairs.push([ranges[i]!, ranges[i + 1]!]);
  pairs.sort((a, b) => a[0] - b[0]);
  const joined: number[] = [];
  for (const [from, to] of pairs) {
    const last = joined.length - 1;
    if (last > 0 && from <= joined[last]! + 1) joined[last] = Math.max(joined[last]!, to);
    else joined.push(from, to);
  }
  return joined;
}

function complement(ranges: readonly number[]): number[] {
  const others: number[] = [];
  let from = 0;
  for (let i = 0; i < ranges.length; i += 2) {
    if (ranges[i]! > from) others.push(from, ranges[i]! - 1);
    from = ranges[i + 1]! + 1;
  }
  if (from <= LAST_CODE_POINT) others.push(from, LAST_CODE_POINT);
  return others;
}
