/**
 * A Lambda function as one folder that needs no node_modules: `node functions/bundle.ts NAME FOLDER [NAME FOLDER ...]`, or {@link bundleFunction}. What is loaded only
 * on occasion (the AWS clients) lies in chunks beside the entry, so that a cold start does not read it. Native code stays out: the same bundle
 * runs on x86 and Arm.
 */
import { copyFile, cp, mkdir, readFile, rm } from "node:fs/promises";
import { basename, join, relative, resolve, sep } from "node:path";
import { parseArgs } from "node:util";
import { build, type Plugin } from "esbuild";
import { buildKernel } from "./validator/kernel/build.ts";

const ROOT = resolve(import.meta.dirname, "..");

/** Files that code reads at run time by `new URL(…, import.meta.url)`. */
const DATA = ["shared/rules/seed-release.json"];

/** Folders of numbered migrations that code reads beside itself; in a bundle they lie side by side. */
const MIGRATIONS = ["shared/clients/postgres", "sinks/clickhouse"];

export interface Bundle {
  /** The module that exports `handler`. */
  readonly entry: string;
  /** What a cold start reads: the entry and what it imports at once. */
  readonly startBytes: number;
  /** All of it. */
  readonly totalBytes: number;
  /** Largest first: where the bytes come from. */
  readonly packages: readonly { readonly name: string; readonly bytes: number }[];
}

export async function bundleFunction(name: string, folder: string): Promise<Bundle> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: [{ in: `functions/${name}/handler.ts`, out: "handler" }],
    outdir: folder,
    bundle: true,
    splitting: true,
    platform: "node",
    target: "node24",
    format: "esm",
    outExtension: { ".js": ".mjs" },
    chunkNames: "[name]-[hash]",
    minify: true,
    sourcemap: false,
    legalComments: "none",
    metafile: true,
    logLevel: "error",
    mainFields: ["module", "main"],
    alias: {
      "@node-rs/crc32": join(ROOT, "shared/clients/kafka/crc32c.ts"),
      // Else it looks for a .wasm file beside itself.
      "@platformatic/wasm-utils": "@platformatic/wasm-utils/bundled",
    },
    define: { WEIR_KERNEL: JSON.stringify(await readFile(buildKernel(), "base64")) },
    // CommonJS packages inside call require for Node's own modules.
    banner: { js: 'import{createRequire as __createRequire}from"node:module";const require=__createRequire(import.meta.url);' },
    plugins: [onlyUsedKafka, onlyEnglish, migrationFolders],
    // Only where the native client is asked for, which is never.
    external: ["pg-native"],
  });
  for (const file of DATA) await copyFile(join(ROOT, file), join(folder, file.slice(file.lastIndexOf("/") + 1)));

  for (const home of MIGRATIONS) {
    const isUsed = Object.keys(metafile.inputs).some((input) => input === `${home}/migrate.ts`);
    if (isUsed) await cp(join(ROOT, home, "migrations"), join(folder, migrationsOf(home)), { recursive: true });
  }

  const outputs = new Map(Object.entries(metafile.outputs).map(([path, output]) => [resolve(ROOT, path), output]));
  const entry = join(folder, "handler.mjs");
  const started = new Set<string>();
  const visit = (path: string): void => {
    if (started.has(path)) return;
    started.add(path);
    for (const { path: imported, kind } of outputs.get(path)?.imports ?? []) {
      if (kind === "import-statement" && outputs.has(resolve(ROOT, imported))) visit(resolve(ROOT, imported));
    }
  };
  visit(resolve(entry));
  const sizes = new Map<string, number>();
  for (const { inputs } of outputs.values()) {
    for (const [path, { bytesInOutput }] of Object.entries(inputs))
      sizes.set(packageOf(path), (sizes.get(packageOf(path)) ?? 0) + bytesInOutput);
  }
  return {
    entry,
    startBytes: sum([...started].map((path) => outputs.get(path)!.bytes)),
    totalBytes: sum([...outputs.values()].map(({ bytes }) => bytes)),
    packages: [...sizes].map(([packageName, bytes]) => ({ name: packageName, bytes })).toSorted((a, b) => b.bytes - a.bytes),
  };
}

/** The package's index pulls in its clients, registries and their validators; we use three corners of it. */
const onlyUsedKafka: Plugin = {
  name: "only-used-kafka",
  setup(bundler) {
    // Its own corners import this index for their callbacks alone.
    bundler.onLoad({ filter: /@platformatic[\\/]kafka[\\/]dist[\\/]apis[\\/]index\.js$/ }, () => ({
      contents: 'export * from "./callbacks.js";',
    }));
    bundler.onResolve({ filter: /^@platformatic\/kafka$/ }, () => ({ path: "kafka", namespace: "weir-kafka" }));
    bundler.onLoad({ filter: /.*/, namespace: "weir-kafka" }, () => {
      const dist = join(ROOT, "node_modules/@platformatic/kafka/dist");
      const sasl = (file: string): string => JSON.stringify(join(dist, "protocol/sasl", file));
      return {
        resolveDir: dist,
        contents: `
          export * as saslPlain from ${sasl("plain.js")};
          export * as saslOAuthBearer from ${sasl("oauth-bearer.js")};
          export * as saslScramSha from ${sasl("scram-sha.js")};
          export { compressionsAlgorithms } from ${JSON.stringify(join(dist, "protocol/compression.js"))};
          export { protocolErrorsCodesById } from ${JSON.stringify(join(dist, "protocol/errors.js"))};`,
      };
    });
  },
};

function migrationsOf(home: string): string {
  return `${home.slice(home.lastIndexOf("/") + 1)}-migrations`;
}

/** Two folders named `migrations` would be one. */
const migrationFolders: Plugin = {
  name: "migration-folders",
  setup(bundler) {
    for (const home of MIGRATIONS) {
      bundler.onLoad({ filter: new RegExp(`${home}/(migrate|schema-drift)\\.ts$`) }, async ({ path }) => {
        const before = 'join(import.meta.dirname, "migrations")';
        const text = await readFile(path, "utf8");
        if (!text.includes(before)) throw new Error(`${path} does not find its migrations by ${before} any more`);
        return { loader: "ts", contents: text.replace(before, `join(import.meta.dirname, ${JSON.stringify(migrationsOf(home))})`) };
      });
    }
  },
};

/** 450 KB of error messages in other languages, which `z.locales` keeps alive. */
const onlyEnglish: Plugin = {
  name: "only-english",
  setup(bundler) {
    bundler.onLoad({ filter: /zod[\\/]v4[\\/]locales[\\/]index\.js$/ }, () => ({ contents: "export {};" }));
  },
};

function packageOf(path: string): string {
  const [, inside] = path.split("node_modules/").slice(-2);
  if (!path.includes("node_modules/")) return path.split("/").slice(0, 2).join("/");
  return inside!
    .split("/")
    .slice(0, inside!.startsWith("@") ? 2 : 1)
    .join("/");
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

if (import.meta.main) {
  const { positionals } = parseArgs({ allowPositionals: true });
  const wanted = Array.from({ length: Math.ceil(positionals.length / 2) }, (_, i) => positionals.slice(i * 2, i * 2 + 2));
  if (wanted.length === 0 || wanted.some(([name, folder]) => folder === undefined || basename(name!) !== name)) {
    process.stderr.write("usage: node functions/bundle.ts NAME FOLDER [NAME FOLDER ...]\n");
    process.exit(2);
  }
  const kilobytes = (bytes: number): string => `${(bytes / 1_000).toFixed(0)} kB`;
  for (const [name, folder] of wanted) {
    const { entry, startBytes, totalBytes, packages } = await bundleFunction(name!, resolve(folder!));
    process.stdout.write(
      `${relative(process.cwd(), entry).split(sep).join("/")}: ${kilobytes(startBytes)} at the start, ${kilobytes(totalBytes)} in all\n`,
    );
    for (const { name: packageName, bytes } of packages.slice(0, 12))
      process.stdout.write(`  ${kilobytes(bytes).padStart(8)} ${packageName}\n`);
  }
}
