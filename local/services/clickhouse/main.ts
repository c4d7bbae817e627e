/**
 * The engine process: the whole of ClickHouse as npm's chdb carries it, with its own HTTP and native listeners. The last statement of the
 * query waits for the end of stdin, so that the engine lives as long as somebody holds that pipe; its end is an orderly shutdown of tables.
 * This combination of documented parts is nowhere documented itself: chdb is pinned, and a test starts it.
 * ffi-rs, since the call must run on a main thread's stack: koffi's own stack makes the engine refuse every query (code 306).
 */
import { DataType, load, open } from "ffi-rs";

const [library, configFile, dataPath, httpPort, tcpPort] = process.argv.slice(2);
if (library === undefined || tcpPort === undefined) throw new Error("usage: main.ts LIBRARY CONFIG DATA HTTP_PORT TCP_PORT");

open({ library: "chdb", path: library });
const args = [
  "clickhouse",
  `--config-file=${configFile}`,
  `--path=${dataPath}`,
  "--query=SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; SELECT count() FROM file('stdin', 'LineAsString') FORMAT Null",
  "--",
  `--http_port=${httpPort}`,
  `--tcp_port=${tcpPort}`,
];
load({
  library: "chdb",
  funcName: "chdb_query_cmdline",
  retType: DataType.External,
  paramsType: [DataType.I32, DataType.StringArray],
  paramsValue: [args.length, args],
});
