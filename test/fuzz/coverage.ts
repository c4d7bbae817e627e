/**
 * Which branches an input reached, and about how often: V8's block coverage through node's own inspector. Counts go into buckets of powers of two,
 * as in AFL, so that one more turn of a loop is no news and twice as many are. WebAssembly has no such coverage: the kernel is compared with its
 * twin, whose branches count.
 */
import { type Profiler, Session } from "node:inspector";

export class Coverage {
  readonly #session = new Session();
  readonly #isOfInterest: (url: string) => boolean;
  readonly #seen = new Set<string>();
  readonly #branches = new Set<string>();
  #rounds = 0;
  isOpen = true;

  constructor(isOfInterest: (url: string) => boolean) {
    this.#isOfInterest = isOfInterest;
    this.#session.connect();
    this.#session.post("Profiler.enable");
    this.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  /** Branches that have ever been reached. */
  get reached(): number {
    return this.#branches.size;
  }

  /** Of what one input ran since the last call: how much is new, branch by branch and count by count. */
  takeNew(): number {
    let fresh = 0;
    this.#take((branch, count) => {
      const key = `${branch}:${32 - Math.clz32(count)}`;
      if (this.#seen.has(key)) return;
      this.#seen.add(key);
      this.#branches.add(branch);
      fresh++;
    });
    return fresh;
  }

  /** Whether what several inputs ran since the last call has a branch that no input had, or, one time in eight, may have new counts. */
  hasNew(): boolean {
    let isNew = this.#rounds++ % 8 === 0;
    this.#take((branch) => (isNew ||= !this.#branches.has(branch)));
    return isNew;
  }

  #take(each: (branch: string, count: number) => void): void {
    // The session of the same thread answers before `post` returns.
    this.#session.post("Profiler.takePreciseCoverage", (problem: Error | null, found: Profiler.TakePreciseCoverageReturnType) => {
      if (problem !== null) throw problem;
      for (const { url, functions } of found.result) {
        if (!this.#isOfInterest(url)) continue;
        for (const { ranges } of functions) {
          for (const { startOffset, endOffset, count } of ranges) if (count > 0) each(`${url}:${startOffset}-${endOffset}`, count);
        }
      }
    });
  }

  close(): void {
    this.isOpen = false;
    this.#session.post("Profiler.stopPreciseCoverage");
    this.#session.post("Profiler.disable");
    this.#session.disconnect();
  }
}
