import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compilePattern, difference, matches } from "#shared/rules/pattern.ts";

const ALPHABET = ["a", "b", "c", "Z", "0", "7", "_", " ", "-", "\n", "\u2028", "é", "ß", "中", "\u{ffff}", "😀", "\u{10ffff}", "."];
const character = fc.constantFrom(...ALPHABET);
const anyCharacter = fc.oneof(
  { weight: 3, arbitrary: character },
  { weight: 1, arbitrary: fc.string({ unit: "binary", minLength: 1, maxLength: 1 }) },
);

function escaped(text: string): string {
  return Array.from(text)
    .map((letter) =>
      /[\^$\\.*+?()[\]{}|/-]/.test(letter)
        ? letter === "-"
          ? "\\x2d"
          : `\\${letter}`
        : /\s/.test(letter)
          ? `\\u{${letter.codePointAt(0)!.toString(16)}}`
          : letter,
    )
    .join("");
}

const classMember = fc.oneof(
  anyCharacter.map(escaped),
  fc.constantFrom("\\d", "\\w", "\\s", "\\D", "\\W", "\\S", "\\-", "\\n"),
  fc.tuple(anyCharacter, anyCharacter).map(([x, y]) =>
    [x, y]
      .toSorted((a, b) => a.codePointAt(0)! - b.codePointAt(0)!)
      .map(escaped)
      .join("-"),
  ),
);
const atom = fc.oneof(
  { weight: 6, arbitrary: anyCharacter.map(escaped) },
  fc.constantFrom(".", "\\d", "\\w", "\\s", "\\D", "\\W", "\\S"),
  fc.tuple(fc.constantFrom("", "^"), fc.array(classMember, { maxLength: 4 })).map(([sign, members]) => `[${sign}${members.join("")}]`),
);
const pattern = fc.letrec<{ node: string; choice: string }>((tie) => ({
  node: fc
    .tuple(
      fc.oneof(
        { depthSize: "small", withCrossShrink: true },
        atom,
        atom,
        tie("choice").map((inner) => `(${inner})`),
        tie("choice").map((inner) => `(?:${inner})`),
      ),
      fc.constantFrom("", "", "", "", "?", "*", "+", "{2}", "{1,}", "{0,2}"),
    )
    .map(([body, repeat]) => body + repeat),
  choice: fc
    .array(
      fc.array(tie("node"), { maxLength: 3, size: "small" }).map((parts) => parts.join("")),
      { minLength: 1, maxLength: 2 },
    )
    .map((options) => options.join("|")),
})).choice;
const text = fc.array(anyCharacter, { maxLength: 8 }).map((parts) => parts.join(""));

function takes(source: string, input: string): boolean {
  const compiled = compilePattern(source);
  if ("problem" in compiled) throw new Error(`${source}: ${compiled.problem}`);
  const bytes = Buffer.from(input);
  return matches(compiled.automaton, bytes, 0, bytes.length);
}

describe("a pattern", () => {
  it("says of every text what JavaScript's regular expression says of it as a whole", () => {
    fc.assert(
      fc.property(pattern, fc.array(text, { minLength: 5, maxLength: 12 }), (source, texts) => {
        const reference = new RegExp(`^(?:${source})$`, "u");
        const compiled = compilePattern(source);
        // Nested repetitions may outgrow the bound, which is then said.
        if ("problem" in compiled) {
          expect(compiled.problem).toContain("states");
          return;
        }
        for (const input of ["", ...texts]) {
          const bytes = Buffer.from(input);
          expect(matches(compiled.automaton, bytes, 0, bytes.length), JSON.stringify([source, input])).toBe(reference.test(input));
        }
      }),
      { numRuns: 600 },
    );
  });

  it("has a difference to another exactly when some text tells them apart, and the text named does", () => {
    fc.assert(
      fc.property(pattern, pattern, fc.array(text, { maxLength: 10 }), (first, second, texts) => {
        const [a, b] = [compilePattern(first), compilePattern(second)];
        if ("problem" in a || "problem" in b) return;
        const witness = difference(a.automaton, b.automaton);
        if (typeof witness === "string") {
          expect([takes(first, witness), takes(second, witness)]).toEqual([true, false]);
        } else if (witness === null) {
          for (const input of texts)
            expect(takes(first, input) && !takes(second, input), JSON.stringify([first, second, input])).toBe(false);
        }
      }),
      { numRuns: 200 },
    );
  });
});
