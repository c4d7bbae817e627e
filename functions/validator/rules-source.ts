/** The rules in use, kept warm between invocations and looked at again now and then. A damaged release never replaces a good one. */
import { loadPublished } from "#shared/rules/load-release.ts";
import { compilePlan, type Plan } from "#shared/rules/plan.ts";
import type { Release } from "#shared/rules/release.ts";

const LOOK_AGAIN_MS = 1_000;

export interface RulesSource {
  /** The same object as long as the release is the same. */
  plan(): Plan;
}

export interface RulesSourceOptions {
  readonly dataDir: string;
  readonly now: () => number;
  readonly onFallback: (problem: string, version: number) => void;
}

export function createRulesSource({ dataDir, now, onFallback }: RulesSourceOptions): RulesSource {
  let release: Release | undefined;
  let plan: Plan | undefined;
  let lookAgainAt = -Infinity;
  let reported: string | null = null;
  return {
    plan() {
      if (plan !== undefined && now() < lookAgainAt) return plan;
      const loaded = loadPublished(dataDir, release);
      lookAgainAt = now() + LOOK_AGAIN_MS;
      if (loaded.fallback !== null && loaded.fallback !== reported) onFallback(loaded.fallback, loaded.release.version);
      reported = loaded.fallback;
      if (plan === undefined || loaded.release !== release) plan = compilePlan(loaded.release);
      release = loaded.release;
      return plan;
    },
  };
}
