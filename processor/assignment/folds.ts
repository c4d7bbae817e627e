/** From the configuration to the fold of a partition. */
import type { Config } from "#shared/config/config.ts";
import { FOLD_VERSION } from "../fold/fold-state.ts";
import { createFold, restoreFold } from "../fold/partition-fold.ts";
import type { FoldOptions } from "../model/ports.ts";
import type { FoldFactory } from "../runtime/ports.ts";

export function foldOptions(config: Config, partition: number): FoldOptions {
  const {
    generation,
    historical,
    outOfOrdernessMs,
    idleMarginMs,
    dedupHorizonMs,
    cutRows,
    cutMs,
    maxTableRows,
    hoppingWindows: hopping,
  } = config;
  return {
    generation,
    partition,
    historical,
    outOfOrdernessMs,
    idleMarginMs,
    dedupHorizonMs,
    cutRows,
    cutMs,
    maxTableRows,
    score: { alpha: config.scoreAlpha, warmUp: config.scoreWarmUp, threshold: config.scoreThreshold, forgetMs: config.scoreForgetMs },
    ...(hopping === "none" ? {} : { hopping }),
    // The transaction of an epoch is over before the outputs of the next are taken (epoch-loop.ts, I2).
    reuseOutputs: true,
  };
}

export function foldsOf(config: Config, partition: number): FoldFactory {
  const options = foldOptions(config, partition);
  return { version: FOLD_VERSION, create: () => createFold(options), restore: (state) => restoreFold(options, state) };
}
