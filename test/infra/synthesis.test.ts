import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Stack } from "aws-cdk-lib";
import * as fis from "aws-cdk-lib/aws-fis";
import * as msk from "aws-cdk-lib/aws-msk";
import * as s3 from "aws-cdk-lib/aws-s3";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { addChecks } from "../../infra/checks/promises.ts";
import { ENVIRONMENT_NAMES, environmentNamed } from "../../infra/config/environments.ts";
import { createEnvironment } from "../../infra/environment-stacks.ts";
import { placeholderCode, ROOT, testApp } from "./test-environment.ts";

const run = promisify(execFile);

describe("checks at synthesis", () => {
  let silenced: { mockRestore(): void }[] = [];

  beforeAll(() => {
    // The report of what a test breaks on purpose.
    silenced = [vi.spyOn(process.stderr, "write").mockReturnValue(true), vi.spyOn(console, "error").mockReturnValue()];
  });

  afterAll(() => {
    for (const spy of silenced) spy.mockRestore();
    process.exitCode = 0;
  });

  test.each(ENVIRONMENT_NAMES)("%s breaks no rule of AWS, of cdk-nag and of ours", (name) => {
    const app = testApp();
    addChecks(app);
    createEnvironment(app, environmentNamed(name), placeholderCode());
    expect(app.synth().stacks).toHaveLength(10);
  });

  test("each set of rules fails on a resource that breaks it", () => {
    const app = testApp();
    addChecks(app);
    const stack = new Stack(app, "Broken");
    new s3.Bucket(stack, "Open");
    new msk.CfnTopic(stack, "Topic", {
      clusterArn: "arn:aws:kafka:eu-central-1:123456789012:cluster/c/u",
      topicName: "t",
      partitionCount: 1,
      replicationFactor: 2,
    });
    new fis.CfnExperimentTemplate(stack, "Endless", {
      description: "d",
      roleArn: "arn:aws:iam::123456789012:role/r",
      targets: {},
      actions: { wait: { actionId: "aws:fis:wait", parameters: { duration: "PT1M" } } },
      stopConditions: [{ source: "none" }],
      tags: {},
    });
    new msk.CfnReplicator(stack, "All", {
      replicatorName: "r",
      serviceExecutionRoleArn: "arn:aws:iam::123456789012:role/r",
      kafkaClusters: [],
      replicationInfoList: [
        {
          targetCompressionType: "NONE",
          topicReplication: { topicsToReplicate: [".*"], detectAndCopyNewTopics: false },
          consumerGroupReplication: { consumerGroupsToReplicate: [] },
        },
      ],
    });
    let report = "";
    try {
      app.synth();
    } catch (thrown) {
      report = String(thrown);
    }
    for (const rule of [
      "topics_have_three_replicas",
      "topics_outlive_their_stack",
      "buckets_are_closed",
      "experiments_end",
      "replicators_name_their_topics",
      "AwsSolutions-S1",
    ]) {
      expect(report).toContain(rule);
    }
  });

  test(
    "the command line synthesises with the bundled validator and both images, offline and in less than a minute",
    { timeout: 120_000 },
    async () => {
      const folder = await mkdtemp(join(tmpdir(), "weir-synth-test-"));
      const started = performance.now();
      try {
        const cdk = join(ROOT, "node_modules/.bin/cdk");
        await run(process.execPath, [cdk, "synth", "--quiet", "--no-notices", "-c", "env=prod", "-o", folder], {
          cwd: ROOT,
          timeout: 110_000,
          env: {
            ...process.env,
            PATH: `${join(ROOT, "node_modules/.bin")}:${process.env["PATH"]}`,
            CDK_DISABLE_CLI_TELEMETRY: "true",
            AWS_REGION: "",
            AWS_EC2_METADATA_DISABLED: "true",
          },
        });
        const manifest = JSON.parse(await readFile(join(folder, "weir-prod-processing.assets.json"), "utf8")) as {
          files: Record<string, { source: { path: string } }>;
          dockerImages: Record<string, { source: { dockerBuildArgs: { ENTRY: string }; platform: string; directory: string } }>;
        };
        const images = Object.values(manifest.dockerImages).map(({ source }) => source);
        expect(images.map(({ dockerBuildArgs }) => dockerBuildArgs.ENTRY).toSorted()).toEqual(["processor", "sinks"]);
        for (const { platform, directory } of images) {
          expect(platform).toBe("linux/arm64");
          await readFile(join(folder, directory, "infra/images/start.sh"));
        }
        const folders = Object.values(manifest.files).map(({ source }) => source.path);
        const handlers = await Promise.allSettled(folders.map((each) => readFile(join(folder, each, "handler.mjs"), "utf8")));
        // The validator and three operations.
        expect(handlers.filter(({ status }) => status === "fulfilled")).toHaveLength(4);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
      expect(performance.now() - started).toBeLessThan(110_000);
    },
  );
});
