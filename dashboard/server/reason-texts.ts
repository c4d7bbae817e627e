/** What the status page says beside a reason code: it and docs/REASONS.md have the same list (test/unit/events/reasons.test.ts). */
import { REASONS } from "#shared/events/reasons.ts";

export interface ReasonText {
  readonly severity: string;
  readonly meaning: string;
}

export const REASON_TEXTS: ReadonlyMap<unknown, ReasonText> = new Map(
  Object.entries(REASONS).map(([code, { severity, text }]) => [code, { severity, meaning: text }]),
);

const UNKNOWN: ReasonText = { severity: "error", meaning: "a reason that this version does not know" };

export function reasonText(code: unknown): ReasonText {
  return REASON_TEXTS.get(code) ?? UNKNOWN;
}
