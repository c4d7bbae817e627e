import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { METRICS, METRICS_NAMESPACE } from "#shared/telemetry/metrics-catalogue.ts";
import { CLICKHOUSE_METRICS } from "../../infra/clickhouse/config-files.ts";
import { ENVIRONMENT_NAMES, environmentNamed } from "../../infra/config/environments.ts";
import { allAlarms } from "../../infra/stacks/observability-stack.ts";
import { resourcesOf, ROOT, templatesOf } from "./test-environment.ts";

const RUNBOOKS = join(ROOT, "docs/runbooks");
const compute = { functionName: "f", aliasResource: "f:live", mappingId: "m", clusterName: "c", services: { processor: "p", sinks: "s" } };

function alarmsOf(name: (typeof ENVIRONMENT_NAMES)[number]): ReturnType<typeof allAlarms> {
  const { replicas, keepers } = environmentNamed(name).clickhouse;
  const nodes = Object.fromEntries(Array.from({ length: replicas + keepers }, (_, i) => [`node-${i}`, `group-${i}`]));
  const natGateways = Array.from({ length: environmentNamed(name).network.natGateways }, (_, i) => `nat-${i}`);
  return allAlarms(environmentNamed(name), compute, { valkeyIds: ["v"], postgresId: "d", nodes, natGateways });
}

describe.each(ENVIRONMENT_NAMES)("alarms of %s", (name) => {
  const alarms = alarmsOf(name);

  test("have names of their own, thresholds that can be reached and a first sentence", () => {
    expect(new Set(alarms.map(({ id }) => id)).size).toBe(alarms.length);
    for (const { points, means, id } of alarms) {
      expect(points[0], id).toBeLessThanOrEqual(points[1]);
      expect(means.length, id).toBeGreaterThan(10);
    }
  });

  test("watch only metrics of ours that somebody emits", () => {
    const own = alarms.filter(({ own }) => own !== undefined);
    expect(own.length).toBeGreaterThan(15);
    for (const { metric, own: metricName } of own) {
      const watched = "namespace" in metric ? [metric] : Object.values(metric.of);
      for (const { namespace, name: each, dimensions } of watched) {
        expect(namespace).toBe(METRICS_NAMESPACE);
        expect(Object.keys(METRICS)).toContain(each);
        expect(dimensions["service"]).toBe(METRICS[each as keyof typeof METRICS].emitter);
      }
      expect(watched.map((each) => each.name)).toContain(metricName);
    }
  });

  test("of ClickHouse watch only what its agent sends", () => {
    const { metrics } = JSON.parse(JSON.stringify({ metrics: Object.values(CLICKHOUSE_METRICS) })) as { metrics: string[] };
    const watched = alarms.flatMap(({ metric }) => ("namespace" in metric && metric.namespace === "Weir/ClickHouse" ? [metric.name] : []));
    expect(watched.toSorted()).toEqual([...metrics, "BackupsMade"].toSorted());
  });

  test("each have a runbook that says what it means, where to look, what to do and how to see that it helped", () => {
    for (const runbook of new Set(alarms.map((alarm) => alarm.runbook))) {
      const text = readFileSync(join(RUNBOOKS, `${runbook}.md`), "utf8");
      for (const part of ["## Means", "## Look at", "## Do", "## Verify"]) expect(text, runbook).toContain(part);
    }
  });

  test("each act, and name their runbook", () => {
    const made = resourcesOf(templatesOf(name).observability, "AWS::CloudWatch::Alarm").map(({ Properties }) => Properties);
    for (const { AlarmActions, AlarmDescription, AlarmName } of made) {
      expect(AlarmActions, String(AlarmName)).toHaveLength(1);
      const [, runbook] = /docs\/runbooks\/([a-z-]+)\.md$/.exec(String(AlarmDescription)) ?? [];
      expect(existsSync(join(RUNBOOKS, `${runbook}.md`)), String(AlarmDescription)).toBe(true);
    }
    const health = resourcesOf(templatesOf(name).observability, "AWS::CloudWatch::CompositeAlarm").map(({ Properties }) =>
      JSON.stringify(Properties["AlarmRule"]),
    );
    expect(health).toHaveLength(1);
    const pages = alarms.filter(({ severity }) => severity === "page").length;
    // CloudWatch takes 100 alarms and 10,240 characters in a rule.
    expect(pages).toBeLessThanOrEqual(100);
    expect(health[0]!.length).toBeLessThan(10_240);
  });
});

test("the number of alarms per environment is known", () => {
  const counts = ENVIRONMENT_NAMES.map((name) => {
    const alarms = resourcesOf(templatesOf(name).observability, "AWS::CloudWatch::Alarm").length;
    expect(alarms).toBe(alarmsOf(name).length);
    return [name, alarms];
  });
  expect(Object.fromEntries(counts)).toMatchInlineSnapshot(`
    {
      "dev": 101,
      "prod": 132,
      "staging": 122,
    }
  `);
});

test("every runbook is the one of some alarm, or linked from the deployment's pages", () => {
  const used = new Set(ENVIRONMENT_NAMES.flatMap((name) => alarmsOf(name).map(({ runbook }) => `${runbook}.md`)));
  const pages = ["docs/DEPLOY.md", "docs/SECURITY.md"].map((page) => readFileSync(join(ROOT, page), "utf8")).join();
  for (const file of readdirSync(RUNBOOKS)) expect(used.has(file) || pages.includes(`runbooks/${file}`), file).toBe(true);
});
