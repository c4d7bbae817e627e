/** Ranges of code points as ranges of bytes: Russ Cox, "Regular Expression Matching in the Wild" (2010), as RE2 does it. */

type ByteRange = readonly [low: number, high: number];

/** Sequences of byte ranges that together stand for the characters `from`..`to`. Surrogates are no characters and are left out. */
export function utf8Sequences(from: number, to: number): (readonly ByteRange[])[] {
  const sequences: (readonly ByteRange[])[] = [];
  if (from < 0xd800 && to >= 0xd800) {
    split(from, 0xd7ff, sequences);
    if (to > 0xdfff) split(0xe000, to, sequences);
  } else if (from > 0xdfff || to < 0xd800) split(from, to, sequences);
  else if (to > 0xdfff) split(0xe000, to, sequences);
  return sequences;
}

function split(from: number, to: number, sequences: (readonly ByteRange[])[]): void {
  for (const last of [0x7f, 0x7ff, 0xffff]) {
    if (from <= last && last < to) {
      split(from, last, sequences);
      split(last + 1, to, sequences);
      return;
    }
  }
  if (to > 0x7f) {
    for (let bits = 6; bits <= 18; bits += 6) {
      const mask = (1 << bits) - 1;
      if ((from & ~mask) === (to & ~mask)) continue;
      const cut = (from & mask) !== 0 ? (from | mask) + 1 : (to & mask) === mask ? -1 : to & ~mask;
      if (cut < 0) continue;
      split(from, cut - 1, sequences);
      split(cut, to, sequences);
      return;
    }
  }
  const low = Buffer.from(String.fromCodePoint(from));
  const high = Buffer.from(String.fromCodePoint(to));
  sequences.push([...low].map((byte, i) => [byte, high[i]!] as const));
}
