/** Byte strings to small numbers: open-addressing tables of {hash, address, bytes, index}, 16 bytes each; address 0 = free. */

export function hashBytes(start: usize, size: i32): i32 {
  let hash: u64 = <u64>size * 0x9e3779b97f4a7c15;
  let at = start;
  let rest = size;
  for (; rest >= 8; rest -= 8, at += 8) {
    hash = (hash ^ load<u64>(at)) * 0xff51afd7ed558ccd;
    hash ^= hash >> 32;
  }
  if (rest > 0) {
    hash = (hash ^ (load<u64>(at) & (((<u64>1) << (<u64>rest * 8)) - 1))) * 0xff51afd7ed558ccd;
    hash ^= hash >> 32;
  }
  return <i32>hash;
}

export function equalBytes(a: usize, b: usize, size: i32): bool {
  let at = 0;
  for (; at + 16 <= size; at += 16) if (v128.any_true(v128.xor(v128.load(a + at), v128.load(b + at)))) return false;
  const differ = i8x16.bitmask(i8x16.ne(v128.load(a + at), v128.load(b + at)));
  return (differ & ((1 << (size - at)) - 1)) == 0;
}

export function findName(table: usize, mask: i32, start: usize, size: i32): i32 {
  const hash = hashBytes(start, size);
  let slot = hash & mask;
  while (true) {
    const entry = table + ((<usize>slot) << 4);
    const name: usize = load<u32>(entry, 4);
    if (name == 0) return -1;
    if (load<i32>(entry) == hash && load<i32>(entry, 8) == size && equalBytes(name, start, size)) return load<i32>(entry, 12);
    slot = (slot + 1) & mask;
  }
}

/** Called by the host while it lays out a plan. */
export function putName(table: usize, mask: i32, start: usize, size: i32, index: i32): void {
  const hash = hashBytes(start, size);
  let slot = hash & mask;
  while (load<u32>(table + ((<usize>slot) << 4), 4) != 0) slot = (slot + 1) & mask;
  const entry = table + ((<usize>slot) << 4);
  store<i32>(entry, hash);
  store<u32>(entry, <u32>start, 4);
  store<i32>(entry, size, 8);
  store<i32>(entry, index, 12);
}
