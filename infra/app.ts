/**
 * The CDK app: `-c env=dev|staging|prod`, one environment at a time (cdk.json runs it). Code is bundled here, before synthesis; whatever a
 * template is checked against (checks/promises.ts) fails the synthesis.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { App } from "aws-cdk-lib";
import { addChecks } from "./checks/promises.ts";
import { environmentNamed } from "./config/environments.ts";
import { type Operation, OPERATIONS } from "./constructs/operation-function.ts";
import { createEnvironment } from "./environment-stacks.ts";
import { writeImageContext } from "./images/context.ts";

const app = new App();
addChecks(app);
const name: unknown = app.node.tryGetContext("env") ?? "dev";
const work = mkdtempSync(join(tmpdir(), "weir-synth-"));
const operations = Object.fromEntries(OPERATIONS.map((operation) => [operation, join(work, operation)])) as Record<Operation, string>;
const code = { validator: join(work, "validator"), api: join(work, "api"), images: join(work, "images"), operations };
const bundles = Object.entries({ validator: code.validator, api: code.api, ...operations }).flat();
execFileSync(process.execPath, [join(import.meta.dirname, "../functions/bundle.ts"), ...bundles], {
  stdio: ["ignore", "ignore", "inherit"],
});
writeImageContext(code.images);
createEnvironment(app, environmentNamed(String(name)), code);
app.synth();
// The assembly has copies.
rmSync(work, { recursive: true, force: true });
