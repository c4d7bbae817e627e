/**
 * Where things stand in the kernel's memory. The host (../kernel.ts) lays the regions out, writes their addresses and the limits into the
 * header at address 0 and calls `start`. Nothing is allocated here.
 */

/** Of JSON values, as in #shared/rules/plan.ts. */
export const STRING = 1;
export const INTEGER = 2;
export const DECIMAL = 4;
export const TRUE = 8;
export const FALSE = 16;
export const NULL = 32;
export const OBJECT = 64;
export const ARRAY = 128;
/** Beside STRING: the text has escapes. */
export const ESCAPED = 256;

/** Envelope field ids, as in #shared/rules/plan.ts. */
export const EVENT_ID = 0;
export const EVENT_TIME = 1;
export const USER_ID = 2;
export const EVENT_TYPE = 3;
export const SOURCE = 4;
export const SESSION_ID = 5;
export const DEVICE_INFO = 6;
export const GEO_LOCATION = 7;
export const SCHEMA_VERSION = 8;
export const PROPERTIES = 9;

/** In the presence list of a type, as in #shared/rules/plan.ts. */
export const REQUIRED = 256;
export const NULLABLE = 512;
export const PRESENCE_FIELD_SHIFT = 10;

/** One key in one place of an event: 256 bytes. */
export const RECORD_SHIFT: usize = 8;
/** Number of the last event that had it, then where its value stood and what it was. */
export const R_EVENT: usize = 0;
export const R_START: usize = 4;
export const R_END: usize = 8;
export const R_KIND: usize = 12;
/** Bytes of `key":`, and those bytes. */
export const R_SPELLED: usize = 16;
export const R_CHILD: usize = 20;
export const R_NODE: usize = 24;
export const R_HASH: usize = 28;
/** The record of the key that came behind this one, by context: eight addresses, 0 = none. */
export const R_LINKS: usize = 32;
export const R_TEXT: usize = 64;
/** `key":` fits into the rest of the record, with room for one read of 16 bytes. */
export const SPELLED_MAX: i32 = 176;

/** A node (an object with a place of its own): its links, and the last event in which it had a key that no rule names. */
export const NODE_SHIFT: usize = 6;
export const N_LINKS: usize = 0;
export const N_UNKNOWN: usize = 32;

/** Addresses and limits. */
const HEADER: usize = 0;
export let records: usize = 0;
export let nodes: usize = 0;
export let slots: usize = 0;
export let slotMask: i32 = 0;
export let fieldCount: i32 = 0;
export let keyCapacity: i32 = 0;
export let nodeCapacity: i32 = 0;
export let planNodes: i32 = 0;
export let maxDepth: i32 = 0;
export let maxKeys: i32 = 0;
export let maxItems: i32 = 0;
export let maxStringBytes: i32 = 0;
export let maxKeyBytes: i32 = 0;
export let maxSessionBytes: i32 = 0;
export let typeTable: usize = 0;
export let typeMask: i32 = 0;
export let typeVersions: usize = 0;
export let sourceTable: usize = 0;
export let sourceMask: i32 = 0;
export let sourceHistorical: usize = 0;
export let powersOfTen: usize = 0;
export let propertiesNode: i32 = 0;
export let isHistorical: i32 = 0;
export let looseKeys: usize = 0;
export let stage: usize = 0;
export let stageRows: i32 = 0;
export let stageBytes: i32 = 0;
export let maxFutureSkewMs: f64 = 0;
export let maxAgeMs: f64 = 0;

export function readHeader(): void {
  records = load<u32>(HEADER, 0);
  nodes = load<u32>(HEADER, 4);
  slots = load<u32>(HEADER, 8);
  slotMask = load<i32>(HEADER, 12);
  fieldCount = load<i32>(HEADER, 16);
  keyCapacity = load<i32>(HEADER, 20);
  nodeCapacity = load<i32>(HEADER, 24);
  planNodes = load<i32>(HEADER, 28);
  maxDepth = load<i32>(HEADER, 32);
  maxKeys = load<i32>(HEADER, 36);
  maxItems = load<i32>(HEADER, 40);
  maxStringBytes = load<i32>(HEADER, 44);
  maxKeyBytes = load<i32>(HEADER, 48);
  maxSessionBytes = load<i32>(HEADER, 52);
  typeTable = load<u32>(HEADER, 56);
  typeMask = load<i32>(HEADER, 60);
  typeVersions = load<u32>(HEADER, 64);
  sourceTable = load<u32>(HEADER, 68);
  sourceMask = load<i32>(HEADER, 72);
  sourceHistorical = load<u32>(HEADER, 76);
  powersOfTen = load<u32>(HEADER, 80);
  propertiesNode = load<i32>(HEADER, 84);
  isHistorical = load<i32>(HEADER, 88);
  looseKeys = load<u32>(HEADER, 92);
  stage = load<u32>(HEADER, 96);
  stageRows = load<i32>(HEADER, 100);
  stageBytes = load<i32>(HEADER, 104);
  maxFutureSkewMs = load<f64>(HEADER, 112);
  maxAgeMs = load<f64>(HEADER, 120);
}
