/** One plan in one instance of the kernel, which takes the events that nothing is wrong with. All others are the twin's (../scanner). */
import type { EventColumns } from "#shared/events/columns.ts";
import type { Plan } from "#shared/rules/plan.ts";
import type { BlockBuilder } from "../scanner/block-builder.ts";
import type { Limits } from "../scanner/limits.ts";
import { createKernel, type KernelExports } from "./kernel-module.ts";
import { canHold, writePlan } from "./plan-image.ts";
import { Region } from "./region.ts";
import { StagedColumns } from "./staged-columns.ts";

const FULL = 2;
const PAGE_BYTES = 65_536;
/** Room for one batch of usual size; it grows with the largest. */
const INPUT_BYTES = 1_048_576;
/** The kernel reads whole vectors. */
const SLACK_BYTES = 16;

export class Kernel {
  readonly #exports: KernelExports;
  readonly #staged: StagedColumns;
  readonly #inputAt: number;
  #input: Uint8Array;

  private constructor(plan: Plan, limits: Limits) {
    this.#exports = createKernel();
    const region = new Region(this.#exports.memory);
    this.#staged = new StagedColumns(region);
    const { address, rowCapacity: rows, columnBytes: bytes } = this.#staged;
    writePlan(this.#exports, region, plan, limits, { address, rows, bytes });
    this.#inputAt = region.take(INPUT_BYTES, 64);
    this.#input = this.#attach();
  }

  /** Null where a plan has keys that the kernel cannot hold. */
  static create(plan: Plan, limits: Limits): Kernel | null {
    return canHold(plan) ? new Kernel(plan, limits) : null;
  }

  /** Where events are read from without a copy. The same until more than its size is asked for. */
  input(sizeBytes: number): Uint8Array {
    if (sizeBytes <= this.#input.length) return this.#input;
    const { memory } = this.#exports;
    const missing = this.#inputAt + 2 * sizeBytes + SLACK_BYTES - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / PAGE_BYTES));
    this.#input = this.#attach();
    return this.#input;
  }

  get rows(): number {
    return this.#staged.rows;
  }

  get variableBytes(): number {
    return this.#staged.variableBytes;
  }

  begin(): void {
    this.#staged.clear();
  }

  /** All positions are in the input. Zero bytes stand behind the event. `keyStart` -1 = no key is expected. False = the twin decides. */
  accept(
    start: number,
    end: number,
    keyStart: number,
    keyEnd: number,
    timestampMs: number,
    sourceOffset: number,
    block: BlockBuilder,
  ): boolean {
    const at = this.#inputAt;
    const key = keyStart < 0 ? 0 : at + keyStart;
    let answer = this.#exports.accept(at + start, at + end, key, keyEnd - keyStart, timestampMs, sourceOffset);
    if (answer === FULL) {
      this.#staged.drain(block);
      answer = this.#exports.accept(at + start, at + end, key, keyEnd - keyStart, timestampMs, sourceOffset);
    }
    return answer === 1;
  }

  drain(block: BlockBuilder): void {
    this.#staged.drain(block);
  }

  /** Ends a block in which every row is the kernel's and still here. Views, valid until the next row. */
  finish(block: BlockBuilder): EventColumns {
    return this.#staged.finish(block);
  }

  #attach(): Uint8Array {
    const { buffer } = this.#exports.memory;
    this.#staged.attach(buffer);
    return new Uint8Array(buffer, this.#inputAt, buffer.byteLength - this.#inputAt - SLACK_BYTES);
  }
}
