/** Numbered, forward-only migrations: what to apply, and whether what was applied is still what the files say. */
import { OperatingError } from "./errors.ts";

export interface Migration {
  /** `0001_name`. */
  readonly name: string;
  readonly sql: string;
  /** sha256, hex. */
  readonly checksum: string;
}

export interface AppliedMigration {
  readonly name: string;
  readonly checksum: string;
}

/** Decides without I/O. @throws OperatingError MIGRATION_DRIFT when an applied migration was changed, renamed or removed. */
export function pendingMigrations(store: string, files: readonly Migration[], applied: readonly AppliedMigration[]): Migration[] {
  for (const [i, { name, checksum }] of applied.entries()) {
    const file = files[i];
    if (file?.name === name && file.checksum === checksum) continue;
    const what =
      file?.name === name
        ? "was changed after it had been applied"
        : `has been applied, but the files have ${file?.name ?? "nothing"} in its place`;
    throw new OperatingError(`migration ${name} of ${store} ${what}`, {
      code: "MIGRATION_DRIFT",
      hint: "restore the file as it was and put the change into a new migration",
    });
  }
  return files.slice(applied.length);
}
