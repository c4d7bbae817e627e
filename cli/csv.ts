/** RFC 4180, as spreadsheets write it: quotes around cells, doubled inside, with commas and line breaks between them. */

export interface CsvRow {
  /** Where it begins, from 1. */
  readonly line: number;
  readonly cells: readonly string[];
}

/** What is wrong, and in which line. */
export class CsvProblem extends Error {
  readonly line: number;

  constructor(line: number, message: string) {
    super(message);
    this.line = line;
  }
}

/** Empty lines are none. @throws CsvProblem */
export function* csvRows(text: string): Generator<CsvRow> {
  let line = 1;
  for (let at = 0; at < text.length;) {
    const begins = line;
    const cells: string[] = [];
    for (let more = true; more;) {
      const isQuoted = text[at] === '"';
      const end = isQuoted ? closingQuote(text, at, line) : nextBreak(text, at);
      const cell = isQuoted ? text.slice(at + 1, end - 1).replaceAll('""', '"') : text.slice(at, end);
      if (!isQuoted && cell.includes('"'))
        throw new CsvProblem(line, "a quote inside a cell: the cell must be in quotes, the quote doubled");
      cells.push(cell);
      line += lineBreaksOf(cell);
      at = end;
      more = text[at] === ",";
      if (more) at++;
      else if (at < text.length && text[at] !== "\n" && text[at] !== "\r") throw new CsvProblem(line, "text behind a closing quote");
    }
    if (text[at] === "\r") at++;
    if (text[at] === "\n") at++;
    line++;
    if (cells.length > 1 || cells[0] !== "") yield { line: begins, cells };
  }
}

/** The position behind it. */
function closingQuote(text: string, from: number, line: number): number {
  for (let at = from + 1; ;) {
    const quote = text.indexOf('"', at);
    if (quote < 0) throw new CsvProblem(line, "a quote that is never closed");
    if (text[quote + 1] !== '"') return quote + 1;
    at = quote + 2;
  }
}

function nextBreak(text: string, from: number): number {
  let at = from;
  while (at < text.length && text[at] !== "," && text[at] !== "\n" && text[at] !== "\r") at++;
  return at;
}

function lineBreaksOf(cell: string): number {
  return cell.includes("\n") || cell.includes("\r") ? cell.split(/\r\n|\n|\r/).length - 1 : 0;
}
