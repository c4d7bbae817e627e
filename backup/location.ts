/** Where backups lie: a folder, or a bucket. Objects are created once and never changed; nothing but retention and cleaning removes them. */
export interface StoredPart {
  readonly key: string;
  readonly createdAtMs: number;
}

/** @throws UnavailableError from every method when the place does not answer. */
export interface BackupLocation {
  /** For messages. */
  readonly address: string;
  /** Keys that begin with `prefix`, at any depth, in their order. */
  list(prefix: string): Promise<StoredPart[]>;
  /** null = there is none. At most CHUNK_BYTES, manifests included. */
  read(key: string): Promise<Uint8Array | null>;
  /** Durable when it resolves. "exists" = somebody wrote this key before. */
  createOnce(key: string, bytes: Uint8Array): Promise<"created" | "exists">;
  /** Removing what is not there succeeds. */
  remove(key: string): Promise<void>;
}
