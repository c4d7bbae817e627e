/**
 * Who may import whom (docs/ARCHITECTURE.md). `test/static/imports.test.ts` runs these rules over the tree and over a canary that breaks
 * each of them: a rule that cannot fail is no rule.
 */
const PURE_PROCESSOR = "^processor/(model|time|windowing|state|operators|fold)/";

const COMMANDS_IN_THE_CLOUD = "^functions/(operation\\.ts$|(migrations|rules-publisher|redrive)/)";

/** A vendor package is imported in exactly one folder. */
const VENDORS = {
  "@platformatic/kafka": "^shared/clients/kafka/",
  kafkajs: "^(shared/clients/kafka|docs/samples)/",
  "@node-rs/crc32": "^shared/clients/kafka/",
  "@clickhouse/client": "^shared/clients/clickhouse/",
  ioredis: "^shared/clients/redis/",
  pg: "^shared/clients/postgres/",
  "@aws-sdk/client-s3": "^shared/clients/objects/",
  chdb: "^local/services/",
  "ffi-rs": "^local/services/",
  "@aws-lambda-powertools/logger": "^functions/",
  "@aws-sdk/client-secrets-manager": "^shared/clients/aws/",
  "@aws-sdk/credential-provider-node": "^shared/clients/aws/",
  esbuild: "^functions/bundle\\.ts$",
  "aws-cdk-lib": "^infra/",
  constructs: "^infra/",
  "cdk-nag": "^infra/checks/",
  "@duckdb/node-api": "^test/",
};

const forbid = (name, from, to) => ({ name, severity: "error", from, to });

export default {
  forbidden: [
    forbid("no-cycles", {}, { circular: true }),
    forbid("no-unresolvable", {}, { couldNotResolve: true }),
    forbid("nothing-imports-test", { pathNot: "^test/" }, { path: "^test/" }),
    forbid("kernel-imports-nothing", { path: "^shared/kernel/" }, { pathNot: "^shared/kernel/", dependencyTypesNot: ["core"] }),
    forbid(
      "shared-climbs-from-kernel",
      { path: "^shared/(events|rules|config|telemetry)/" },
      { path: "^(shared/clients|functions|processor|sinks|local|loadgen|backup|cli|dashboard|infra)/" },
    ),
    forbid(
      "shared-knows-no-caller",
      { path: "^shared/" },
      { path: "^(functions|processor|sinks|local|loadgen|backup|cli|dashboard|infra)/" },
    ),
    forbid("fold-is-pure", { path: PURE_PROCESSOR }, { dependencyTypes: ["core", "npm", "npm-dev", "npm-optional", "npm-no-pkg"] }),
    forbid(
      "fold-knows-no-client",
      { path: PURE_PROCESSOR },
      { path: "^(shared/(clients|config|telemetry)|processor/(checkpoint|runtime)|local|sinks|functions)/" },
    ),
    forbid("parts-are-apart", { path: "^functions/" }, { path: "^(processor|sinks|local|loadgen|backup|dashboard|infra)/" }),
    // What runs a command in the cloud is a command.
    forbid("functions-run-no-commands", { path: "^functions/", pathNot: COMMANDS_IN_THE_CLOUD }, { path: "^cli/" }),
    forbid("data-path-needs-no-postgres", { path: "^(functions/validator|processor|sinks)/" }, { path: "^shared/clients/postgres/" }),
    forbid("processor-is-apart", { path: "^processor/" }, { path: "^(functions|sinks|local|loadgen|backup|cli|dashboard|infra)/" }),
    forbid("sinks-are-apart", { path: "^sinks/" }, { path: "^(functions|processor|local|loadgen|backup|cli|dashboard|infra)/" }),
    forbid("local-spawns-parts", { path: "^local/" }, { path: "^processor/" }),
    forbid("infra-names-entries", { path: "^infra/" }, { path: "^(functions|processor|sinks|local|loadgen|backup|cli|dashboard)/" }),
    ...Object.entries(VENDORS).map(([vendor, home]) =>
      forbid(`vendor-${vendor.replace(/[@/]/g, "-")}`, { pathNot: `${home}|^test/` }, { path: `(^|/)node_modules/${vendor}/` }),
    ),
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    // AssemblyScript: another language with the same ending, built by the folder above it.
    exclude: { path: "functions/validator/kernel/assembly" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default", "types"],
      extensions: [".ts", ".mjs", ".js", ".json"],
    },
    moduleSystems: ["es6", "cjs"],
  },
};
