import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeEnrichment, encodeEnrichment } from "#shared/events/enrichment-table.ts";
import { parseTable } from "../../../cli/enrichment-file.ts";

const word = fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 }).filter((text) => text.isWellFormed());
const names = fc.uniqueArray(
  word.filter((name) => name !== "plan"),
  { minLength: 1, maxLength: 5 },
);
/** A header, and rows of as many cells; keys differ. */
const sheets = names.chain((columns) =>
  fc.record({
    columns: fc.constant(columns),
    rows: fc.uniqueArray(
      fc.record({
        key: word,
        cells: fc.array(fc.string({ unit: "grapheme", maxLength: 12 }), { minLength: columns.length, maxLength: columns.length }),
      }),
      { selector: ({ key }) => key, minLength: 1, maxLength: 8 },
    ),
  }),
);

const quoted = (cell: string): string => `"${cell.replaceAll('"', '""')}"`;

test("any table comes through CSV and JSON lines alike, and the fold reads from its object what stood in the file", () => {
  fc.assert(
    fc.property(sheets, fc.constantFrom("\n", "\r\n"), ({ columns, rows }, lineBreak) => {
      const options = { origin: "x", key: "/properties/plan", mayBeEmpty: false };
      const header = ["plan", ...columns].map(quoted).join(",");
      const csv = [header, ...rows.map(({ key, cells }) => [key, ...cells].map(quoted).join(","))].join(lineBreak);
      const pairs = rows.map(({ key, cells }) => ({
        key,
        attributes: columns.map((name, i) => [name, cells[i]!] as const).filter(([, value]) => value !== ""),
      }));
      const lines = pairs.map(({ key, attributes }) => JSON.stringify(Object.fromEntries([["plan", key], ...attributes])));
      const table = parseTable(Buffer.from(csv), options);
      expect(encodeEnrichment(parseTable(Buffer.from(lines.toReversed().join(lineBreak)), options), 3)).toBe(encodeEnrichment(table, 3));
      const read = decodeEnrichment(Buffer.from(encodeEnrichment(table, 3)), 3);
      expect(new Map([...read.rows].map(([key, text]) => [key, new Map(Object.entries(JSON.parse(text) as object))]))).toEqual(
        new Map(pairs.map(({ key, attributes }) => [key, new Map(attributes)])),
      );
    }),
    { numRuns: 300 },
  );
});
