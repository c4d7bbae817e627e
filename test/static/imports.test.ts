import { execFile } from "node:child_process";
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import config from "../../.dependency-cruiser.mjs";

const run = promisify(execFile);
const ROOT = resolve(import.meta.dirname, "../..");
const DEPCRUISE = join(ROOT, "node_modules/.bin/depcruise");
const PARTS = ["functions", "shared", "processor", "sinks", "local", "loadgen", "backup", "cli", "dashboard", "infra", "test"];

interface Cruise {
  readonly summary: {
    readonly totalCruised: number;
    readonly violations: readonly { readonly rule: { readonly name: string }; readonly from: string }[];
  };
}

async function cruise(directory: string, parts: readonly string[]): Promise<Cruise> {
  const command = [DEPCRUISE, "--config", ".dependency-cruiser.mjs", "--output-type", "json", ...parts];
  const { stdout } = await run(process.execPath, command, { cwd: directory, maxBuffer: 64 << 20 }).catch((thrown: { stdout?: string }) => {
    if (thrown.stdout === undefined || thrown.stdout === "") throw thrown;
    return { stdout: thrown.stdout };
  });
  return JSON.parse(stdout) as Cruise;
}

/** One file per rule, each breaking just the rule that is its key. */
const CANARIES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "no-cycles": { "shared/events/a.ts": `import "./b.ts";`, "shared/events/b.ts": `import "./a.ts";` },
  "no-unresolvable": { "cli/lost.ts": `import "./nowhere.ts";` },
  "nothing-imports-test": { "cli/tests.ts": `import "../test/some.ts";`, "test/some.ts": "export {};" },
  "kernel-imports-nothing": { "shared/kernel/up.ts": `import "../events/leaf.ts";`, "shared/events/leaf.ts": "export {};" },
  "shared-climbs-from-kernel": { "shared/rules/up.ts": `import "../clients/leaf.ts";`, "shared/clients/leaf.ts": "export {};" },
  "shared-knows-no-caller": { "shared/clients/up.ts": `import "../../sinks/leaf.ts";`, "sinks/leaf.ts": "export {};" },
  "fold-is-pure": { "processor/fold/io.ts": `import "node:fs";` },
  "fold-knows-no-client": { "processor/state/up.ts": `import "../runtime/leaf.ts";`, "processor/runtime/leaf.ts": "export {};" },
  "parts-are-apart": { "functions/validator/up.ts": `import "../../processor/leaf.ts";`, "processor/leaf.ts": "export {};" },
  "functions-run-no-commands": { "functions/validator/order.ts": `import "../../cli/leaf.ts";`, "cli/leaf.ts": "export {};" },
  "data-path-needs-no-postgres": {
    "functions/validator/down.ts": `import "../../shared/clients/postgres/leaf.ts";`,
    "shared/clients/postgres/leaf.ts": "export {};",
  },
  "processor-is-apart": { "processor/runtime/up.ts": `import "../../sinks/leaf.ts";` },
  "sinks-are-apart": { "sinks/up.ts": `import "../processor/leaf.ts";` },
  "local-spawns-parts": { "local/up.ts": `import "../processor/leaf.ts";` },
  "infra-names-entries": { "infra/up.ts": `import "../sinks/leaf.ts";` },
  "vendor--platformatic-kafka": { "cli/v1.ts": `import "@platformatic/kafka";` },
  "vendor-kafkajs": { "cli/v2.ts": `import "kafkajs";` },
  "vendor--node-rs-crc32": { "cli/v3.ts": `import "@node-rs/crc32";` },
  "vendor--clickhouse-client": { "cli/v4.ts": `import "@clickhouse/client";` },
  "vendor-ioredis": { "cli/v5.ts": `import "ioredis";` },
  "vendor-pg": { "cli/v6.ts": `import "pg";` },
  "vendor--aws-sdk-client-s3": { "cli/v12.ts": `import "@aws-sdk/client-s3";` },
  "vendor-chdb": { "cli/v7.ts": `import "chdb";` },
  "vendor-ffi-rs": { "cli/v8.ts": `import "ffi-rs";` },
  "vendor--aws-lambda-powertools-logger": { "cli/v9.ts": `import "@aws-lambda-powertools/logger";` },
  "vendor--aws-sdk-client-secrets-manager": { "cli/v20.ts": `import "@aws-sdk/client-secrets-manager";` },
  "vendor--aws-sdk-credential-provider-node": { "cli/v21.ts": `import "@aws-sdk/credential-provider-node";` },
  "vendor-esbuild": { "cli/v22.ts": `import "esbuild";` },
  "vendor-aws-cdk-lib": { "cli/v10.ts": `import "aws-cdk-lib";` },
  "vendor-constructs": { "cli/v23.ts": `import "constructs";` },
  "vendor-cdk-nag": { "cli/v24.ts": `import "cdk-nag";` },
  "vendor--duckdb-node-api": { "cli/v11.ts": `import "@duckdb/node-api";` },
};

describe("import rules", () => {
  let canary: string;

  beforeAll(async () => {
    canary = await mkdtemp(join(tmpdir(), "weir-canary-"));
    for (const file of [".dependency-cruiser.mjs", "tsconfig.json", "package.json"]) await copyFile(join(ROOT, file), join(canary, file));
    await symlink(join(ROOT, "node_modules"), join(canary, "node_modules"));
    for (const part of PARTS) await mkdir(join(canary, part), { recursive: true });
    for (const [path, content] of Object.values(CANARIES).flatMap((files) => Object.entries(files))) {
      await mkdir(dirname(join(canary, path)), { recursive: true });
      await writeFile(join(canary, path), content);
    }
  });

  afterAll(async () => {
    await rm(canary, { recursive: true, force: true });
  });

  test("hold over the whole tree", async () => {
    const { summary } = await cruise(ROOT, PARTS.slice(0, 10));
    expect(summary.violations.map((violation) => `${violation.rule.name}: ${violation.from}`)).toEqual([]);
    expect(summary.totalCruised).toBeGreaterThan(20);
  });

  test("each one fails on a file that breaks it", async () => {
    expect(Object.keys(CANARIES).toSorted()).toEqual(config.forbidden.map((rule) => rule.name).toSorted());
    const { summary } = await cruise(canary, PARTS);
    const broken = new Set(summary.violations.map((violation) => violation.rule.name));
    expect([...broken].toSorted()).toEqual(Object.keys(CANARIES).toSorted());
  });
});
