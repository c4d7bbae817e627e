/**
 * Row numbers by bucket of time. Opening the earliest bucket costs its members; nothing scans all keys. Entries are hints: the owner checks
 * each row when its bucket opens, so nothing has to be removed when a session ends early or moves on.
 */
export interface RowList {
  rows: Int32Array;
  length: number;
}

export class TimerBuckets {
  readonly #lists = new Map<number, RowList>();
  /** Rising. A few dozen: the open span of time over the bucket's width. */
  readonly #numbers: number[] = [];
  readonly #spare: RowList[] = [];
  #recent = Number.NaN;
  #recentList: RowList | null = null;
  #entries = 0;

  /** Infinity = empty. */
  get earliest(): number {
    return this.#numbers[0] ?? Infinity;
  }

  get bytes(): number {
    return this.#entries * 4;
  }

  add(bucket: number, row: number): void {
    const list = bucket === this.#recent ? this.#recentList! : this.#listOf(bucket);
    if (list.length === list.rows.length) {
      const rows = new Int32Array(list.length * 2);
      rows.set(list.rows);
      list.rows = rows;
    }
    list.rows[list.length++] = row;
    this.#entries++;
  }

  /** Takes the earliest bucket out. Give the list back with {@link recycle}. */
  take(): RowList {
    const bucket = this.#numbers.shift()!;
    const list = this.#lists.get(bucket)!;
    this.#lists.delete(bucket);
    if (bucket === this.#recent) this.#recent = Number.NaN;
    this.#entries -= list.length;
    return list;
  }

  recycle(list: RowList): void {
    list.length = 0;
    this.#spare.push(list);
  }

  #listOf(bucket: number): RowList {
    let list = this.#lists.get(bucket);
    if (list === undefined) {
      list = this.#spare.pop() ?? { rows: new Int32Array(64), length: 0 };
      this.#lists.set(bucket, list);
      let at = this.#numbers.length;
      while (at > 0 && this.#numbers[at - 1]! > bucket) at--;
      this.#numbers.splice(at, 0, bucket);
    }
    this.#recent = bucket;
    this.#recentList = list;
    return list;
  }
}
