/** Takes pieces of a WebAssembly memory one after the other, growing it. Only while a kernel is laid out: each piece is taken once and never given back. */

const PAGE_BYTES = 65_536;
/** Address 0 means "none", and the header stands there. */
const HEADER_BYTES = 1_024;
/** The kernel reads and writes up to 15 bytes past the end of what it looks at. */
const SLACK_BYTES = 16;

const encoder = new TextEncoder();

export class Region {
  readonly memory: WebAssembly.Memory;
  #next = HEADER_BYTES;

  constructor(memory: WebAssembly.Memory) {
    this.memory = memory;
  }

  /** Address of `sizeBytes` zero bytes. */
  take(sizeBytes: number, alignment: number): number {
    const address = Math.ceil(this.#next / alignment) * alignment;
    this.#next = address + sizeBytes + SLACK_BYTES;
    const missing = this.#next - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / PAGE_BYTES));
    return address;
  }

  text(text: string | Uint8Array): number {
    const bytes = typeof text === "string" ? encoder.encode(text) : text;
    const address = this.take(bytes.length, 1);
    this.setBytes(address, bytes);
    return address;
  }

  setBytes(address: number, values: Uint8Array): void {
    new Uint8Array(this.memory.buffer, address, values.length).set(values);
  }

  setInts(address: number, values: readonly number[]): void {
    new Int32Array(this.memory.buffer, address, values.length).set(values);
  }

  setDoubles(address: number, values: readonly number[]): void {
    new Float64Array(this.memory.buffer, address, values.length).set(values);
  }
}
