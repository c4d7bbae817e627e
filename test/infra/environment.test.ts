import { describe, expect, test } from "vitest";
import { ConfigError } from "#shared/kernel/errors.ts";
import { type Environment, parseEnvironment, standbyOf } from "../../infra/config/environment.ts";
import { ENVIRONMENT_NAMES, environmentNamed } from "../../infra/config/environments.ts";

function changed(name: (typeof ENVIRONMENT_NAMES)[number], change: (environment: Record<string, never>) => void): () => Environment {
  const input = structuredClone(environmentNamed(name)) as unknown as Record<string, never>;
  change(input);
  return () => parseEnvironment(input);
}

/** Reaches in without types: what a careless edit would do. */
function set(path: string, value: unknown): (environment: Record<string, never>) => void {
  return (environment) => {
    const keys = path.split(".");
    const last = keys.pop()!;
    const parent = keys.reduce<Record<string, unknown>>((at, key) => at[key] as Record<string, unknown>, environment);
    parent[last] = value;
  };
}

describe("an environment", () => {
  test.each(ENVIRONMENT_NAMES)("%s is within every limit", (name) => {
    expect(environmentNamed(name).name).toBe(name);
  });

  test.each([
    ["more pollers than partitions", "prod", set("validator.pollers", 100 + 220 + 1), /pollers/],
    ["fewer reserved environments than batches in flight", "prod", set("validator.reservedConcurrency", 100), /reservedConcurrency: below/],
    ["more partitions than the brokers carry", "dev", set("partitions", 1_024), /replicas per broker/],
    ["a broker size of the other type", "dev", set("kafka.instanceType", "express.m7g.large"), /not of broker type/],
    ["a made-up broker size", "dev", set("kafka.instanceType", "kafka.m7g.huge"), /broker size/],
    ["a broker of the smallest kind, which has no KRaft", "dev", set("kafka.instanceType", "kafka.t3.small"), /broker size/],
    ["a disk on an Express broker", "prod", set("kafka.volumeGib", 100), /volumeGib/],
    ["ZooKeeper", "dev", set("kafka.version", "3.9.x"), /kafka\.version/],
    ["brokers that do not fill three zones", "dev", set("kafka.brokers", 4), /kafka\.brokers/],
    ["more workers than partitions", "prod", set("processor.tasksMax", 81), /tasksMax/],
    ["a Fargate size that does not exist", "prod", set("processor.memoryMib", 40_960), /memoryMib/],
    ["an even number of Keepers", "prod", set("clickhouse.keepers", 2), /keepers/],
    ["a durable store without a second copy", "prod", set("postgres.isMultiAz", false), /isMultiAz/],
    ["backups shorter than promised", "prod", set("backupRetentionDays", 30), /backupRetentionDays/],
    ["nobody to wake", "prod", set("alarms.pageTo", []), /pageTo/],
    ["more groups of Valkey than partitions", "dev", set("valkey.groups", 9), /valkey\.groups/],
    ["a standby in the same region", "prod", set("standby", { region: "eu-central-1", cidr: "10.31.0.0/16" }), /standby\.region/],
    ["a standby with the same addresses", "prod", set("standby", { region: "eu-west-1", cidr: "10.30.0.0/16" }), /standby\.cidr/],
    [
      "a standby of what leaves nothing behind",
      "dev",
      set("standby", { region: "eu-west-1", cidr: "10.31.0.0/16" }),
      /standby: for durable/,
    ],
    ["a key that nobody knows", "dev", set("partitons", 8), /partitons/],
  ] as const)("refuses %s", (_, name, change, problem) => {
    expect(changed(name, change)).toThrow(ConfigError);
    expect(changed(name, change)).toThrow(problem);
  });

  test("has a twin only where one is named, and the twin has none", () => {
    expect(standbyOf(environmentNamed("prod"))).toBeUndefined();
    const twin = standbyOf(changed("prod", set("standby", { region: "eu-west-1", cidr: "10.31.0.0/16" }))())!;
    expect(twin).toMatchObject({ site: "standby", region: "eu-west-1", standby: null, network: { cidr: "10.31.0.0/16" } });
    expect(standbyOf(twin)).toBeUndefined();
    expect(twin.partitions).toBe(environmentNamed("prod").partitions);
  });

  test("reports all problems at once", () => {
    const broken = changed("prod", (environment) => {
      set("validator.reservedConcurrency", 100)(environment);
      set("processor.tasksMax", 200)(environment);
      set("postgres.isMultiAz", false)(environment);
    });
    expect(broken).toThrow(/reservedConcurrency[\s\S]*tasksMax[\s\S]*isMultiAz/);
  });

  test("refuses a name that is none", () => {
    expect(() => environmentNamed("production")).toThrow(ConfigError);
  });
});
