/** An output partition as rows that are taken range by range: records are decoded as they come, and what lies behind the range waits. */
import type { IndependentRecord } from "#shared/clients/kafka/independent-reader.ts";
import type { IndependentStream } from "#shared/clients/kafka/independent-stream.ts";
import { HEADERS } from "#shared/events/names.ts";
import { toError } from "#shared/kernel/errors.ts";
import type { Mismatch } from "#shared/ledger/verdict.ts";

/** Rows of one record. `key(i)` rises: the source offset, or the number of the row. */
export interface RowBlock<C> {
  readonly rows: number;
  readonly columns: C;
  /** Number of the first row in the gap-free count of its output partition. */
  readonly oseq: number;
  readonly key: (row: number) => number;
}

export interface CursorOptions<C> {
  readonly stream: IndependentStream;
  /** What it is called in findings. */
  readonly name: string;
  readonly generation: number;
  readonly decode: (record: IndependentRecord) => { readonly rows: number; readonly columns: C };
  readonly key: (columns: C, row: number, oseq: number) => number;
}

export class RowCursor<C> {
  readonly mismatches: Mismatch[] = [];
  readonly #options: CursorOptions<C>;
  #records: readonly IndependentRecord[] = [];
  #nextRecord = 0;
  #block: RowBlock<C> | null = null;
  #row = 0;
  #nextOseq: number | null = null;
  #taken = 0;

  constructor(options: CursorOptions<C>) {
    this.#options = options;
  }

  /** Rows given so far. */
  get taken(): number {
    return this.#taken;
  }

  /** Key of the next row; null at the end. */
  async peek(): Promise<number | null> {
    for (;;) {
      if (this.#block !== null && this.#row < this.#block.rows) return this.#block.key(this.#row);
      if (!(await this.#advance())) return null;
    }
  }

  /** Gives every row whose key is below `end`, up to the first one that is not. */
  async upTo(end: number, visit: (columns: C, row: number, oseq: number) => void): Promise<void> {
    for (;;) {
      const block = this.#block;
      if (block !== null) {
        for (; this.#row < block.rows; this.#row++) {
          if (block.key(this.#row) >= end) return;
          visit(block.columns, this.#row, block.oseq + this.#row);
          this.#taken++;
        }
      }
      if (!(await this.#advance())) return;
    }
  }

  async close(): Promise<void> {
    await this.#options.stream.close();
  }

  /** False at the end. */
  async #advance(): Promise<boolean> {
    this.#block = null;
    this.#row = 0;
    while (this.#nextRecord === this.#records.length) {
      const records = await this.#options.stream.next();
      if (records === null) return false;
      this.#records = records;
      this.#nextRecord = 0;
    }
    this.#open(this.#records[this.#nextRecord++]!);
    return true;
  }

  #open(record: IndependentRecord): void {
    const { generation, decode, key, name } = this.#options;
    const numberOf = (header: string): number => Number(record.headers[header]?.toString() ?? Number.NaN);
    // Of another generation: not this ledger's matter.
    if (numberOf(HEADERS.generation) !== generation) return;
    const oseq = numberOf(HEADERS.oseq);
    const claimed = numberOf(HEADERS.count);
    const at = `${name}, offset ${record.offset}`;
    if (this.#nextOseq !== null && oseq !== this.#nextOseq)
      this.#note(`${at}: number of the first row, where rows are numbered without a gap`, this.#nextOseq, oseq);
    this.#nextOseq = oseq + claimed;
    if (record.value === null && claimed === 0) return;
    let block: { readonly rows: number; readonly columns: C };
    try {
      block = decode(record);
    } catch (thrown) {
      this.#note(`${at}: torn, rows that can be read (${toError(thrown).message})`, 0, claimed);
      return;
    }
    if (block.rows !== claimed) this.#note(`${at}: rows that its header claims`, block.rows, claimed);
    const { columns, rows } = block;
    this.#block = { rows, columns, oseq, key: (row) => key(columns, row, oseq + row) };
  }

  #note(what: string, recounted: number, claimed: number): void {
    if (this.mismatches.length < 10) this.mismatches.push({ what, recounted, claimed });
  }
}
