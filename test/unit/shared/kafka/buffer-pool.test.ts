import { describe, expect, test } from "vitest";
import { BufferPool } from "#shared/clients/kafka/buffer-pool.ts";

const MB = 1 << 20;

describe("the buffer pool", () => {
  test("gives what was given back again, cut to the size asked for", () => {
    const pool = new BufferPool();
    const first = pool.take(3 * MB);
    pool.give(first);
    const second = pool.take(2 * MB + 1);
    expect(second.buffer).toBe(first.buffer);
    expect(second).toHaveLength(2 * MB + 1);
  });

  test("never gives one buffer to two, even when it comes back twice", () => {
    const pool = new BufferPool();
    const first = pool.take(MB);
    pool.give(first);
    pool.give(first);
    expect(pool.take(MB).buffer).toBe(first.buffer);
    expect(pool.take(MB).buffer).not.toBe(first.buffer);
  });

  test("takes nothing that is not its own", () => {
    const pool = new BufferPool();
    const foreign = Buffer.alloc(MB);
    pool.give(foreign);
    expect(pool.take(MB).buffer).not.toBe(foreign.buffer);
    const small = pool.take(100);
    pool.give(small);
    expect(pool.take(100).byteOffset).not.toBe(small.byteOffset);
  });

  test("wastes no large buffer on a small need, and prefers the closest fit", () => {
    const pool = new BufferPool();
    const [large, middle] = [pool.take(10 * MB), pool.take(2 * MB)];
    pool.give(large);
    pool.give(middle);
    expect(pool.take(MB).buffer).toBe(middle.buffer);
    expect(pool.take(MB).buffer).not.toBe(large.buffer);
    expect(pool.take(9 * MB).buffer).toBe(large.buffer);
  });

  test("keeps a bounded amount", () => {
    const pool = new BufferPool();
    const many = Array.from({ length: 30 }, () => pool.take(4 * MB));
    for (const buffer of many) pool.give(buffer);
    const known = new Set(many.map(({ buffer }) => buffer));
    const reused = Array.from({ length: 30 }, () => pool.take(4 * MB)).filter(({ buffer }) => known.has(buffer));
    expect(reused).toHaveLength(16);
  });
});
