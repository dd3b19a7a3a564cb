// The command line, run as the program that it is.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

import { stack } from "./stack.mjs";

export const program = join(resolve(import.meta.dirname, ".."), "bin", "signalbox");

/** Somebody at a terminal, with settings of their own that are gone after the test. */
export async function person(t, env = {}) {
  const { api_url: api } = await stack();
  const dir = await mkdtemp(join(tmpdir(), "signalbox-cli-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const { SIGNALBOX_TOKEN: _, SIGNALBOX_CONNECTION_STRING: __, ...outer } = process.env;
  const environment = { ...outer, SIGNALBOX_API_URL: api, SIGNALBOX_CONFIG_DIR: dir, ...env };

  /** Starts a command; lines are what it has printed so far, ended resolves with how it ended. */
  function start(...args) {
    const child = spawn(program, args, { env: environment });
    const lines = [];
    const said = { out: "", err: "" };
    createInterface(child.stdout).on("line", (line) => lines.push(line));
    child.stdout.on("data", (data) => (said.out += data));
    child.stderr.on("data", (data) => (said.err += data));
    child.stdin.on("error", () => undefined); // it may have ended
    const ended = new Promise((done, failed) => {
      child.once("error", failed);
      child.once("close", (status) => done({ status, ...said }));
    });
    t.after(() => child.kill("SIGKILL"));
    return { child, lines, said, ended };
  }
  /** Runs a command to its end, with input. */
  function run(args, input = "") {
    const { child, ended } = start(...args);
    child.stdin.end(input);
    return ended;
  }
  /** Runs a command that must succeed, and returns what it has printed. */
  async function ok(args, input) {
    const { status, out, err } = await run(args, input);
    if (status !== 0) throw new Error(`signalbox ${args.join(" ")} ended with ${status}: ${err}${out}`);
    return out.trim();
  }
  /** ok with JSON. */
  const json = async (args, input) => JSON.parse(await ok([...args, "-o", "json"], input));
  return { dir, environment, start, run, ok, json };
}
