/** What holds a partition back, in words, from facts that were read before. Pure. */

export interface LagFacts {
  readonly partition: number;
  /** Offset behind the last event of events.raw, and the highest that the fold has accounted for. */
  readonly rawEnd: number;
  readonly accounted: number;
  /** events.valid: offset behind the last record, and the committed position; -1 = none. */
  readonly validEnd: number;
  readonly committed: number;
  /** Records of events.clean that a transaction still hides from readers. */
  readonly hiddenRecords: number;
  /** When the first record behind the committed position was appended; null = there is none. */
  readonly waitingSinceMs: number | null;
  /** When the first event was appended that no block holds yet; null = there is none. */
  readonly unvalidatedSinceMs: number | null;
  readonly watermarkMs: number | null;
  /** Log time of the last record folded. */
  readonly logTimeMs: number | null;
  /** The same two positions a moment later; null = not asked. */
  readonly later: { readonly accounted: number; readonly committed: number; readonly afterMs: number } | null;
}

export interface LagRules {
  readonly nowMs: number;
  readonly historical: boolean;
  readonly outOfOrdernessMs: number;
  readonly idleMarginMs: number;
}

/** What a tick needs to come through validator, fold and commit: below this an idle watermark is where it should be. */
const TICKS_WITHIN_MS = 3_000;

/** First what stands between an event and its commit, then what the watermark waits for. */
export function explainLag(facts: LagFacts, rules: LagRules): string[] {
  return [...explainPosition(facts, rules), explainWatermark(facts, rules)];
}

function explainPosition(facts: LagFacts, { nowMs }: LagRules): string[] {
  const { rawEnd, accounted, validEnd, committed, waitingSinceMs, unvalidatedSinceMs, later, hiddenRecords } = facts;
  const events = rawEnd - accounted;
  const blocks = validEnd - Math.max(0, committed);
  const reasons: string[] = [];
  if (blocks > 0) {
    const since = waitingSinceMs === null ? "" : `, the first since ${seconds(nowMs - waitingSinceMs)}`;
    const moved = later === null ? null : later.committed - committed;
    if (committed < 0 && moved === 0)
      reasons.push(`the processor has never committed here: ${blocks} blocks wait${since}; does it run? (weir status, its log)`);
    else if (moved === 0) {
      reasons.push(
        `the processor stands still: ${blocks} blocks wait${since}, no commit in ${seconds(later!.afterMs)}; it is down, refuses the partition or a block breaks it (its log says)`,
      );
    } else if (moved !== null && moved > 0) {
      const rate = ((later!.accounted - accounted) * 1_000) / later!.afterMs;
      const eta = rate > 0 ? `, ${seconds((events / rate) * 1_000)} to go at that pace if nothing came` : "";
      reasons.push(`the processor works through ${blocks} blocks: ${Math.round(rate)} events/s${eta}`);
    } else reasons.push(`${blocks} blocks wait for the processor${since}`);
  } else if (events > 0) {
    const since = unvalidatedSinceMs === null ? "" : `, the first since ${seconds(nowMs - unvalidatedSinceMs)}`;
    reasons.push(`${events} events are in no block yet${since}: the validator is behind or does not run`);
  } else reasons.push("nothing waits: every event is accounted for");
  if (hiddenRecords > 0) reasons.push(`a transaction is open: ${hiddenRecords} records of events.clean are not visible to readers yet`);
  return reasons;
}

function explainWatermark(facts: LagFacts, rules: LagRules): string {
  const { watermarkMs, logTimeMs, rawEnd, accounted, validEnd, committed } = facts;
  const { nowMs, historical, outOfOrdernessMs, idleMarginMs } = rules;
  if (watermarkMs === null) return "no watermark: no event has been folded";
  const behind = seconds(nowMs - watermarkMs);
  if (historical) return `the watermark is ${behind} old and moves with events only: a historical lane closes its last windows by a drain`;
  if (rawEnd > accounted || validEnd > committed) return `the watermark is ${behind} behind and waits for what stands above`;
  const expectedMs = outOfOrdernessMs + idleMarginMs;
  if (nowMs - watermarkMs <= expectedMs + TICKS_WITHIN_MS) {
    return `the watermark is ${behind} behind, as it should be: ${seconds(outOfOrdernessMs)} for events out of order, up to ${seconds(idleMarginMs)} more while idle`;
  }
  const quiet = logTimeMs === null ? "" : ` since ${seconds(nowMs - logTimeMs)}`;
  return `the watermark is ${behind} behind: the partition is quiet${quiet} and its last ticks closed what they could; events of old times would explain it too`;
}

/** `12 ms`, `3.4 s`, `5 min`, `2.5 h`, `3 d`. */
export function seconds(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 120_000) return `${Math.round(ms / 100) / 10} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  return ms < 172_800_000 ? `${Math.round(ms / 360_000) / 10} h` : `${Math.round(ms / 86_400_000)} d`;
}
