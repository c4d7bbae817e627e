/** A table of attributes as people keep it, CSV or JSON lines, checked whole before anything is written: the fold stops at a table that is none. */
import { readFileSync } from "node:fs";
import { encodeEnrichment, ENRICHMENT_BYTES_MAX, ENRICHMENT_ROWS_MAX, type EnrichmentDraft } from "#shared/events/enrichment-table.ts";
import { OperatingError, toError } from "#shared/kernel/errors.ts";
import { name as eventName } from "#shared/rules/field-rule.ts";
import { parsePointer, pointerProblem } from "#shared/rules/json-pointer.ts";
import { UsageError } from "./command.ts";
import { CsvProblem, csvRows } from "./csv.ts";
import { isRawJson, parseExactly } from "./exact-json.ts";

/** A row's attributes go into every event that they are for, and one event must fit a Kafka record. */
const ATTRIBUTES_BYTES_MAX = 16 << 10;
const VERSION_MAX = 2_147_483_647;
const KEYS = "source, event_type or /properties/NAME";

interface Row {
  readonly line: number;
  readonly cells: readonly (readonly [name: string, value: string])[];
}

export interface FileOptions {
  /** For messages. */
  readonly origin: string;
  /** `source`, `event_type` or a pointer below /properties/. */
  readonly key: string;
  /** Which column holds the key; undefined = the one of the key's own name. */
  readonly column?: string | undefined;
  readonly mayBeEmpty: boolean;
}

/** @throws UsageError */
export function checkKey(key: string | undefined): string {
  if (key === "source" || key === "event_type") return key;
  const problem = key?.startsWith("/properties/") === true ? pointerProblem(key) : `must be ${KEYS}`;
  if (key !== undefined && problem === undefined) return key;
  throw new UsageError(
    `--key${key === undefined ? "" : ` ${key}`}: ${problem}`,
    "weir enrichment publish tiers.csv --key source --reason TEXT",
  );
}

/** What the key's column is called when nobody says otherwise. */
export function columnOf(key: string): string {
  return parsePointer(key).at(-1)!;
}

/** "-" is stdin. @throws UsageError */
export function readText(file: string): Uint8Array {
  try {
    return readFileSync(file === "-" ? 0 : file);
  } catch (thrown) {
    throw new UsageError(`${file}: ${toError(thrown).message}`);
  }
}

/** @throws OperatingError ENRICHMENT_FILE with the line. */
export function parseTable(bytes: Uint8Array, options: FileOptions): EnrichmentDraft {
  const { origin, key, column = columnOf(key), mayBeEmpty } = options;
  const rows = new Map<string, { readonly line: number; readonly attributes: Readonly<Record<string, string>> }>();
  for (const { line, cells } of rowsIn(textOf(bytes, origin), origin, column)) {
    const at = `${origin} line ${line}`;
    const value = cells.find(([name]) => name === column)?.[1] ?? "";
    const attributes = Object.fromEntries(cells.filter(([name]) => name !== column));
    const problem = keyProblem(key, value) ?? attributesProblem(key, attributes);
    if (problem !== null) throw invalid(`${at}: ${problem}`);
    const other = rows.get(value);
    if (other !== undefined) throw invalid(`${at}: the key ${JSON.stringify(value)} stands in line ${other.line} already`);
    rows.set(value, { line, attributes });
    if (rows.size > ENRICHMENT_ROWS_MAX) throw invalid(`${at}: more than ${ENRICHMENT_ROWS_MAX} rows`);
  }
  if (rows.size === 0 && !mayBeEmpty) throw invalid(`${origin} has no rows`, "--empty publishes a table that enriches nothing");
  const table = { key, rows: Object.fromEntries([...rows].map(([value, { attributes }]) => [value, attributes])) };
  const size = Buffer.byteLength(encodeEnrichment(table, VERSION_MAX));
  if (size > ENRICHMENT_BYTES_MAX) throw invalid(`${origin} makes a table of ${size} bytes, ${ENRICHMENT_BYTES_MAX} are allowed`);
  return table;
}

function textOf(bytes: Uint8Array, origin: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    // The line of the first byte that is none: Buffer.toString gives U+FFFD for it.
    const lines = Buffer.from(bytes).toString().split("\n");
    throw invalid(`${origin} line ${lines.findIndex((line) => line.includes("\uFFFD")) + 1}: is not UTF-8`);
  }
}

function rowsIn(text: string, origin: string, column: string): Iterable<Row> {
  return text.trimStart().startsWith("{") ? jsonRows(text, origin, column) : spreadsheetRows(text, origin, column);
}

function* spreadsheetRows(text: string, origin: string, column: string): Generator<Row> {
  let header: readonly string[] | undefined;
  try {
    for (const { line, cells } of csvRows(text)) {
      const at = `${origin} line ${line}`;
      if (header === undefined) {
        header = checkHeader(cells, at, column);
        continue;
      }
      const names = header;
      if (cells.length !== names.length) throw invalid(`${at}: has ${cells.length} cells, the header has ${names.length}`);
      // An empty cell is no attribute.
      yield { line, cells: cells.flatMap((cell, i) => (cell === "" ? [] : [[names[i]!, cell] as const])) };
    }
  } catch (thrown) {
    if (thrown instanceof CsvProblem) throw invalid(`${origin} line ${thrown.line}: ${thrown.message}`);
    throw thrown;
  }
}

function checkHeader(names: readonly string[], at: string, column: string): readonly string[] {
  const twice = names.find((each, i) => names.indexOf(each) !== i);
  if (twice !== undefined) throw invalid(`${at}: two columns are called ${JSON.stringify(twice)}`);
  if (!names.includes(column)) throw invalid(`${at}: no column ${column} among ${names.join(", ")}`, "--column names the one with the key");
  if (names.length === 1) throw invalid(`${at}: no column beside ${column}`, "the other columns are the attributes");
  return names;
}

function* jsonRows(text: string, origin: string, column: string): Generator<Row> {
  for (const [i, source] of text.split("\n").entries()) {
    if (source.trim() === "") continue;
    const line = i + 1;
    const at = `${origin} line ${line}`;
    let value: unknown;
    try {
      value = parseExactly(source);
    } catch (thrown) {
      throw invalid(`${at}: is no JSON: ${toError(thrown).message}`);
    }
    if (typeof value !== "object" || value === null || Array.isArray(value) || isRawJson(value)) throw invalid(`${at}: is no JSON object`);
    if (!Object.hasOwn(value, column)) throw invalid(`${at}: has no member ${column}`, "--column names the one with the key");
    const cells = Object.entries(value).flatMap(([name, cell]) => {
      const word = wordOf(cell);
      if (word === undefined) throw invalid(`${at}: ${JSON.stringify(name)} is no text, number or truth value`);
      return word === null ? [] : [[name, word] as const];
    });
    yield { line, cells };
  }
}

/** As it is written; null = there is none, undefined = it has no text. */
function wordOf(value: unknown): string | null | undefined {
  if (value === null || typeof value === "string") return value;
  return typeof value === "number" || typeof value === "boolean" || isRawJson(value) ? JSON.stringify(value) : undefined;
}

function keyProblem(key: string, value: string): string | null {
  if (value === "") return `no value for ${columnOf(key)}`;
  if (!value.isWellFormed()) return `the key ${JSON.stringify(value)} is no Unicode text`;
  if (key.startsWith("/") || eventName.safeParse(value).success) return null;
  return `no event can have the ${key} ${JSON.stringify(value)}: ${eventName.safeParse(value).error!.issues[0]!.message}`;
}

function attributesProblem(key: string, attributes: Readonly<Record<string, string>>): string | null {
  const own = columnOf(key);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "") return "an attribute without a name";
    // weir enrichment show puts the key there.
    if (name === own) return `an attribute called ${own} as the key is`;
    if (!name.isWellFormed() || !value.isWellFormed()) return `the attribute ${JSON.stringify(name)} is no Unicode text`;
  }
  const size = Buffer.byteLength(JSON.stringify(attributes));
  return size > ATTRIBUTES_BYTES_MAX ? `attributes of ${size} bytes, ${ATTRIBUTES_BYTES_MAX} are allowed for one key` : null;
}

function invalid(message: string, hint?: string): OperatingError {
  return new OperatingError(message, { code: "ENRICHMENT_FILE", hint });
}
