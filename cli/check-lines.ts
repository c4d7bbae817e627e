/**
 * Lines of any bytes, each one counted: empty ones too, since `weir check` answers line by line. A line that lies whole in its chunk is handed
 * on where it stands; of one that is longer than the limit only so much is kept as shows that it is.
 */

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** The line is `bytes[start..end)`, valid during the call only. */
type VisitLine = (bytes: Uint8Array, start: number, end: number) => void;

export class LineCutter {
  readonly #visit: VisitLine;
  /** What may be held of a line whose end has not come: the limit, one byte more, and a carriage return. */
  readonly #held: Uint8Array;
  #heldBytes = 0;
  #isOpen = false;

  constructor(maxLineBytes: number, visit: VisitLine) {
    this.#held = new Uint8Array(maxLineBytes + 2);
    this.#visit = visit;
  }

  add(chunk: Uint8Array): void {
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      if (this.#isOpen) {
        this.#hold(chunk, start, end);
        this.#close();
      } else this.#show(chunk, start, end);
      start = end + 1;
    }
    if (start < chunk.length) this.#hold(chunk, start, chunk.length);
  }

  /** The last line needs no line feed. */
  end(): void {
    if (this.#isOpen) this.#close();
  }

  #hold(chunk: Uint8Array, start: number, end: number): void {
    this.#isOpen = true;
    const room = this.#held.length - this.#heldBytes;
    // The last byte of a line that is too long must not be taken for its end: it is dropped with the rest.
    const part = chunk.subarray(start, Math.min(end, start + room));
    this.#held.set(part, this.#heldBytes);
    this.#heldBytes += part.length;
  }

  #close(): void {
    this.#show(this.#held, 0, this.#heldBytes);
    this.#heldBytes = 0;
    this.#isOpen = false;
  }

  #show(bytes: Uint8Array, start: number, end: number): void {
    this.#visit(bytes, start, end > start && bytes[end - 1] === CARRIAGE_RETURN ? end - 1 : end);
  }
}
