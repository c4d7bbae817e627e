import { rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { settles } from "#test/support/process.ts";
import { processesOf, Starter, temporaryFolder } from "#test/support/starter.ts";

const folders: string[] = [];
const starters: Starter[] = [];

function folder(): string {
  const made = temporaryFolder();
  folders.push(made);
  return made;
}

function start(dataDir: string, ...args: string[]): Starter {
  const starter = new Starter(["--data-dir", dataDir, ...args], dataDir);
  starters.push(starter);
  return starter;
}

/** Ends what a failed test may have left, and removes its folders. */
async function sweep(): Promise<void> {
  for (const starter of starters.splice(0)) {
    try {
      starter.signal("SIGKILL");
    } catch {
      // Gone already.
    }
  }
  for (const dir of folders.splice(0)) {
    await settles(() => expect(processesOf(dir)).toEqual([]));
    rmSync(dir, { recursive: true, force: true });
  }
}

describe("npm start refuses in one line what it cannot do", () => {
  afterEach(sweep);

  it("an unknown option, with the one that was meant", async () => {
    const starter = start(folder(), "--headles");
    expect(await starter.exited).toBe(2);
    expect(starter.stderr).toContain("--headles: unknown option, did you mean --headless?");
  });

  it("a wrong configuration, with every problem of it", async () => {
    const dir = folder();
    const starter = new Starter(["--data-dir", dir], dir, { WEIR_PARTITIONS: "0", WEIR_LANES: "x" });
    expect(await starter.exited).toBe(2);
    expect(starter.stderr).toMatch(/partitions: .*WEIR_PARTITIONS/);
    expect(starter.stderr).toContain("WEIR_LANES: unknown variable, did you mean WEIR_LANE?");
  });

  it("a folder that cannot be made", async () => {
    const dir = folder();
    writeFileSync(join(dir, "file"), "");
    const starter = start(join(dir, "file"));
    expect(await starter.exited).toBe(4);
    expect(starter.stderr).toMatch(/data folder .*file cannot be made.*\n.*fix: choose another with --data-dir/);
  });
});

describe("Ctrl-C at any moment of the start leaves no process and a folder that starts again", () => {
  afterEach(sweep);

  it.each(["weir: starting", "✓ redis", "✓ clickhouse", "✓ kafka", "✓ topics", "✓ status", "✓ generator"])(
    "after it has said %j",
    async (mark) => {
      const dir = folder();
      const starter = start(dir);
      await starter.says(new RegExp(mark));
      starter.signal("SIGINT");
      await starter.exited;
      // PostgreSQL's own children notice a moment later that it has gone.
      await settles(() => expect(processesOf(dir)).toEqual([]), { limitMs: 5_000 });
      const again = start(dir, "--seed", "none");
      await again.says(/weir runs/);
      again.signal("SIGTERM");
      expect(await again.exited).toBe(0);
      // PostgreSQL's own children notice a moment later that it has gone.
      await settles(() => expect(processesOf(dir)).toEqual([]), { limitMs: 5_000 });
    },
  );
});

describe("a running pipeline", () => {
  let dir: string;
  let starter: Starter;
  let squatter: Server;

  beforeAll(async () => {
    // Somebody else has Kafka's usual port; when even that fails, somebody else has it already.
    squatter = createServer();
    await new Promise<void>((resolve) => squatter.once("error", () => resolve()).listen(9092, "127.0.0.1", resolve));
    dir = folder();
    starter = start(dir, "--rate", "500");
    await starter.says(/weir runs/);
  }, 60_000);

  afterAll(async () => {
    squatter.close();
    await sweep();
  }, 60_000);

  it("has said how long the first event took, where everything is, and what to do next", () => {
    expect(starter.stderr).toMatch(/first event in ClickHouse after \d+\.\d s/);
    expect(starter.stderr).toContain(`${dir} (kept)`);
    expect(starter.stderr).toContain("npm run weir -- verify");
    for (const name of ["kafka", "clickhouse", "postgres", "redis", "validator", "processor", "sinks", "status", "generator"]) {
      expect(starter.stderr).toMatch(new RegExp(`✓ ${name} .* \\d+\\.\\d s\n`));
      expect(starter.part(name)).toMatchObject({ state: "running", restarts: 0 });
    }
  });

  it("took another port where the usual one was taken", () => {
    expect(starter.part("kafka").address).not.toBe("127.0.0.1:9092");
  });

  it("with --ports fixed the taken port is refused with its owner instead", async () => {
    const other = start(folder(), "--ports", "fixed");
    expect(await other.exited).toBe(4);
    expect(other.stderr).toMatch(/port \d+ for \w+ is used by pid \d+ \(.+\)\n.*fix: stop it, or start with --ports auto/);
  });

  it("keeps its folder to itself: a second start names pid and folder", async () => {
    const startedAt = performance.now();
    const second = start(dir);
    expect(await second.exited).toBe(4);
    expect(second.stderr).toContain(`data folder ${dir} is in use by pid ${starter.pid}`);
    expect(second.stderr).toContain(`kill ${starter.pid}`);
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  });

  it.each(["processor", "validator", "sinks", "status", "redis", "postgres", "clickhouse", "kafka"])(
    "brings back a %s that was killed with -9, at its old address, and says so",
    async (name) => {
      const before = starter.part(name);
      process.kill(before.pid!, "SIGKILL");
      await settles(
        () => expect(starter.part(name)).toMatchObject({ state: "running", restarts: before.restarts + 1, lastEnd: "SIGKILL" }),
        {
          limitMs: 90_000,
        },
      );
      expect(starter.part(name).pid).not.toBe(before.pid);
      if (before.kind === "server") expect(starter.part(name).address).toBe(before.address);
      await settles(() => expect(starter.stderr).toContain(`${name} is back`));
    },
  );

  it("leaves nothing when the starter itself is killed with -9, and the folder starts again", async () => {
    expect(processesOf(dir).length).toBeGreaterThan(9);
    starter.signal("SIGKILL");
    await settles(() => expect(processesOf(dir)).toEqual([]));
    const again = start(dir, "--headless", "--for", "3s", "--rate", "500");
    expect(await again.exited, again.stderr + again.stdout).toBe(0);
    expect(processesOf(dir)).toEqual([]);
  });
});
