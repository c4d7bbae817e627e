import { expect, it } from "vitest";
import { END_MARK_BYTES } from "#functions/validator/scanner/validator.ts";
import { goodEvent, NOW_MS, seedValidator } from "#test/support/validated-event.ts";

const EVENTS = 200_000;
const BATCH = 1_000;

it("the scan leaves nothing behind: no object per event, and buffers that stop growing", () => {
  const validator = seedValidator();
  const event = JSON.stringify(
    goodEvent({ properties: { amount: 12.5, note: "äöü \n", list: [1, { a: true }], deep: { er: { x: null } } } }),
  );
  const bytes = new Uint8Array([...Buffer.from(event), ...new Uint8Array(END_MARK_BYTES)]);
  const end = bytes.length - END_MARK_BYTES;
  const key = Buffer.from("42");
  const run = (events: number): void => {
    for (let i = 0; i < events; i++) {
      if (i % BATCH === 0) validator.begin();
      validator.add(bytes, 0, end, key, null, i, NOW_MS);
    }
  };
  run(EVENTS);
  const before = process.memoryUsage();
  run(EVENTS);
  const after = process.memoryUsage();
  expect(validator.rejects).toBe(0);
  expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(65_536);
  // A collection in between only lowers it; a view, string or object per event would be 200,000 times 28 bytes and more.
  expect(after.heapUsed - before.heapUsed).toBeLessThan(24 * EVENTS);
});
