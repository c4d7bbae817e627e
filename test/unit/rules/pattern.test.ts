import { describe, expect, it } from "vitest";
import { compilePattern, difference, matches } from "#shared/rules/pattern.ts";

function takes(pattern: string, text: string): boolean {
  const compiled = compilePattern(pattern);
  if ("problem" in compiled) throw new Error(compiled.problem);
  const bytes = Buffer.from(text);
  return matches(compiled.automaton, bytes, 0, bytes.length);
}

describe("a pattern", () => {
  it.each([
    ["covers the whole text", "ab", "ab", "xab"],
    ["may say so", "^ab$", "ab", "abx"],
    ["of alternatives covers it, too", "a|bc", "bc", "abc"],
    ["counts characters, not bytes", ".{2}", "😀é", "é"],
    ["has ranges beyond ASCII", "[α-ω]+", "λόγος".normalize("NFC").replaceAll("ό", "ο"), "logos"],
    ["has ranges across the planes", "[\\u{ffff}-\\u{10001}]", "\u{10000}", "\u{10002}"],
    ["reads escaped pairs as one character", "\\ud83d\\ude00", "😀", "\u{1f601}"],
    ["leaves line ends out of the dot", "a.b", "a b", "a\nb"],
    ["may be empty", "", "", "a"],
    ["repeats groups", "(?:ab){2,3}", "ababab", "ab"],
    ["of an e-mail address", "[\\w.+\\-]+@[\\w\\-]+(\\.[\\w\\-]+)+", "a.b+c@example.co.uk", "a@b"],
  ])("%s", (_what, pattern, good, bad) => {
    expect([takes(pattern, good), takes(pattern, bad)]).toEqual([true, false]);
  });

  it.each([
    ["(a)\\1", "a back-reference needs more than linear time"],
    ["\\k<x>", "a back-reference needs more than linear time"],
    ["(?=a)", "look-around needs more than linear time"],
    ["(?<!a)b", "look-around needs more than linear time"],
    ["a\\b", "a word boundary is not supported"],
    ["\\p{L}", "Unicode properties are not supported"],
    ["a*?", "lazy repetition"],
    ["a**", "nothing to repeat"],
    ["+a", "nothing to repeat"],
    ["a{2", "a repetition is written"],
    ["a{3,2}", "the first number is the larger one"],
    ["a{9999}", "at most 1000"],
    ["(a", "( without )"],
    ["a)", ") without ("],
    ["[a", "[ without ]"],
    ["[z-a]", "smaller character first"],
    ["[\\d-z]", "one character on each side"],
    ["a$b", "a $ stands only at the end"],
    ["a^", "a ^ stands only at the start"],
    ["^a|b$", "^(?:a|b)$"],
    ["\\ud800", "half of a surrogate pair"],
    ["\\u{110000}", "beyond U+10FFFF"],
    ["\\q", "\\q means nothing"],
    ["a\\", "a \\ at the end"],
    ["]", "a ] by itself"],
    // 2^20 states, and 10^9 parts on the way to them.
    ["(?:a|b)*a(?:a|b){20}", "more than 2000 states"],
    ["(?:(?:a{1000}){1000}){1000}", "more than 2000 states"],
  ])("%s is refused with its reason", (pattern, problem) => {
    expect(compilePattern(pattern)).toEqual({ problem: expect.stringContaining(problem) as string });
  });

  it("takes one step per byte however it repeats, where backtracking would take 2^100,000", () => {
    const bytes = Buffer.from(`${"a".repeat(100_000)}!`);
    for (const pattern of ["(a+)+", "(a|a)*", "(a*)*b?", "(.*)(.*)(.*)x", "(?:a|aa)+"]) {
      const compiled = compilePattern(pattern);
      if ("problem" in compiled) throw new Error(compiled.problem);
      let steps = 0;
      const counted = new Proxy(bytes, {
        get: (target, key) => {
          steps++;
          return Reflect.get(target, key) as unknown;
        },
      });
      expect(matches(compiled.automaton, counted, 0, bytes.length), pattern).toBe(false);
      expect(steps, pattern).toBeLessThanOrEqual(bytes.length);
      expect(matches(compiled.automaton, bytes, 0, 100_000), pattern).toBe(!pattern.endsWith("x"));
    }
  });

  it("is compared with another by the shortest text that tells them apart", () => {
    const automaton = (pattern: string) => {
      const compiled = compilePattern(pattern);
      if ("problem" in compiled) throw new Error(compiled.problem);
      return compiled.automaton;
    };
    expect(difference(automaton("[a-z]{2,4}"), automaton("[a-z]{2,3}"))).toMatch(/^[a-z]{4}$/);
    expect(difference(automaton("[a-z]{2,3}"), automaton("[a-z]{2,4}"))).toBeNull();
    expect(difference(automaton("(ab)*"), automaton("(?:abab)*(?:ab)?"))).toBeNull();
  });
});
