/**
 * A plan as the kernel reads it (assembly/accept.ts): names in tables, rules as flat numbers, keys in their tree. Written once per plan.
 */
import type { NameTable } from "#shared/rules/name-table.ts";
import type { Automaton } from "#shared/rules/pattern.ts";
import { FIELD, type Plan, type TypePlan, type ValueCheck } from "#shared/rules/plan.ts";
import type { Limits } from "../scanner/limits.ts";
import type { KernelExports } from "./kernel-module.ts";
import type { Region } from "./region.ts";

/** Keys that no rule names, and objects under them, that are remembered at a time. */
const LEARNED_KEYS = 256;
const LEARNED_NODES = 64;
/** As in assembly/memory.ts: R_* and N_*. */
const RECORD_BYTES = 256;
const NODE_BYTES = 64;
const LONGEST_KEY = 174;
const CHECK_BYTES = 48;
/** 16 keys per object, at most so many objects in each other. */
const LOOSE_BYTES = 12 * 16 * 256;
const UNBOUNDED = 2_147_483_647;

const encoder = new TextEncoder();

interface Tree {
  readonly records: number;
  readonly nodes: number;
  readonly slots: number;
  readonly slotMask: number;
  readonly keyCapacity: number;
  readonly nodeCapacity: number;
}

/** Puts the plan and the header into memory and starts the kernel. `stage`: address and sizes of the staged columns. */
export function writePlan(
  kernel: KernelExports,
  region: Region,
  plan: Plan,
  limits: Limits,
  stage: { readonly address: number; readonly rows: number; readonly bytes: number },
): void {
  const tree = takeTree(region, plan);
  const types = putNames(kernel, region, plan.typeNames);
  const sources = putNames(kernel, region, plan.sourceNames);
  const versions = plan.types.map((ofName) => {
    const image = region.take(4 + 8 * ofName.length, 4);
    region.setInts(image, [ofName.length, ...ofName.flatMap((type) => [type.schemaVersion, putType(kernel, region, type)])]);
    return image;
  });
  const typeVersions = region.take(4 * versions.length, 4);
  region.setInts(typeVersions, versions);
  const historical = region.take(plan.sourceHistorical.length, 8);
  region.setBytes(historical, plan.sourceHistorical);
  const powers = region.take(8 * 64, 8);
  region.setDoubles(
    powers,
    Array.from({ length: 64 }, (_, exponent) => Number(`1e${exponent}`)),
  );
  const loose = region.take(LOOSE_BYTES, 4);
  region.setInts(0, [
    tree.records,
    tree.nodes,
    tree.slots,
    tree.slotMask,
    plan.fieldCount,
    tree.keyCapacity,
    tree.nodeCapacity,
    plan.nodes.length,
    limits.depth,
    limits.keys,
    limits.items,
    limits.stringBytes,
    limits.keyBytes,
    limits.sessionIdBytes,
    types.address,
    types.mask,
    typeVersions,
    sources.address,
    sources.mask,
    historical,
    powers,
    plan.childNode[FIELD.properties]!,
    limits.historical ? 1 : 0,
    loose,
    stage.address,
    stage.rows,
    stage.bytes,
  ]);
  region.setDoubles(112, [limits.maxFutureSkewMs, limits.maxAgeMs]);
  kernel.start();
  putKeys(kernel, region, plan);
}

/** Whether every key of the plan fits the kernel's records. */
export function canHold(plan: Plan): boolean {
  return plan.nodes.every(({ table }) => table.names.every((name) => encoder.encode(name).length <= LONGEST_KEY && !needsEscape(name)));
}

/** Such a key is written with an escape in JSON, so it never stands in an event as it is. */
function needsEscape(name: string): boolean {
  return JSON.stringify(name) !== `"${name}"`;
}

function takeTree(region: Region, plan: Plan): Tree {
  const keyCapacity = plan.fieldCount + LEARNED_KEYS;
  const nodeCapacity = plan.nodes.length + LEARNED_NODES;
  const slotCount = powerOfTwo(4 * keyCapacity);
  return {
    records: region.take(RECORD_BYTES * keyCapacity, 64),
    nodes: region.take(NODE_BYTES * nodeCapacity, 64),
    slots: region.take(4 * slotCount, 64),
    slotMask: slotCount - 1,
    keyCapacity,
    nodeCapacity,
  };
}

function putKeys(kernel: KernelExports, region: Region, plan: Plan): void {
  for (const [node, { table }] of plan.nodes.entries()) {
    for (const name of table.names) {
      const bytes = encoder.encode(name);
      kernel.putKey(node, region.text(bytes), bytes.length);
    }
  }
  for (const [field, node] of plan.childNode.entries()) kernel.setChild(field, node);
}

function putNames(kernel: KernelExports, region: Region, { names }: NameTable): { readonly address: number; readonly mask: number } {
  const size = powerOfTwo(Math.max(4, 3 * names.length));
  const address = region.take(16 * size, 16);
  for (const [index, name] of names.entries()) {
    const bytes = encoder.encode(name);
    kernel.putName(address, size - 1, region.text(bytes), bytes.length, index);
  }
  return { address, mask: size - 1 };
}

/** Address of the rules of one version; 0 = its events are the twin's, since they have to be changed. */
function putType(kernel: KernelExports, region: Region, type: TypePlan): number {
  if (type.upcast !== null) return 0;
  const { bySource } = type;
  if (bySource === null) return putRules(kernel, region, type, 0);
  // Most sources share one.
  const images = new Map([...new Set(bySource)].map((rules) => [rules, putRules(kernel, region, rules, 0)]));
  const table = region.take(4 * bySource.length, 4);
  region.setInts(
    table,
    bySource.map((rules) => images.get(rules)!),
  );
  return putRules(kernel, region, type, table);
}

function putRules(kernel: KernelExports, region: Region, type: TypePlan, bySource: number): number {
  const presence = region.take(4 * type.presence.length, 4);
  region.setInts(presence, [...type.presence]);
  const declared = region.take(type.declared.length, 1);
  region.setBytes(declared, type.declared);
  const checks = region.take(CHECK_BYTES * type.checks.length, 8);
  for (const [i, check] of type.checks.entries()) putCheck(kernel, region, check, checks + CHECK_BYTES * i);
  const image = region.take(36, 4);
  region.setInts(image, [
    type.presence.length,
    presence,
    type.checks.length,
    checks,
    type.measure,
    type.rejectUnknown || type.flagUnknown ? 1 : 0,
    declared,
    type.place,
    bySource,
  ]);
  return image;
}

function putCheck(kernel: KernelExports, region: Region, check: ValueCheck, at: number): void {
  const { enumNumbers, enumStrings } = check;
  const numbers = region.take(8 * (enumNumbers?.length ?? 0), 8);
  region.setDoubles(numbers, [...(enumNumbers ?? [])]);
  const names = enumStrings === null ? { address: 0, mask: 0 } : putNames(kernel, region, enumStrings);
  region.setInts(at, [check.field, Math.min(check.minLength, UNBOUNDED)]);
  region.setDoubles(at + 8, [check.min, check.max]);
  const longest = Math.min(check.maxLength, UNBOUNDED);
  const pattern = putPattern(region, check.pattern);
  region.setInts(at + 24, [longest, numbers, enumNumbers?.length ?? -1, names.address, names.mask, pattern]);
}

function putPattern(region: Region, automaton: Automaton | null): number {
  if (automaton === null) return 0;
  const [columns, rows] = [automaton.columnOf, automaton.next].map((table) => {
    const address = region.take(table.byteLength, 4);
    region.setBytes(address, new Uint8Array(table.buffer, table.byteOffset, table.byteLength));
    return address;
  });
  const pattern = region.take(12, 4);
  region.setInts(pattern, [columns!, rows!, automaton.start]);
  return pattern;
}

function powerOfTwo(least: number): number {
  let size = 4;
  while (size < least) size *= 2;
  return size;
}
