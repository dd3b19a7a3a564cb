/** A stretch of code with one colour. */
export interface CodePart {
  kind: "text" | "string" | "comment" | "keyword";
  text: string;
}

// Enough for the shell, JavaScript and HTML of the snippets: strings first, so
// that a URL's // is no comment. HTML comments and templates don't occur there.
const pattern =
  /(?<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(?<comment>\/\/[^\n]*|(?<=^|\s)#[^\n]*)|(?<keyword>\b(?:import|from|const|new|await|async|curl|npm|node)\b)/g;

/** Splits code into coloured parts; joined again they are the code. */
export function highlight(code: string): CodePart[] {
  const parts: CodePart[] = [];
  let position = 0;
  for (const match of code.matchAll(pattern)) {
    if (match.index > position) parts.push({ kind: "text", text: code.slice(position, match.index) });
    const kind = match.groups?.["string"] ? "string" : match.groups?.["comment"] ? "comment" : "keyword";
    parts.push({ kind, text: match[0] });
    position = match.index + match[0].length;
  }
  if (position < code.length) parts.push({ kind: "text", text: code.slice(position) });
  return parts;
}
