/**
 * Configuration of ClickHouse and its Keepers, and of CloudWatch's agent beside them. Written here rather than by hand since the lists of nodes, the
 * ports and the metrics that alarms watch must be the same everywhere. What differs per node comes from its environment (`from_env`).
 */
import type { Environment } from "../config/environment.ts";
import { PORTS } from "../constructs/security-groups.ts";

export const CLICKHOUSE_NAMESPACE = "Weir/ClickHouse";

/** As ClickHouse's Prometheus page spells them; alarms name them so. */
export const CLICKHOUSE_METRICS = {
  readonlyReplicas: "ClickHouseMetrics_ReadonlyReplica",
  replicasDelay: "ClickHouseAsyncMetrics_ReplicasMaxAbsoluteDelay",
  partsPerPartition: "ClickHouseAsyncMetrics_MaxPartCountForPartition",
  delayedInserts: "ClickHouseMetrics_DelayedInserts",
  rejectedInserts: "ClickHouseProfileEvents_RejectedInserts",
} as const;

/** Its value is {@link clickhouseJob}: two environments in one account stay apart. */
export const CLICKHOUSE_DIMENSION = "job";

export function clickhouseJob(environment: Environment): string {
  return `weir-${environment.name}`;
}

/** By backup.sh. */
export const BACKUPS_METRIC = "BackupsMade";

export function zoneName(environment: Environment): string {
  return `${environment.name}.weir.internal`;
}

export function nodeNames(role: "clickhouse" | "keeper", environment: Environment): string[] {
  const count = role === "clickhouse" ? environment.clickhouse.replicas : environment.clickhouse.keepers;
  return Array.from({ length: count }, (_, i) => `${role}-${i + 1}`);
}

function tls(folder: string): string {
  const common = `<caConfig>${folder}/ca.crt</caConfig><cacheSessions>true</cacheSessions><disableProtocols>sslv2,sslv3,tlsv1,tlsv1_1</disableProtocols>`;
  const own = `<certificateFile>${folder}/node.crt</certificateFile><privateKeyFile>${folder}/node.key</privateKeyFile>`;
  return `<openSSL>
    <server>${own}${common}<verificationMode>none</verificationMode></server>
    <client>${own}${common}<verificationMode>strict</verificationMode><invalidCertificateHandler><name>RejectCertificateHandler</name></invalidCertificateHandler></client>
  </openSSL>`;
}

const PROMETHEUS =
  "<prometheus><endpoint>/metrics</endpoint><port>9363</port><metrics>true</metrics><events>true</events><asynchronous_metrics>true</asynchronous_metrics></prometheus>";

/** Every port without TLS is removed, not only unused. */
export function serverXml(environment: Environment): string {
  const zone = zoneName(environment);
  const keepers = nodeNames("keeper", environment)
    .map((name) => `<node><host>${name}.${zone}</host><port>${PORTS.keeperClient}</port><secure>1</secure></node>`)
    .join("");
  const replicas = nodeNames("clickhouse", environment)
    .map((name) => `<replica><host>${name}.${zone}</host><port>${PORTS.clickhouseNative}</port><secure>1</secure></replica>`)
    .join("");
  return `<clickhouse>
  <listen_host>0.0.0.0</listen_host>
  <http_port remove="1"/><tcp_port remove="1"/><mysql_port remove="1"/><postgresql_port remove="1"/><interserver_http_port remove="1"/>
  <https_port>${PORTS.clickhouseHttps}</https_port>
  <tcp_port_secure>${PORTS.clickhouseNative}</tcp_port_secure>
  <interserver_https_port>${PORTS.clickhouseInterserver}</interserver_https_port>
  <interserver_http_host from_env="NODE_NAME"/>
  <interserver_http_credentials><user>interserver</user><password from_env="INTERSERVER_PASSWORD"/></interserver_http_credentials>
  <path>/var/lib/clickhouse/</path>
  <timezone>UTC</timezone>
  ${tls("/etc/clickhouse-server")}
  <macros><cluster>weir</cluster><shard>1</shard><replica from_env="NODE"/></macros>
  <remote_servers replace="1"><weir><shard><internal_replication>true</internal_replication>${replicas}</shard></weir></remote_servers>
  <zookeeper replace="1">${keepers}</zookeeper>
  <default_replica_path>/clickhouse/tables/{uuid}/{shard}</default_replica_path>
  <default_replica_name>{replica}</default_replica_name>
  <distributed_ddl><path>/clickhouse/ddl</path></distributed_ddl>
  <s3><backups><endpoint>https://s3.${environment.region}.amazonaws.com/</endpoint><use_environment_credentials>1</use_environment_credentials></backups></s3>
  <query_log><ttl>event_date + INTERVAL 30 DAY DELETE</ttl></query_log>
  ${PROMETHEUS}
</clickhouse>
`;
}

/** To see whether an insert is still under way, and what a table and its views are made of. */
const SINKS_LOOK_AT = ["columns", "data_skipping_indices", "processes", "projections", "tables"] as const;

/** No default user; each of ours may do its work and nothing else, and analysts cannot starve the sinks. */
export function usersXml(environment: Environment): string {
  const quorum = environment.clickhouse.replicas;
  const grants = (...queries: readonly string[]): string =>
    `<grants>${queries.map((query) => `<query>${query}</query>`).join("")}</grants>`;
  const user = (
    name: string,
    { profile, quota, access }: { readonly profile: string; readonly quota: string; readonly access: string },
  ): string =>
    `<${name}><password_sha256_hex from_env="${name.toUpperCase()}_SHA256"/><networks><ip>10.0.0.0/8</ip><ip>127.0.0.1</ip></networks><profile>${profile}</profile><quota>${quota}</quota>${access}</${name}>`;
  return `<clickhouse>
  <profiles>
    <sinks><insert_quorum>${quorum === 1 ? 0 : quorum}</insert_quorum><load_balancing>in_order</load_balancing></sinks>
    <analysts>
      <readonly>2</readonly><max_execution_time>60</max_execution_time><max_memory_usage>8589934592</max_memory_usage><max_threads>8</max_threads>
      <priority>10</priority><constraints><max_execution_time><max>300</max></max_execution_time><max_memory_usage><readonly/></max_memory_usage></constraints>
    </analysts>
    <api><readonly>2</readonly><max_execution_time>5</max_execution_time><max_memory_usage>1073741824</max_memory_usage><max_threads>4</max_threads><constraints><max_execution_time><max>5</max></max_execution_time><max_memory_usage><readonly/></max_memory_usage></constraints></api>
    <operators><distributed_ddl_task_timeout>120</distributed_ddl_task_timeout></operators>
  </profiles>
  <quotas>
    <unlimited><interval><duration>3600</duration></interval></unlimited>
    <analysts><interval><duration>3600</duration><queries>5000</queries><execution_time>7200</execution_time><read_rows>1000000000000</read_rows></interval></analysts>
  </quotas>
  <users>
    <default remove="1"/>
    ${user("sinks", { profile: "sinks", quota: "unlimited", access: grants("GRANT SELECT, INSERT ON weir.*", ...SINKS_LOOK_AT.map((table) => `GRANT SELECT ON system.${table}`)) })}
    ${user("operator", { profile: "operators", quota: "unlimited", access: grants("GRANT ALL ON weir.* WITH GRANT OPTION", "GRANT ALL ON weir_expected_*.*", "GRANT SELECT ON system.*", "GRANT TABLE ENGINE ON *", "GRANT CLUSTER ON *.*", "GRANT REMOTE ON *.*") })}
    ${user("analyst", { profile: "analysts", quota: "analysts", access: grants("GRANT SELECT ON weir.*") })}
    ${user("api", { profile: "api", quota: "unlimited", access: grants("GRANT SELECT ON weir.*") })}
    <backup><no_password/><networks><ip>127.0.0.1</ip><ip>::1</ip></networks><profile>operators</profile><quota>unlimited</quota>${grants("GRANT BACKUP, SELECT ON weir.*", "GRANT SELECT ON system.backups", "GRANT S3 ON *.*")}</backup>
  </users>
</clickhouse>
`;
}

export function keeperXml(environment: Environment): string {
  const zone = zoneName(environment);
  const servers = nodeNames("keeper", environment)
    .map((name, i) => `<server><id>${i + 1}</id><hostname>${name}.${zone}</hostname><port>${PORTS.keeperRaft}</port></server>`)
    .join("");
  return `<clickhouse>
  <listen_host>0.0.0.0</listen_host>
  <logger><level>information</level><console>1</console></logger>
  ${tls("/etc/clickhouse-keeper")}
  <keeper_server>
    <tcp_port_secure>${PORTS.keeperClient}</tcp_port_secure>
    <server_id from_env="NODE_NUMBER"/>
    <log_storage_path>/var/lib/clickhouse/coordination/log</log_storage_path>
    <snapshot_storage_path>/var/lib/clickhouse/coordination/snapshots</snapshot_storage_path>
    <coordination_settings><operation_timeout_ms>10000</operation_timeout_ms><session_timeout_ms>30000</session_timeout_ms></coordination_settings>
    <raft_configuration><secure>true</secure>${servers}</raft_configuration>
  </keeper_server>
  ${PROMETHEUS}
</clickhouse>
`;
}

/** CloudWatch's agent: disk and memory per group, and of ClickHouse's thousand metrics those that alarms watch. */
export function agentJson(environment: Environment): string {
  const selectors = Object.values(CLICKHOUSE_METRICS).map((name) => `^${name}$`);
  return JSON.stringify(
    {
      agent: { metrics_collection_interval: 60 },
      metrics: {
        append_dimensions: { AutoScalingGroupName: "${aws:AutoScalingGroupName}" },
        // Else the set of dimensions depends on the instance, and an alarm on it never finds its metric.
        aggregation_dimensions: [["AutoScalingGroupName", "path"], ["AutoScalingGroupName"]],
        metrics_collected: {
          disk: { measurement: ["used_percent"], resources: ["/var/lib/clickhouse"], drop_device: true },
          mem: { measurement: ["used_percent"] },
        },
      },
      logs: {
        metrics_collected: {
          prometheus: {
            log_group_name: `/weir/${environment.name}/clickhouse-metrics`,
            prometheus_config_path: "/opt/aws/amazon-cloudwatch-agent/etc/prometheus.yaml",
            emf_processor: {
              metric_namespace: CLICKHOUSE_NAMESPACE,
              metric_declaration: [
                { source_labels: ["job"], label_matcher: ".*", dimensions: [[CLICKHOUSE_DIMENSION]], metric_selectors: selectors },
              ],
            },
          },
        },
      },
    },
    null,
    2,
  );
}

export function prometheusYaml(environment: Environment): string {
  return `global:
  scrape_interval: 60s
scrape_configs:
  - job_name: ${clickhouseJob(environment)}
    static_configs:
      - targets: ["127.0.0.1:9363"]
`;
}
