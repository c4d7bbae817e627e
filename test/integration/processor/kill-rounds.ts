/**
 * Rounds of kill -9 under load: two processors, snapshots every 200 ms, and each life of one ends at a random moment (also while it recovers) or at
 * a random call of a named point. At the end the outputs must be those of one undisturbed fold.
 */
import { setTimeout as pause } from "node:timers/promises";
import { toError } from "#shared/kernel/errors.ts";
import type { FailpointName } from "#shared/kernel/failpoint.ts";
import { Random } from "../../simulation/world.ts";
import type { OutputFacts } from "./block-feed.ts";
import { type LaneCluster, ProcessorLane } from "./processor-lane.ts";
import type { ProcessorProcess } from "./processor-process.ts";

const NAMES = ["a", "b"] as const;
/** A point that is not reached in time is no reason to wait: it is killed then. */
const POINT_LIMIT_MS = 15_000;
const MOMENT_MS_MAX = 2_500;
/** The end of each life's log, for whoever looks for the fault. */
const LIFE_TEXT_MAX = 4_000;
/** Calls of each point in the life of a processor: commits are many, snapshots few. */
const POINTS: readonly (readonly [FailpointName, nthMax: number])[] = [
  ["before-produce", 40],
  ["mid-produce", 40],
  ["before-commit", 40],
  ["commit-sent-no-answer", 40],
  ["after-commit", 40],
  ["mid-snapshot", 6],
  ["after-snapshot", 6],
];

export interface KillRoundsOptions {
  readonly rounds: number;
  readonly seed: number;
  readonly cluster: LaneCluster;
  readonly say?: (line: string) => void;
}

export interface KillRoundsReport extends OutputFacts {
  /** Lives that ended by kill -9, by where. */
  readonly kills: Readonly<Record<string, number>>;
  readonly fedRows: number;
}

/** Throws when the outputs differ, or a processor ends in another way than by being killed. */
export async function runKillRounds({ rounds, seed, cluster, say = () => undefined }: KillRoundsOptions): Promise<KillRoundsReport> {
  const random = new Random(seed);
  const lane = await ProcessorLane.open(cluster, { partitions: 4 });
  const kills: Record<string, number> = {};
  try {
    lane.startLoad();
    // The other one lives on, and has work of its own all the while.
    const lives = new Map(NAMES.map((name) => [name, lane.start({ processorInstance: name })]));
    await Promise.all([...lives.values()].map(({ ready }) => ready));
    for (let round = 1; round <= rounds; round++) {
      const name = NAMES[random.int(0, 1)]!;
      await kill(lives.get(name)!);
      const [point, nthMax] = POINTS[random.int(0, POINTS.length - 1)]!;
      const isAtPoint = random.next() < 0.6;
      const nth = random.int(1, nthMax);
      const moment = random.int(0, MOMENT_MS_MAX);
      const victim = lane.start({ processorInstance: name }, isAtPoint ? { failpoint: `${point}:kill:${nth}` } : {});
      const where = isAtPoint ? await endAtPoint(victim, point) : await endAtMoment(victim, moment);
      kills[where] = (kills[where] ?? 0) + 1;
      say(
        `round ${round}: ${name} killed at ${isAtPoint ? `${where}, call ${nth}` : `${moment} ms of its life`}, ${lane.feed.rows} rows so far`,
      );
      const next = lane.start({ processorInstance: name });
      lives.set(name, next);
      await next.ready;
    }
    await lane.settle(60_000);
    for (const life of lives.values()) {
      const code = await life.leave();
      if (code !== 0) throw new Error(`a processor that was asked to leave ended with ${code}:\n${life.text()}`);
    }
    return { ...(await lane.expectExactlyOnce()), kills, fedRows: lane.feed.rows };
  } catch (thrown) {
    const lives = lane.processes.map((each) => each.text().slice(-LIFE_TEXT_MAX)).join("\n--\n");
    throw new Error(`seed ${seed}: ${toError(thrown).message}\n${lives}`, { cause: thrown });
  } finally {
    await lane.close();
  }
}

async function kill(process: ProcessorProcess): Promise<void> {
  process.kill();
  await killed(process);
}

async function killed(process: ProcessorProcess): Promise<void> {
  const { code, signal } = await process.exit;
  if (signal !== "SIGKILL") throw new Error(`a processor ended with ${code ?? signal} instead of being killed:\n${process.text()}`);
}

async function endAtPoint(process: ProcessorProcess, point: string): Promise<string> {
  const timeout = new AbortController();
  const late = pause(POINT_LIMIT_MS, "late", { signal: timeout.signal }).catch(() => "late");
  const first = await Promise.race([process.exit.then(() => "ended"), late]);
  timeout.abort();
  if (first === "late") process.kill();
  await killed(process);
  return first === "late" ? `${point} not reached` : point;
}

async function endAtMoment(process: ProcessorProcess, moment: number): Promise<string> {
  await pause(moment);
  await kill(process);
  return "a random moment";
}
