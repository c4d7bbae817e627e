/** Rows of a block that were chosen, as runs of neighbours: columns are copied run by run. */
export class RowRuns {
  /** Run i is rows bounds[2i] to bounds[2i + 1], exclusive. */
  bounds = new Int32Array(128);
  count = 0;
  rows = 0;

  add(row: number): void {
    this.rows++;
    const last = this.count * 2 - 1;
    if (this.count > 0 && this.bounds[last] === row) {
      this.bounds[last] = row + 1;
      return;
    }
    if (this.count * 2 === this.bounds.length) {
      const bounds = new Int32Array(this.bounds.length * 2);
      bounds.set(this.bounds);
      this.bounds = bounds;
    }
    this.bounds[this.count * 2] = row;
    this.bounds[this.count * 2 + 1] = row + 1;
    this.count++;
  }

  clear(): void {
    this.count = 0;
    this.rows = 0;
  }
}
