import { describe, expect, test } from "vitest";
import { prepareLine, readLines } from "../../../cli/event-lines.ts";

async function* inChunks(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function lines(content: string | Buffer, size = 3): Promise<string[]> {
  const found: string[] = [];
  for await (const line of readLines(inChunks(Buffer.from(content), size))) found.push(line.toString("latin1"));
  return found;
}

describe("lines", () => {
  test.each([1, 2, 3, 7, 1_000])("are the same however the file is cut, in chunks of %i", async (size) => {
    expect(await lines('{"a":1}\r\n\n  \n{"b":2}\n{"c":3}', size)).toEqual(['{"a":1}', '{"b":2}', '{"c":3}']);
  });

  test("keep bytes that are no UTF-8, for the validator to refuse", async () => {
    expect(await lines(Buffer.from([0x7b, 0xff, 0xc0, 0x0a, 0x61]))).toEqual(["{\u00ff\u00c0", "a"]);
  });

  test("an array becomes one line per element, numbers to the last digit", async () => {
    expect(await lines(' [{"id":18446744073709551615},\n {"price":1.10}]\n')).toEqual(['{"id":18446744073709551615}', '{"price":1.10}']);
  });

  test("lines that begin with a bracket without being one array stay lines", async () => {
    expect(await lines("[1]\n[2]\n")).toEqual(["[1]", "[2]"]);
    expect(await lines("[broken\n{}\n")).toEqual(["[broken", "{}"]);
  });

  test("an empty file has none", async () => {
    expect(await lines("")).toEqual([]);
    expect(await lines(" \n\n ")).toEqual([]);
  });
});

describe("a line", () => {
  const keyOf = (line: string): string | null => prepareLine(Buffer.from(line), { keyField: "user_id" }).key;

  test("has the text of its key field as key, without rounding", () => {
    expect(keyOf('{"user_id":42}')).toBe("42");
    expect(keyOf('{"user_id":"18446744073709551615"}')).toBe("18446744073709551615");
    expect(keyOf('{"user_id":9007199254740993}')).toBe("9007199254740993");
  });

  test("without a usable key field, or without JSON, has none", () => {
    for (const line of ["{}", '{"user_id":null}', '{"user_id":{}}', "[1]", "7", "{", "\u0000", '{"user_id":tru'])
      expect(keyOf(line), line).toBeNull();
  });

  test("without options goes out byte for byte", () => {
    const line = Buffer.from('{ "user_id" : 42.0 , "x": "\\u00e9" , "user_id": 1 }');
    expect(prepareLine(line, { keyField: "user_id" }).value).toBe(line);
  });

  test("gets the source, time and id that the options name and keeps the rest", () => {
    const { value } = prepareLine(Buffer.from('{"user_id":9007199254740993,"source":"a","event_time":"x","properties":{"p":1.50}}'), {
      keyField: "user_id",
      source: "pos",
      eventTimeMs: 1_767_225_600_000,
      eventId: "00000000-0000-4000-8000-000000000001",
    });
    expect(value.toString()).toBe(
      '{"user_id":9007199254740993,"source":"pos","event_time":"2026-01-01T00:00:00.000Z","properties":{"p":1.50},"event_id":"00000000-0000-4000-8000-000000000001"}',
    );
  });
});
