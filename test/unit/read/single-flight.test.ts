import { expect, test } from "vitest";
import { SingleFlight } from "#shared/read/single-flight.ts";

test("those who ask the same at the same time share one question, those who come later ask anew", async () => {
  const flights = new SingleFlight(8);
  let asked = 0;
  const question = (): Promise<number> => Promise.resolve(++asked);
  expect(await Promise.all(Array.from({ length: 100 }, () => flights.ask("a", question)))).toEqual(Array.from({ length: 100 }, () => 1));
  expect(await flights.ask("a", question)).toBe(2);
});

test("a failure reaches everyone who shares the question, and nobody after them", async () => {
  const flights = new SingleFlight(8);
  const ends = await Promise.allSettled([1, 2].map(() => flights.ask("a", () => Promise.reject(new Error("down")))));
  expect(ends.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect(await flights.ask("a", () => Promise.resolve(1))).toBe(1);
});

test("more different questions than there is room for are refused, not queued", async () => {
  const flights = new SingleFlight(2);
  const { promise, resolve } = Promise.withResolvers<number>();
  const held = ["a", "b"].map((key) => flights.ask(key, () => promise));
  await expect(flights.ask("c", () => promise)).rejects.toMatchObject({ code: "READ_BUSY" });
  const shared = flights.ask("a", () => Promise.resolve(2));
  resolve(1);
  expect(await Promise.all([...held, shared])).toEqual([1, 1, 1]);
});
