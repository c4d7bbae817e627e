/** Environments as tests see them: with cdk.json's flags, which `new App()` does not read, and a placeholder where code would be bundled. */
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { App } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import type { EnvironmentName } from "../../infra/config/environment.ts";
import { environmentNamed } from "../../infra/config/environments.ts";
import { type Operation, OPERATIONS } from "../../infra/constructs/operation-function.ts";
import type { CodeFolders } from "../../infra/stacks/processing-stack.ts";
import { createEnvironment, type EnvironmentStacks } from "../../infra/environment-stacks.ts";

export const ROOT = resolve(import.meta.dirname, "../..");

export interface Resource {
  readonly Type: string;
  readonly Properties: Record<string, unknown>;
  readonly DeletionPolicy?: string;
}

export type StackName = keyof EnvironmentStacks;

export function testApp(): App {
  const { context } = JSON.parse(readFileSync(join(ROOT, "cdk.json"), "utf8")) as { context: Record<string, unknown> };
  return new App({ context });
}

export function placeholderCode(): CodeFolders {
  const folder = mkdtempSync(join(tmpdir(), "weir-placeholder-"));
  const operations = Object.fromEntries(OPERATIONS.map((each) => [each, join(folder, each)])) as Record<Operation, string>;
  const code = { validator: join(folder, "validator"), api: join(folder, "api"), images: join(folder, "images"), operations };
  mkdirSync(code.images);
  for (const each of [code.validator, code.api, ...Object.values(operations)]) {
    mkdirSync(each);
    writeFileSync(join(each, "handler.mjs"), "export const handler = async () => {};\n");
  }
  writeFileSync(join(code.images, "Dockerfile"), "FROM scratch\n");
  return code;
}

const made = new Map<EnvironmentName, Record<StackName, Template>>();

export function templatesOf(name: EnvironmentName): Record<StackName, Template> {
  const known = made.get(name);
  if (known !== undefined) return known;
  const stacks = createEnvironment(testApp(), environmentNamed(name), placeholderCode());
  const templates = Object.fromEntries(Object.entries(stacks).map(([stack, each]) => [stack, Template.fromStack(each)])) as Record<
    StackName,
    Template
  >;
  made.set(name, templates);
  return templates;
}

export function resourcesOf(template: Template, type: string): Resource[] {
  return Object.values(template.findResources(type)) as unknown as Resource[];
}

/** In all stacks. */
export function allResources(name: EnvironmentName, type?: string): (Resource & { readonly id: string; readonly stack: string })[] {
  return Object.entries(templatesOf(name)).flatMap(([stack, template]) =>
    Object.entries((template.toJSON() as { Resources: Record<string, Resource> }).Resources)
      .filter(([, resource]) => type === undefined || resource.Type === type)
      .map(([id, resource]) => Object.assign({ id, stack }, resource)),
  );
}
