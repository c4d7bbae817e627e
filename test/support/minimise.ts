/** The smallest bytes near `bytes` for which `fails` still holds: ever smaller pieces are left out (Zeller and Hildebrandt, delta debugging). */
export async function minimise(
  bytes: Uint8Array,
  fails: (bytes: Uint8Array) => boolean | Promise<boolean>,
  tries = 4_000,
): Promise<Uint8Array> {
  let smallest = bytes;
  let left = tries;
  for (let size = Math.ceil(bytes.length / 2); size >= 1 && smallest.length > 0;) {
    let hasShrunk = false;
    for (let from = 0; from < smallest.length && left > 0;) {
      const candidate = Buffer.concat([smallest.subarray(0, from), smallest.subarray(from + size)]);
      left--;
      if (await fails(candidate)) {
        smallest = candidate;
        hasShrunk = true;
      } else from += size;
    }
    if (left === 0 || (size === 1 && !hasShrunk)) break;
    size = Math.max(1, Math.floor(size / 2));
  }
  return smallest;
}
