import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createRulesSource, type RulesSource } from "#functions/validator/rules-source.ts";
import { openFolderObjects } from "#shared/clients/objects/folder-objects.ts";
import type { ObjectStore } from "#shared/clients/objects/object-store.ts";
import { nextPointer } from "#shared/clients/rules/publication.ts";
import { UnavailableError } from "#shared/kernel/errors.ts";
import {
  CURRENT_KEY,
  loadPublished,
  loadSeedRelease,
  releaseKey,
  type ReleaseObjects,
  type ReleasePointer,
  sha256Of,
} from "#shared/rules/load-release.ts";

const minimal = { eventTypes: [{ name: "a" }], sources: [] };

let dataDir: string;
let objects: ObjectStore;

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), "weir-rules-"));
  objects = openFolderObjects(dataDir);
});

afterEach(() => rmSync(dataDir, { recursive: true }));

async function point(version: number, sha256: string, more: object = {}): Promise<void> {
  const current = await objects.read(CURRENT_KEY);
  const pointer = Buffer.from(JSON.stringify({ version, file: `${version}.json`, sha256, ...more }));
  await objects.replace(CURRENT_KEY, pointer, current === null || current === "unchanged" ? null : current.etag);
}

async function publish(
  version: number,
  spoil: { readonly sha256?: string; readonly text?: string; readonly pointer?: object } = {},
): Promise<void> {
  const text = JSON.stringify({ ...minimal, version });
  await objects.createOnce(releaseKey(version), Buffer.from(spoil.text ?? text));
  await point(version, spoil.sha256 ?? sha256Of(Buffer.from(text)), spoil.pointer);
}

function observedAddress() {
  return { address: objects.address, list: (prefix: string) => objects.list(prefix) };
}

describe("a published release", () => {
  it("is the seed where none was published", async () => {
    const release = loadSeedRelease();
    expect(await loadPublished(objects)).toEqual({ release, schedule: [{ release, fromMs: 0 }], fallback: null, published: false });
  });

  it("is what the pointer names, its hash verified", async () => {
    await publish(2);
    await publish(3);
    expect(await loadPublished(objects)).toMatchObject({ release: { version: 3 }, fallback: null, published: true });
  });

  it.each([
    ["another hash", { sha256: "0".repeat(64) }],
    ["text that is no JSON", { text: "{" }],
    [
      "another version inside",
      { text: JSON.stringify({ ...minimal, version: 9 }), sha256: sha256Of(Buffer.from(JSON.stringify({ ...minimal, version: 9 }))) },
    ],
  ])("with %s gives way to the newest older one that is sound", async (_what, spoil) => {
    await publish(1, { text: "{" });
    await publish(2);
    await publish(10, spoil);
    expect(await loadPublished(objects)).toMatchObject({ release: { version: 2 }, fallback: expect.stringContaining("10.json") as string });
  });

  it("with nothing to fall back to says how to publish one", async () => {
    await publish(1, { sha256: "0".repeat(64) });
    await expect(loadPublished(objects)).rejects.toMatchObject({
      code: "RULES_UNREADABLE",
      hint: expect.stringContaining("weir rules publish") as string,
    });
  });

  it("stands beside the pointer, wherever that points", async () => {
    await publish(2);
    const text = JSON.stringify({ ...minimal, version: 9 });
    writeFileSync(join(dataDir, "9.json"), text);
    writeFileSync(
      join(dataDir, "rules/current.json"),
      JSON.stringify({ version: 9, file: "../9.json", sha256: sha256Of(Buffer.from(text)) }),
    );
    expect(await loadPublished(objects)).toMatchObject({
      release: { version: 2 },
      fallback: expect.stringContaining("beside it") as string,
    });
  });
});

describe("the rules in use", () => {
  let nowMs: number;
  let reads: number;
  /** What the store does instead of answering. */
  let fault: (() => Promise<never>) | null;
  let fallbacks: string[];
  let switches: string[];
  let source: RulesSource;

  beforeEach(() => {
    nowMs = 0;
    reads = 0;
    fault = null;
    fallbacks = [];
    switches = [];
    const observed: ReleaseObjects = {
      address: objects.address,
      list: (prefix) => objects.list(prefix),
      read: (key, options) => {
        reads++;
        return fault === null ? objects.read(key, options) : fault();
      },
    };
    source = createRulesSource({
      open: () => Promise.resolve(observed),
      now: () => nowMs,
      onFallback: (problem, version) => fallbacks.push(`${version}: ${problem}`),
      onSwitch: (version, from) => switches.push(`${from} -> ${version}`),
      // Every call waits for its look, so that it shows in the answer.
      waitMs: 5_000,
      freshMs: 0,
      wallClock: () => nowMs,
    });
  });

  const away = (): Promise<never> => Promise.reject(new UnavailableError("the store is away", { code: "OBJECTS_UNAVAILABLE" }));

  it("are looked at again after a second, and stay the same object as long as the release does", async () => {
    await publish(2);
    const first = await source.plan();
    expect(first.version).toBe(2);
    await publish(3);
    nowMs = 999;
    expect(await source.plan()).toBe(first);
    nowMs = 1_000;
    const second = await source.plan();
    expect(second.version).toBe(3);
    expect(switches).toEqual(["2 -> 3"]);
    nowMs = 2_000;
    expect(await source.plan()).toBe(second);
  });

  it("cost one small read per look while nothing changes", async () => {
    await publish(2);
    await source.plan();
    nowMs = 1_000;
    await source.plan();
    const before = reads;
    for (let i = 0; i < 50; i++) {
      nowMs += 100;
      await source.plan();
    }
    expect(reads - before).toBeLessThanOrEqual(5);
  });

  it("go on when a newer release is damaged, which is told once, and change when it is mended", async () => {
    await publish(2);
    const good = await source.plan();
    await publish(3, { text: "{" });
    for (nowMs = 1_000; nowMs < 5_000; nowMs += 1_000) expect(await source.plan()).toBe(good);
    expect(fallbacks).toEqual([expect.stringMatching(/^2: .*3\.json has sha256/)]);
    await publish(4);
    expect((await source.plan()).version).toBe(4);
    expect(source.state()).toMatchObject({ version: 4, failingForMs: null });
  });

  it("go on when the store is away, and say since when and how old they are", async () => {
    await publish(2);
    const good = await source.plan();
    expect(source.state()).toEqual({ version: 2, ageMs: 0, failingForMs: null });
    fault = away;
    nowMs = 1_000;
    expect(await source.plan()).toBe(good);
    nowMs = 61_000;
    expect(await source.plan()).toBe(good);
    expect(source.state()).toEqual({ version: 2, ageMs: 61_000, failingForMs: 60_000 });
    expect(fallbacks).toEqual([expect.stringContaining("2: the store is away")]);
    fault = null;
    nowMs = 62_000;
    expect(await source.plan()).toBe(good);
    expect(source.state()).toEqual({ version: 2, ageMs: 0, failingForMs: null });
  });

  it("never go back to an older version", async () => {
    await publish(1);
    const first = sha256Of(Buffer.from(JSON.stringify({ ...minimal, version: 1 })));
    await publish(2);
    const second = await source.plan();
    await point(1, first);
    nowMs = 1_000;
    expect(await source.plan()).toBe(second);
    expect(fallbacks).toEqual([expect.stringContaining("went back from version 2 to 1")]);
  });

  it("without any release are an error that the next call tries again", async () => {
    fault = away;
    await expect(source.plan()).rejects.toMatchObject({ code: "RULES_UNREADABLE" });
    expect(source.state()).toBeNull();
    fault = null;
    expect((await source.plan()).version).toBe(loadSeedRelease().version);
  });

  it("that were the seed and never published are no failure; a pointer that vanished is one", async () => {
    await source.plan();
    nowMs = 1_000;
    await source.plan();
    expect(source.state()).toMatchObject({ failingForMs: null, ageMs: 0 });
    await publish(2);
    nowMs = 2_000;
    expect((await source.plan()).version).toBe(2);
    rmSync(join(dataDir, "rules/current.json"));
    nowMs = 3_000;
    expect((await source.plan()).version).toBe(2);
    expect(fallbacks).toEqual([expect.stringContaining("is gone")]);
  });

  it("keep no invocation waiting for a store that hangs: the look goes on beside it, and counts when it ends", async () => {
    await publish(2);
    let answer: (() => void) | undefined;
    let hangs = false;
    const slow = createRulesSource({
      open: () =>
        Promise.resolve({
          address: "slow",
          list: (prefix: string) => objects.list(prefix),
          read: async (key: string, options?: { readonly knownEtag?: string | undefined }) => {
            if (hangs) await new Promise<void>((resolve) => (answer = resolve));
            return objects.read(key, options);
          },
        }),
      now: () => nowMs,
      onFallback: (problem) => fallbacks.push(problem),
      onSwitch: (version) => switches.push(String(version)),
      wallClock: () => nowMs,
      waitMs: 1,
    });
    const good = await slow.plan();
    await publish(3);
    hangs = true;
    nowMs = 1_000;
    expect(await slow.plan()).toBe(good);
    // A second call starts no second look.
    await expect.poll(() => answer).toBeDefined();
    const pending = answer;
    expect(await slow.plan()).toBe(good);
    expect(answer).toBe(pending);
    hangs = false;
    answer!();
    await expect.poll(() => switches).toEqual(["3"]);
    expect((await slow.plan()).version).toBe(3);
    await expect.poll(() => slow.state()!.ageMs).toBe(0);
    // One that never ends is given up, is a failure, and makes room for the next.
    hangs = true;
    nowMs = 3_000;
    await slow.plan();
    nowMs = 7_000;
    await slow.plan();
    expect(fallbacks).toEqual([expect.stringContaining("no answer")]);
    expect(slow.state()).toMatchObject({ version: 3, failingForMs: 0 });
  });

  it("of a release that is to come change at its time, in every environment, whenever each has looked", async () => {
    await publish(2);
    const environments = Array.from({ length: 5 }, () =>
      createRulesSource({
        open: () => Promise.resolve(objects),
        now: () => nowMs,
        wallClock: () => nowMs,
        onFallback: (problem) => fallbacks.push(problem),
        waitMs: 5_000,
      }),
    );
    const versions = async () => (await Promise.all(environments.map((environment) => environment.plan()))).map(({ version }) => version);
    expect(await versions()).toEqual([2, 2, 2, 2, 2]);
    // Each has its own rhythm.
    const seen: number[][] = environments.map(() => []);
    const sha256 = sha256Of(Buffer.from(JSON.stringify({ ...minimal, version: 2 })));
    for (nowMs = 10_000; nowMs < 20_000; nowMs += 100) {
      if (nowMs === 12_000) {
        await publish(3, { pointer: { fromMs: 15_000, earlier: [{ version: 2, file: "2.json", sha256 }] } });
      }
      for (const [i, environment] of environments.entries())
        if ((nowMs / 100 + i) % (3 + 4 * i) === 0) seen[i]!.push(nowMs * 10 + (await environment.plan()).version);
    }
    for (const own of seen) {
      expect(own.length).toBeGreaterThan(4);
      for (const each of own) expect(each % 10, `at ${Math.floor(each / 10)} ms`).toBe(each < 150_000 ? 2 : 3);
    }
    // One that starts before the time begins with what is in force.
    nowMs = 14_000;
    const cold = createRulesSource({
      open: () => Promise.resolve(objects),
      now: () => nowMs,
      wallClock: () => nowMs,
      onFallback: (problem) => fallbacks.push(problem),
    });
    expect((await cold.plan()).version).toBe(2);
    nowMs = 15_000;
    expect((await cold.plan()).version).toBe(3);
    expect(fallbacks).toEqual([]);
  });

  it("change at their time also when the store is away by then", async () => {
    await publish(2);
    await source.plan();
    const sha256 = sha256Of(Buffer.from(JSON.stringify({ ...minimal, version: 2 })));
    await publish(3, { pointer: { fromMs: 4_000, earlier: [{ version: 2, file: "2.json", sha256 }] } });
    nowMs = 1_000;
    expect((await source.plan()).version).toBe(2);
    fault = away;
    nowMs = 4_000;
    expect((await source.plan()).version).toBe(3);
    expect(switches).toEqual(["2 -> 3"]);
  });

  it("that are fresh are looked at beside the invocation, not before it", async () => {
    let release: (() => void) | undefined;
    await publish(2);
    const busy = createRulesSource({
      open: () =>
        Promise.resolve({
          ...observedAddress(),
          read: async (key: string, options?: { readonly knownEtag?: string | undefined }) => {
            if (nowMs > 0) await new Promise<void>((resolve) => (release = resolve));
            return objects.read(key, options);
          },
        }),
      now: () => nowMs,
      wallClock: () => nowMs,
      onFallback: (problem) => fallbacks.push(problem),
      // A wait would never end within the test.
      waitMs: 1_000_000,
    });
    await busy.plan();
    nowMs = 1_500;
    expect((await busy.plan()).version).toBe(2);
    await expect.poll(() => release).toBeDefined();
    release!();
    await expect.poll(() => busy.state()!.ageMs).toBe(0);
  });

  it("asked for by two at once, cold, are loaded once", async () => {
    await publish(2);
    const [one, other] = await Promise.all([source.plan(), source.plan()]);
    expect(one).toBe(other);
    expect(reads).toBe(2);
  });
});

describe("environments that share partitions", () => {
  const STEP_MS = 50;
  /** The default, said here so that the control below differs in nothing else. */
  const FRESH_MS = 2_000;

  interface Run {
    readonly environments: readonly { readonly everyMs: number; readonly delayMs: number; readonly startMs: number }[];
    readonly publishedMs: readonly number[];
  }

  /** Each has its own rhythm of invocations, a store that answers late, and pauses; releases come in whenever they like. */
  const runs: fc.Arbitrary<Run> = fc.record({
    environments: fc.array(
      fc.record({
        everyMs: fc.integer({ min: 1, max: 100 }).map((n) => n * STEP_MS),
        delayMs: fc.integer({ min: 0, max: 18 }).map((n) => n * STEP_MS),
        startMs: fc.integer({ min: 0, max: 300 }).map((n) => n * STEP_MS),
      }),
      { minLength: 2, maxLength: 5 },
    ),
    publishedMs: fc.uniqueArray(
      fc.integer({ min: 1, max: 300 }).map((n) => n * STEP_MS),
      { minLength: 1, maxLength: 6 },
    ),
  });

  interface Outcome {
    readonly switches: number;
    readonly regressions: number;
    readonly newest: number;
  }

  async function simulate({ environments, publishedMs }: Run, freshMs: number): Promise<Outcome> {
    let nowMs = 0;
    const stored = new Map<string, Buffer>();
    const publishAt = new Set(publishedMs);
    let pointer: ReleasePointer | null = null;
    const publishNext = (): void => {
      const version = (pointer?.version ?? 0) + 1;
      const bytes = Buffer.from(JSON.stringify({ ...minimal, version }));
      stored.set(releaseKey(version), bytes);
      pointer = nextPointer(pointer, { version, file: `${version}.json`, sha256: sha256Of(bytes) }, nowMs);
      stored.set(CURRENT_KEY, Buffer.from(JSON.stringify(pointer)));
    };
    /** Answers in the making: what stood there when it was asked for, a while later. */
    const due: { readonly atMs: number; readonly deliver: () => void }[] = [];
    const storeOf = (delayMs: number): ReleaseObjects => ({
      address: "memory",
      list: () => Promise.resolve([]),
      read: (key, options) => {
        const bytes = stored.get(key)!;
        const etag = sha256Of(bytes);
        const answer = etag === options?.knownEtag ? "unchanged" : { bytes, etag };
        return new Promise((resolve) => due.push({ atMs: nowMs + delayMs, deliver: () => resolve(answer) }));
      },
    });
    const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
    publishNext();
    const running = environments.map(({ everyMs, delayMs, startMs }) => ({
      everyMs,
      nextMs: startMs,
      busy: false,
      source: createRulesSource({
        open: () => Promise.resolve(storeOf(delayMs)),
        now: () => nowMs,
        wallClock: () => nowMs,
        onFallback: () => undefined,
        waitMs: 1_000_000,
        freshMs,
      }),
    }));
    let [newest, switches, regressions] = [0, 0, 0];
    for (; nowMs <= 25_000; nowMs += STEP_MS) {
      if (publishAt.has(nowMs)) publishNext();
      for (const each of due.splice(0, due.length)) {
        if (each.atMs <= nowMs) each.deliver();
        else due.push(each);
      }
      await turn();
      for (const environment of running) {
        if (environment.busy || nowMs < environment.nextMs) continue;
        environment.busy = true;
        void environment.source.plan().then(({ version }) => {
          if (version < newest) regressions++;
          if (version > newest && newest > 0) switches++;
          newest = Math.max(newest, version);
          environment.nextMs = nowMs + environment.everyMs;
          environment.busy = false;
        });
      }
      await turn();
    }
    return { switches, regressions, newest };
  }

  it("never show a partition old rules after new ones, however they look and whenever releases come", async () => {
    let switches = 0;
    await fc.assert(
      fc.asyncProperty(runs, async (run) => {
        const outcome = await simulate(run, FRESH_MS);
        expect(outcome).toMatchObject({ regressions: 0, newest: run.publishedMs.length + 1 });
        switches += outcome.switches;
      }),
      { numRuns: 60 },
    );
    expect(switches).toBeGreaterThan(60);
  });

  it("would show them if a look that is not fresh were enough: the check can fail", async () => {
    let regressions = 0;
    for (const run of fc.sample(runs, { numRuns: 60, seed: 7 })) regressions += (await simulate(run, Infinity)).regressions;
    expect(regressions).toBeGreaterThan(0);
  });
});
