import { describe, expect, it } from "vitest";
import type { ChildExit } from "#local/services/child-process.ts";
import { type Part, type RunningPart, Supervisor } from "#local/supervisor.ts";
import { settles } from "#test/support/process.ts";

/** A part that runs until it is told to end; its first starts may be made to fail. */
class FakePart implements Part {
  readonly name = "fake";
  readonly kind = "service";
  readonly endsByItself: boolean;
  starts = 0;
  failures = 0;
  live = 0;
  hold: Promise<void> = Promise.resolve();
  #end: (exit: ChildExit) => void = () => {};
  says: (trouble: string | null) => void = () => {};

  constructor(endsByItself = false) {
    this.endsByItself = endsByItself;
  }

  async start(signal: AbortSignal): Promise<RunningPart> {
    this.starts += 1;
    await this.hold;
    signal.throwIfAborted();
    if (this.failures > 0) {
      this.failures -= 1;
      throw new Error("no port");
    }
    this.live += 1;
    const exited = new Promise<ChildExit>((resolve) => {
      this.#end = (exit) => {
        this.live -= 1;
        resolve(exit);
      };
    });
    const onTrouble = (listener: (trouble: string | null) => void): void => void (this.says = listener);
    return { pid: this.starts, address: "here", exited, onTrouble, stop: async () => this.end({ code: 0, signal: null }) };
  }

  end(exit: ChildExit): void {
    this.#end(exit);
    this.#end = () => {};
  }
}

function supervise() {
  const said: string[] = [];
  const supervisor = new Supervisor({
    onChange: () => {},
    onEnd: (name, end) => said.push(`${name} ended: ${end}`),
    onReturn: (name, restarts) => said.push(`${name} back: ${restarts}`),
  });
  return { supervisor, said, stateOf: () => supervisor.status()[0] };
}

describe("the supervisor", () => {
  it("starts a killed part again, counts it and says why it ended", async () => {
    const part = new FakePart();
    const { supervisor, said, stateOf } = supervise();
    await supervisor.start(part);
    part.end({ code: null, signal: "SIGKILL" });
    await settles(() => expect(stateOf()).toMatchObject({ state: "running", restarts: 1, lastEnd: "SIGKILL", pid: 2, address: "here" }));
    expect(said).toEqual(["fake ended: SIGKILL", "fake back: 1"]);
    await supervisor.stopAll("service");
    expect(stateOf()).toMatchObject({ state: "stopped", pid: null });
  });

  it("shows what a running part says is wrong, until it says that nothing is, or ends", async () => {
    const part = new FakePart();
    const { supervisor, stateOf } = supervise();
    await supervisor.start(part);
    expect(stateOf()).toMatchObject({ state: "running", trouble: null });
    part.says("partition 1 refuses");
    expect(stateOf()).toMatchObject({ state: "running", trouble: "partition 1 refuses" });
    part.says(null);
    expect(stateOf()).toMatchObject({ trouble: null });
    part.says("partition 2 refuses");
    const { says } = part;
    part.end({ code: 1, signal: null });
    await settles(() => expect(stateOf()).toMatchObject({ state: "running", restarts: 1, trouble: null }));
    // The last words of one that has ended already.
    says("partition 3 refuses");
    expect(stateOf()).toMatchObject({ trouble: null });
    await supervisor.stopAll("service");
  });

  it("keeps trying when a restart fails, with longer pauses", async () => {
    const part = new FakePart();
    const { supervisor, said, stateOf } = supervise();
    await supervisor.start(part);
    part.failures = 2;
    part.end({ code: 1, signal: null });
    await settles(() => expect(stateOf()).toMatchObject({ state: "running", restarts: 1, lastEnd: "no port" }));
    expect(said).toEqual(["fake ended: exit 1", "fake ended: no port", "fake ended: no port", "fake back: 1"]);
    expect(part.starts).toBe(4);
    await supervisor.stopAll("service");
  });

  it("takes exit 0 of a part that ends by itself for its good end", async () => {
    const part = new FakePart(true);
    const { supervisor, said, stateOf } = supervise();
    await supervisor.start(part);
    part.end({ code: 0, signal: null });
    await supervisor.ended("fake");
    expect(stateOf()?.state).toBe("stopped");
    expect(said).toEqual([]);
    expect(part.starts).toBe(1);
  });

  it("reports a first start that fails to its caller and does not watch the part", async () => {
    const part = new FakePart();
    part.failures = 1;
    const { supervisor, stateOf } = supervise();
    await expect(supervisor.start(part)).rejects.toThrow("no port");
    expect(stateOf()?.state).toBe("failed");
    expect(part.starts).toBe(1);
  });

  it.each(["during its first start", "in its pause before a restart", "in the moment it has come up"])(
    "leaves nothing running when it is stopped %s",
    async (when) => {
      const part = new FakePart();
      const { supervisor, stateOf } = supervise();
      let release = (): void => {};
      if (when !== "in its pause before a restart") part.hold = new Promise((resolve) => (release = resolve));
      const start = supervisor.start(part).catch(() => {});
      if (when === "in its pause before a restart") {
        await start;
        part.failures = 1_000;
        part.end({ code: 1, signal: null });
      }
      if (when === "in the moment it has come up") release();
      const stopped = supervisor.stopAll("service");
      release();
      await stopped;
      await start;
      expect(part.live).toBe(0);
      expect(stateOf()?.state).toBe("stopped");
      await expect(supervisor.start(new FakePart())).rejects.toThrow("stopping");
    },
  );
});
