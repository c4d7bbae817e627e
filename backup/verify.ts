/** Reads every byte of a backup and of what it is a difference to. */
import { strays } from "./catalog.ts";
import type { BackupLocation } from "./location.ts";
import type { Manifest, Part } from "./manifest.ts";
import { partProblem } from "./parts.ts";

export interface Verification {
  readonly name: string;
  readonly parts: number;
  readonly bytes: number;
  /** `<key> is missing`, `<key> has SHA-256 ...`: nothing here = whole. */
  readonly problems: readonly string[];
  /** Objects that the manifest does not name: harmless, and nobody's. */
  readonly strays: readonly string[];
}

/** `chain`: from the full one to the one that is wanted. */
export async function verifyBackup(location: BackupLocation, chain: readonly Manifest[]): Promise<Verification> {
  const byKey = new Map<string, Part>();
  const problems: string[] = [];
  const unknown: string[] = [];
  for (const manifest of chain) {
    for (const part of manifest.parts) {
      const other = byKey.get(part.key);
      if (other !== undefined && other.sha256 !== part.sha256) problems.push(`${part.key} has two hashes in the manifests`);
      byKey.set(part.key, part);
    }
    const keys = (await location.list(`${manifest.name}/`)).map(({ key }) => key);
    unknown.push(...strays(keys, manifest));
  }
  let bytes = 0;
  for (const part of byKey.values()) {
    const found = await location.read(part.key);
    bytes += found?.length ?? 0;
    const problem = partProblem(part, found);
    if (problem !== null) problems.push(`${part.key} ${problem}`);
  }
  return { name: chain.at(-1)!.name, parts: byKey.size, bytes, problems, strays: unknown };
}
