/** JSON text laid out for a person: only white space between tokens changes, so every number keeps its digits and every escape its form. */
const INDENT = "  ";

/** `text` must be JSON. */
export function layOut(text: string): string {
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[^\s"{}[\],:]+|[{}[\],:]/g) ?? [];
  let depth = 0;
  let laidOut = "";
  for (const [i, token] of tokens.entries()) {
    const line = (): string => `\n${INDENT.repeat(depth)}`;
    if (token === "{" || token === "[") {
      depth++;
      laidOut += token;
      if (tokens[i + 1] !== "}" && tokens[i + 1] !== "]") laidOut += line();
    } else if (token === "}" || token === "]") {
      depth--;
      laidOut += (tokens[i - 1] === "{" || tokens[i - 1] === "[" ? "" : line()) + token;
    } else if (token === ",") laidOut += token + line();
    else laidOut += token === ":" ? ": " : token;
  }
  return laidOut;
}
