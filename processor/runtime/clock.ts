import { setTimeout as pause } from "node:timers/promises";
import type { Clock } from "./ports.ts";

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: (durationMs, signal) => pause(durationMs, undefined, { signal }).catch(() => undefined),
};
