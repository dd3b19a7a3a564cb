// Starts the whole product for tests, and tells them where it is.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, chmod, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

const root = resolve(import.meta.dirname, "..");

/** How long the first start may take: databases, migrations, seeds. */
const startTimeout = 90_000;
/** How long everything may take to end; it drains first. */
const stopTimeout = 60_000;

/** The first of some ports in a row that nobody listens on, below the kernel's own. */
async function freePorts(count) {
  for (;;) {
    const first = 21_000 + Math.floor(Math.random() * 10_000);
    const tried = await Promise.allSettled(Array.from({ length: count }, (_, i) => listen(first + i)));
    if (tried.every(({ status }) => status === "fulfilled")) return first;
  }
}

/** Listens for a moment. */
function listen(port) {
  return new Promise((done, failed) => {
    const server = createServer().once("error", failed);
    server.listen(port, "127.0.0.1", () => server.close(done));
  });
}

/** Builds and starts the OpenID provider of the Go tests, for the console at an address. */
async function startIssuer(dir, console) {
  const program = join(dir, "issuer");
  const build = spawn("go", ["build", "-o", program, "."], { cwd: join(root, "internal/app/api/testdata/issuer"), stdio: ["ignore", "inherit", "inherit"] });
  const built = await new Promise((done, failed) => build.once("error", failed).once("close", done));
  if (built !== 0) throw new Error(`building the OpenID provider ended with ${built}`);
  const issuer = spawn(program, [`${console}/v1/oidc/callback`], { stdio: ["ignore", "pipe", "inherit"] });
  process.once("exit", () => issuer.kill("SIGKILL"));
  const [address] = await once(createInterface(issuer.stdout), "line");
  return { address, stop: () => issuer.kill("SIGKILL") };
}

/**
 * Starts bin/dev with a throwaway DEV_DIR on free ports, with three edges unless said
 * otherwise, without the sample feed, and with more settings in env; issuer: with an
 * OpenID provider, whose users have the password "verysecure". Resolves when it says
 * "ready"; rejects with its last words otherwise.
 */
export async function startStack({ edges = 3, env: given = {}, issuer = false } = {}) {
  const dir = await mkdtemp(join(tmpdir(), "signalbox-e2e-"));
  await chmod(dir, 0o755); // Postgres' user passes through
  const [port, edgePort] = [await freePorts(1), await freePorts(2)];
  const { DATABASE_URL: _, REDIS_URL: __, ...env } = process.env;
  const provider = issuer && (await startIssuer(dir, `http://127.0.0.1:${port}`));
  const settings = {
    ...(provider && { SIGNALBOX_OIDC_ISSUER: provider.address, SIGNALBOX_OIDC_CLIENT_ID: "web", SIGNALBOX_OIDC_CLIENT_SECRET: "secret", SIGNALBOX_OIDC_NAME: "Example" }),
    ...given,
  };
  const dev = spawn(join(root, "bin", "dev"), ["-with-parent", String(process.pid)], {
    env: { ...env, ...settings, DEV_DIR: join(dir, "dev"), DEV_PORT: String(port), DEV_EDGE_PORT: String(edgePort), DEV_EDGES: String(edges), DEV_FEED: "0", DEV_ROOMY: "true" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = new Promise((done) => dev.once("exit", done));
  const said = [];
  const ready = new Promise((done, failed) => {
    const hear = (line) => {
      said.push(line);
      if (said.length > 200) said.shift();
      if (line === "ready") done();
    };
    createInterface(dev.stdout).on("line", hear);
    createInterface(dev.stderr).on("line", hear);
    dev.once("error", failed);
    ended.then((code) => failed(new Error(`dev ended with ${code}:\n${said.join("\n")}`)));
    setTimeout(() => failed(new Error(`dev was not ready within ${startTimeout} ms:\n${said.join("\n")}`)), startTimeout).unref();
  });
  const stop = async () => {
    dev.kill("SIGTERM");
    const late = setTimeout(() => {
      console.error(`dev has not ended within ${stopTimeout} ms, it is killed`);
      dev.kill("SIGKILL");
    }, stopTimeout);
    const code = await ended;
    clearTimeout(late);
    if (provider) provider.stop();
    await rm(dir, { recursive: true, force: true });
    return code;
  };
  try {
    await ready;
  } catch (error) {
    await stop();
    throw error;
  }
  return { file: join(dir, "dev", "dev.json"), logs: join(dir, "dev", "logs"), said, stop };
}

/** Where the stack is that the runner started; read again, it has new pids. */
export async function stack() {
  const file = process.env.SIGNALBOX_DEV_JSON;
  if (!file) throw new Error("SIGNALBOX_DEV_JSON is not set: run `make test-e2e`, or point it to the dev.json of a running `make dev`");
  return JSON.parse(await readFile(file, "utf8"));
}
