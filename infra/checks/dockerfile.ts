/**
 * What a Dockerfile here must keep, read without Docker. The rules are hadolint's, by its numbers, as far as they touch what is used here, and a few of
 * our own. A finding fails the synthesis, before anything is built.
 */

interface Instruction {
  readonly line: number;
  readonly name: string;
  readonly text: string;
}

interface Stage {
  readonly instructions: readonly Instruction[];
  readonly alias?: string;
}

export interface DockerfileFinding {
  readonly line: number;
  readonly rule: string;
  readonly why: string;
}

/** Lines joined where they end in a backslash; no heredocs, no escape directive. */
function instructionsOf(dockerfile: string): Instruction[] {
  const found: Instruction[] = [];
  let open: { line: number; text: string } | undefined;
  for (const [i, raw] of dockerfile.split("\n").entries()) {
    const text = raw.trim();
    if (text === "" || text.startsWith("#")) continue;
    const joined: string = open === undefined ? text : `${open.text} ${text}`;
    const line = open?.line ?? i + 1;
    if (joined.endsWith("\\")) {
      open = { line, text: joined.slice(0, -1).trimEnd() };
      continue;
    }
    open = undefined;
    const [, name, rest] = /^(\S+)\s*(.*)$/s.exec(joined)!;
    found.push({ line, name: name!.toUpperCase(), text: rest! });
  }
  return found;
}

function stagesOf(instructions: readonly Instruction[]): Stage[] {
  const starts = instructions.flatMap(({ name }, i) => (name === "FROM" ? [i] : []));
  return starts.map((start, i) => {
    const own = instructions.slice(start, starts[i + 1]);
    const alias = /\s+AS\s+(\S+)$/i.exec(own[0]!.text)?.[1];
    return { instructions: own, ...(alias === undefined ? {} : { alias }) };
  });
}

type Rule = readonly [rule: string, why: string, breaks: (instruction: Instruction) => boolean];

const RULES: readonly Rule[] = [
  [
    "DL3006",
    "a base image needs a version",
    ({ name, text }) => name === "FROM" && !/^\S+(:[^\s:/]+|@sha256:\S+)(\s|$)/.test(withoutFlags(text)),
  ],
  ["DL3007", "latest is another image tomorrow", ({ name, text }) => name === "FROM" && /:latest(\s|$)/.test(text)],
  ["DL3020", "COPY takes files; ADD also unpacks and downloads", ({ name }) => name === "ADD"],
  [
    "DL3025",
    "as JSON, or a shell stands between signals and the process",
    ({ name, text }) => /^(CMD|ENTRYPOINT)$/.test(name) && !isJsonList(text),
  ],
  ["DL3000", "WORKDIR from the root", ({ name, text }) => name === "WORKDIR" && !text.startsWith("/")],
  ["DL4000", "MAINTAINER is no more", ({ name }) => name === "MAINTAINER"],
  ["DL3004", "sudo hides who runs what", ({ name, text }) => name === "RUN" && /\bsudo\b/.test(text)],
  ["DL3016", "npm ci takes what the lock file says", ({ name, text }) => name === "RUN" && /\bnpm (i|install|add|update)\b/.test(text)],
  [
    "DL3008",
    "packages of a distribution change under the same name",
    ({ name, text }) => name === "RUN" && /\b(apt|apt-get|apk|yum|dnf)\b/.test(text),
  ],
  ["DL4001", "what is downloaded is not what was checked", ({ name, text }) => name === "RUN" && /\b(curl|wget)\b/.test(text)],
  [
    "DL4006",
    "a pipe hides that its first part failed",
    ({ name, text }) => name === "RUN" && /[^|]\|[^|]/.test(text) && !text.includes("pipefail"),
  ],
  [
    "weir-secret",
    "an image is no place for a secret",
    ({ name, text }) => /^(ENV|ARG)$/.test(name) && /(PASSWORD|TOKEN|SECRET|PRIVATE_KEY)/i.test(text),
  ],
  [
    "weir-mode",
    "nothing that everybody may write",
    ({ name, text }) => name === "RUN" && /\bchmod\s+(-R\s+)?(0?777|a\+w|o\+w)\b/.test(text),
  ],
];

/** In the order of lines; empty is good. */
export function dockerfileFindings(dockerfile: string): DockerfileFinding[] {
  const instructions = instructionsOf(dockerfile);
  const stages = stagesOf(instructions);
  const findings = instructions.flatMap((instruction) =>
    RULES.filter(([, , breaks]) => breaks(instruction)).map(([rule, why]) => ({ line: instruction.line, rule, why })),
  );
  return [...findings, ...stages.flatMap((_, i) => stageFindings(stages, i))].toSorted((a, b) => a.line - b.line);
}

/** What only the whole says. */
function stageFindings(stages: readonly Stage[], at: number): DockerfileFinding[] {
  const { instructions } = stages[at]!;
  const findings: DockerfileFinding[] = [];
  const known = new Set(stages.slice(0, at).map(({ alias }, i) => alias ?? String(i)));
  let hasWorkdir = false;
  for (const { line, name, text } of instructions) {
    if (name === "WORKDIR") hasWorkdir = true;
    if (name !== "COPY") continue;
    const from = /--from=(\S+)/.exec(text)?.[1];
    if (from !== undefined && !known.has(from)) findings.push({ line, rule: "DL3022", why: `no stage ${from} before this one` });
    if (!hasWorkdir && !text.split(/\s+/).at(-1)!.startsWith("/"))
      findings.push({ line, rule: "DL3045", why: "a relative place needs a WORKDIR" });
  }
  if (at < stages.length - 1) return findings;
  const { line } = instructions.at(-1)!;
  const user = instructions.findLast(({ name }) => name === "USER")?.text;
  if (user === undefined || /^(root|0)(:|$)/.test(user)) findings.push({ line, rule: "DL3002", why: "the process runs as nobody's root" });
  if (instructions.filter(({ name }) => name === "ENTRYPOINT").length !== 1) findings.push({ line, rule: "DL4004", why: "one ENTRYPOINT" });
  // A compiler or a package manager's cache in the last stage goes along for ever.
  for (const each of instructions)
    if (each.name === "RUN" && /\bnpm\b/.test(each.text))
      findings.push({ line: each.line, rule: "weir-slim", why: "build in a stage of its own" });
  return findings;
}

function withoutFlags(text: string): string {
  return text.replace(/^(--\S+\s+)+/, "");
}

function isJsonList(text: string): boolean {
  try {
    const parsed: unknown = JSON.parse(text);
    return Array.isArray(parsed) && parsed.every((each) => typeof each === "string");
  } catch {
    return false;
  }
}
