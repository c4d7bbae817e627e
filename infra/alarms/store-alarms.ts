/** Alarms on Valkey, PostgreSQL, ClickHouse and its hosts, the way out, and backups. */
import {
  BACKUPS_METRIC,
  CLICKHOUSE_DIMENSION,
  CLICKHOUSE_METRICS,
  CLICKHOUSE_NAMESPACE,
  clickhouseJob,
} from "../clickhouse/config-files.ts";
import type { Environment } from "../config/environment.ts";
import type { Alarm, WatchedMetric } from "./alarm.ts";

export interface StoreNames {
  readonly valkeyIds: readonly string[];
  readonly postgresId: string;
  /** Auto scaling groups by node name. */
  readonly nodes: Readonly<Record<string, string>>;
  readonly natGateways: readonly string[];
}

const minute = { is: ">", periodS: 60, missing: "notBreaching" } as const;
type Row = readonly [
  id: string,
  metric: string,
  statistic: WatchedMetric["statistic"],
  is: Alarm["is"],
  threshold: number,
  severity: Alarm["severity"],
  means: string,
];

export function storeAlarms(environment: Environment, names: StoreNames): Alarm[] {
  return [
    ...names.valkeyIds.flatMap((id, i) => valkeyAlarms(environment, id, i === 0 ? "valkey" : `valkey-group-${i + 1}`)),
    ...postgresAlarms(environment, names.postgresId),
    ...clickhouseAlarms(environment),
    ...nodeAlarms(names.nodes),
    ...names.natGateways.map((gateway, i): Alarm => ({
      id: `nat-ports-${i + 1}`,
      runbook: "network",
      ...minute,
      means: "a NAT gateway is out of ports: calls to AWS fail at random",
      severity: "ticket",
      metric: { namespace: "AWS/NATGateway", name: "ErrorPortAllocation", dimensions: { NatGatewayId: gateway }, statistic: "Sum" },
      threshold: 0,
      points: [2, 3],
    })),
    {
      id: "backup-jobs",
      runbook: "backups",
      ...minute,
      means: "a job of AWS Backup failed",
      severity: "ticket",
      metric: { namespace: "AWS/Backup", name: "NumberOfBackupJobsFailed", dimensions: {}, statistic: "Sum" },
      periodS: 3_600,
      threshold: 0,
      points: [1, 1],
    },
  ];
}

function rows(
  runbook: string,
  prefix: string,
  namespace: string,
  dimensions: Readonly<Record<string, string>>,
  table: readonly Row[],
): Alarm[] {
  return table.map(([id, name, statistic, is, threshold, severity, means]) => ({
    id: `${prefix}-${id}`,
    runbook,
    ...minute,
    is,
    means,
    severity,
    metric: { namespace, name, dimensions, statistic },
    threshold,
    points: [3, 5],
  }));
}

function valkeyAlarms({ valkey }: Environment, valkeyId: string, prefix: string): Alarm[] {
  return Array.from({ length: valkey.replicas + 1 }, (_, i) => `${valkeyId}-${String(i + 1).padStart(3, "0")}`).flatMap((node, i) =>
    rows("valkey", `${prefix}-${i + 1}`, "AWS/ElastiCache", { CacheClusterId: node }, [
      ["cpu", "EngineCPUUtilization", "Maximum", ">", 80, "page", "the one thread that serves commands is full"],
      ["memory", "DatabaseMemoryUsagePercentage", "Maximum", ">", 80, "page", "nearly full: soon writes are refused"],
      ["swap", "SwapUsage", "Maximum", ">", 50_000_000, "ticket", "swapping, so slow"],
      ["connections", "CurrConnections", "Maximum", ">", 10_000, "ticket", "clients do not let their connections go"],
      ["logins", "AuthenticationFailures", "Sum", ">", 0, "ticket", "somebody tries passwords, or a rotation was left half done"],
      ["bandwidth", "NetworkBandwidthOutAllowanceExceeded", "Sum", ">", 0, "ticket", "the node's network is full"],
      ...(i > 0 || valkey.replicas > 0
        ? [["replication", "ReplicationLag", "Maximum", ">", 5, "ticket", "a replica is behind"] as const]
        : []),
    ]),
  );
}

function postgresAlarms({ postgres }: Environment, postgresId: string): Alarm[] {
  return rows("postgres", "postgres", "AWS/RDS", { DBInstanceIdentifier: postgresId }, [
    ["cpu", "CPUUtilization", "Average", ">", 80, "ticket", "busy for minutes, which rules and audit never make it"],
    ["storage", "FreeStorageSpace", "Minimum", "<", postgres.storageGib * 2 ** 30 * 0.2, "page", "less than a fifth of the disk is free"],
    ["memory", "FreeableMemory", "Minimum", "<", 100_000_000, "ticket", "out of memory"],
    ["connections", "DatabaseConnections", "Maximum", ">", 60, "ticket", "more connections than all commands together need"],
    ["read", "ReadLatency", "Average", ">", 0.02, "ticket", "reads take longer than 20 ms"],
    ["write", "WriteLatency", "Average", ">", 0.02, "ticket", "writes take longer than 20 ms"],
    ["ids", "MaximumUsedTransactionIDs", "Maximum", ">", 1e9, "ticket", "vacuum does not keep up"],
  ]);
}

function clickhouseAlarms(environment: Environment): Alarm[] {
  const dimensions = { [CLICKHOUSE_DIMENSION]: clickhouseJob(environment) };
  const { readonlyReplicas, replicasDelay, partsPerPartition, delayedInserts, rejectedInserts } = CLICKHOUSE_METRICS;
  const inside = rows("clickhouse", "clickhouse", CLICKHOUSE_NAMESPACE, dimensions, [
    ["readonly", readonlyReplicas, "Maximum", ">", 0, "page", "a replica is read only: it lost its Keepers"],
    ["delay", replicasDelay, "Maximum", ">", 60, "ticket", "a replica is more than a minute behind"],
    ["parts", partsPerPartition, "Maximum", ">", 1_000, "page", "too many parts: inserts will be slowed down, then refused"],
    ["delayed", delayedInserts, "Maximum", ">", 0, "ticket", "inserts are slowed down"],
    ["rejected", rejectedInserts, "Sum", ">", 0, "page", "inserts are refused"],
  ]);
  return [
    ...inside,
    {
      id: "clickhouse-backup",
      runbook: "backups",
      means: "no backup of ClickHouse was made for two hours",
      severity: "page",
      metric: { namespace: CLICKHOUSE_NAMESPACE, name: BACKUPS_METRIC, dimensions, statistic: "Sum" },
      is: "<",
      threshold: 1,
      periodS: 3_600,
      points: [2, 2],
      missing: "breaching",
    },
  ];
}

function nodeAlarms(nodes: StoreNames["nodes"]): Alarm[] {
  return Object.entries(nodes).flatMap(([node, group]) => [
    ...rows("host", node, "CWAgent", { AutoScalingGroupName: group, path: "/var/lib/clickhouse" }, [
      ["disk", "disk_used_percent", "Maximum", ">", 80, "page", `the disk of ${node} is filling`],
    ]),
    ...rows("host", node, "CWAgent", { AutoScalingGroupName: group }, [
      ["memory", "mem_used_percent", "Maximum", ">", 90, "ticket", `${node} is short of memory`],
    ]),
    ...rows("host", node, "AWS/EC2", { AutoScalingGroupName: group }, [
      ["status", "StatusCheckFailed", "Maximum", ">", 0, "page", `${node} fails its status checks`],
    ]),
    {
      ...minute,
      id: `${node}-instances`,
      runbook: "host",
      means: `${node} has no instance in service`,
      severity: "page",
      metric: {
        namespace: "AWS/AutoScaling",
        name: "GroupInServiceInstances",
        dimensions: { AutoScalingGroupName: group },
        statistic: "Minimum",
      },
      is: "<",
      threshold: 1,
      points: [10, 10],
      missing: "breaching",
    } satisfies Alarm,
  ]);
}
