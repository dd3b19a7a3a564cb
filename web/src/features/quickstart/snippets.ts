/** What the snippets are made of: real addresses and tokens of the tenant. */
export interface SnippetValues {
  /** For a SignalR client: the hub's client address. */
  clientUrl: string;
  clientToken: string;
  /** Where to POST for every connection of the hub. */
  restUrl: string;
  restToken: string;
}

/** The method that the first message calls on clients. */
export const firstTarget = "hello";

/** Publishes the first message to every connection of the hub. */
export function curlSnippet({ restUrl, restToken }: SnippetValues): string {
  return [
    `curl ${shell(restUrl)} \\`,
    `  -H ${shell(`Authorization: Bearer ${restToken}`)} \\`,
    `  -H ${shell("Content-Type: application/json")} \\`,
    `  -d ${shell(`{"target": "${firstTarget}", "arguments": ["world"]}`)}`,
  ].join("\n");
}

/** Installs what the Node.js snippet imports. */
export const installSnippet = "npm install @microsoft/signalr";

/** A program for Node.js that prints what arrives. */
export function nodeSnippet({ clientUrl, clientToken }: SnippetValues): string {
  return `import { HubConnectionBuilder } from "@microsoft/signalr";

const url = ${js(clientUrl)};
const token = ${js(clientToken)};

const connection = new HubConnectionBuilder()
  .withUrl(url, { accessTokenFactory: () => token })
  .withAutomaticReconnect()
  .build();

connection.on("${firstTarget}", (text) => console.log("${firstTarget},", text));

await connection.start();
console.log("connected");
`;
}

/** A whole page for a browser that shows what arrives. */
export function browserSnippet({ clientUrl, clientToken }: SnippetValues): string {
  return `<!doctype html>
<ul id="messages"></ul>
<script src="https://unpkg.com/@microsoft/signalr@10.0.11/dist/browser/signalr.min.js"></script>
<script type="module">
  const url = ${html(js(clientUrl))};
  const token = ${html(js(clientToken))};

  const connection = new signalR.HubConnectionBuilder()
    .withUrl(url, { accessTokenFactory: () => token })
    .withAutomaticReconnect()
    .build();

  connection.on("${firstTarget}", (text) => {
    const item = document.createElement("li");
    item.textContent = "${firstTarget}, " + text;
    document.querySelector("#messages").append(item);
  });

  await connection.start();
</script>
`;
}

// One word of a POSIX shell: plain double quotes where nothing in it is special
// to them, else single quotes.
function shell(text: string): string {
  if (!/["$`\\!]/.test(text)) return `"${text}"`;
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

const js = (text: string): string => JSON.stringify(text);

// Inside <script> a "</script>" in a string would end the element.
const html = (literal: string): string => literal.replaceAll("<", String.raw`\u003c`);
