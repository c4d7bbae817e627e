/** The few verbs that snapshots need of an object store. */
export interface StoredObject {
  readonly key: string;
  readonly createdAtMs: number;
}

/**
 * Objects are written once and whole: a reader sees all of an object or none of it, and nothing changes it. All methods may be called
 * concurrently, by several processes.
 */
export interface SnapshotStore {
  /** In order of their keys. */
  list(prefix: string): Promise<StoredObject[]>;
  /** null: there is none. */
  read(key: string): Promise<Uint8Array | null>;
  /**
   * Durable when it resolves. `exists`: somebody wrote this key before; since the key names the content, that is success (S3: `If-None-Match: *`
   * answered 412).
   */
  createOnce(key: string, parts: readonly Uint8Array[]): Promise<"created" | "exists">;
  /** Removing what is not there succeeds. */
  remove(key: string): Promise<void>;
}
