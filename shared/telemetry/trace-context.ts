/**
 * W3C Trace Context (w3.org/TR/trace-context/#traceparent-header): `version-traceid-parentid-flags`, lower-case hexadecimal. What is not exactly
 * that is no context; it is never repaired.
 */

const LENGTH = 55;
const DASH = 0x2d;
const DASHES = [2, 35, 52] as const;
/** A version that the specification forbids. */
const NO_VERSION = "ff";
const SAMPLED = 0x01;

/** The context in version 00, as it may be passed on; null = there is none. Takes header bytes as Lambda hands them over, signed ones too. */
export function readTraceparent(bytes: ArrayLike<number>): string | null {
  if (bytes.length < LENGTH) return null;
  let text = "";
  for (let i = 0; i < LENGTH; i++) {
    const byte = bytes[i]!;
    const isHex = (byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x66);
    if (i === DASHES[0] || i === DASHES[1] || i === DASHES[2] ? byte !== DASH : !isHex) return null;
    text += String.fromCharCode(byte);
  }
  const version = text.slice(0, 2);
  if (version === NO_VERSION) return null;
  // A later version may have more fields, of which nothing is known, and flags of which only `sampled` means what it does here.
  if (bytes.length > LENGTH && (version === "00" || bytes[LENGTH] !== DASH)) return null;
  if (/^0+$/.test(text.slice(3, 35)) || /^0+$/.test(text.slice(36, 52))) return null;
  const flags = Number.parseInt(text.slice(53), 16);
  return version === "00" ? text : `00-${text.slice(3, 53)}${(flags & SAMPLED).toString(16).padStart(2, "0")}`;
}

/** Whether the caller may have recorded it: the only traces worth a link. */
export function isSampled(traceparent: string): boolean {
  return (Number.parseInt(traceparent.slice(53), 16) & SAMPLED) !== 0;
}
