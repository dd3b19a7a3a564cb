// Writes aws.json: the arguments, blocks and results of the AWS resource types
// and data sources that our .tf files use, out of the typed provider schemas that
// HashiCorp published on npm. Run it after a type is used for the first time:
//
//   dir=$(mktemp -d) && npm i --prefix "$dir" --ignore-scripts --legacy-peer-deps @cdktf/provider-aws@21.22.1
//   node deploy/terraform/schema/extract.mjs "$dir"
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const [prefix] = process.argv.slice(2);
if (!prefix) {
  console.error("usage: node extract.mjs {folder in which @cdktf/provider-aws is installed}");
  process.exit(2);
}
const pkg = join(prefix, "node_modules/@cdktf/provider-aws");

/** The types that our files use, as [kind, type] pairs without repeats. */
function usedTypes() {
  const found = new Set();
  for (const file of readdirSync(join(here, ".."), { recursive: true })) {
    if (!file.endsWith(".tf")) continue;
    for (const m of readFileSync(join(here, "..", file), "utf8").matchAll(/^(resource|data) "(aws_\w+)"/gm)) {
      found.add(`${m[1]} ${m[2]}`);
    }
  }
  return [...found].sort().map((s) => s.split(" "));
}

/** Maps each interface of a .d.ts file to its fields. The doc link above a field
 * ends in #{name in HCL}. */
function interfaces(source) {
  const out = {};
  for (const [, name, body] of source.matchAll(/^export interface (\w+)[^{]*\{\n(.*?)^\}/gms)) {
    const fields = {};
    // The documentation link precedes its field directly.
    for (const m of body.matchAll(/\{@link \S+#(\w+) [^}]*\}(?:(?!@link).)*?readonly (\w+)(\??): ([^;]+(?:\{[^}]*\})?[^;]*);/gs)) {
      const type = m[4].replace(/\s+/g, " ").trim();
      fields[m[1]] = { required: m[3] === "", type };
    }
    out[name] = fields;
  }
  return out;
}

/** The names that a .js file says are nested blocks, by the function or class
 * that turns the structure into HCL. */
function blockNames(source) {
  const out = {};
  for (const [, fn, body] of source.matchAll(/^function (\w+)ToHclTerraform\(struct\) \{(.*?)^\}/gms)) {
    out[fn.toLowerCase()] = blocksOf(body);
  }
  const own = /synthesizeHclAttributes\(\) \{(.*?)^ {4}\}/ms.exec(source);
  out[""] = blocksOf(own ? own[1] : "");
  return out;
}

function blocksOf(body) {
  return new Set([...body.matchAll(/^\s+(\w+): \{\n\s+value:[^\n]*\n\s+isBlock: true/gm)].map((m) => m[1]));
}

/** What can be read of a resource beyond its arguments. */
function results(source) {
  const own = source.slice(source.lastIndexOf("\nclass "));
  const names = new Set();
  for (const [, code] of own.matchAll(/^ {4}get \w+\(\) \{\n(.*?)^ {4}\}/gms)) {
    const name = /Attribute\(['"](\w+)['"]\)/.exec(code)?.[1] ?? /^\s+return this\._(\w+);/m.exec(code)?.[1];
    if (name && !name.endsWith("Input")) names.add(name.replace(/[A-Z]/g, (c) => "_" + c.toLowerCase()));
  }
  return names;
}

function body(fields, all, blocks, key) {
  const isBlock = blocks[key] ?? new Set();
  const out = { required: [], optional: [], blocks: {} };
  for (const [name, field] of Object.entries(fields).sort(([a], [b]) => a.localeCompare(b))) {
    if (!isBlock.has(name)) {
      (field.required ? out.required : out.optional).push(name);
      continue;
    }
    const struct = /^([A-Z]\w+)/.exec(field.type)?.[1];
    if (!struct || !all[struct]) throw new Error(`block ${name}: no interface for type ${field.type}`);
    // A list type allows repeats, a plain one does not.
    out.blocks[name] = {
      min: field.required ? 1 : 0,
      max: field.type.includes("[]") ? 0 : 1,
      ...body(all[struct], all, blocks, struct.toLowerCase()),
    };
  }
  for (const name of ["required", "optional", "blocks"]) {
    if (Object.keys(out[name]).length === 0) delete out[name];
  }
  return out;
}

function describe(kind, type) {
  const short = type.replace(/^aws_/, "").replaceAll("_", "-");
  const dir = join(pkg, "lib", kind === "data" ? `data-aws-${short}` : short);
  const dts = readFileSync(join(dir, "index.d.ts"), "utf8");
  const js = readFileSync(join(dir, "index.js"), "utf8");
  const all = interfaces(dts);
  const config = Object.keys(all).find((n) => n.endsWith("Config") && dts.includes(`interface ${n} extends cdktf.TerraformMetaArguments`));
  const out = body(all[config], all, blockNames(js), "");
  const known = new Set([...(out.required ?? []), ...(out.optional ?? []), ...Object.keys(out.blocks ?? {})]);
  out.results = [...results(js)].filter((n) => !known.has(n)).sort();
  return out;
}

const types = usedTypes();
const schema = { source: "", provider: "", resource: {}, data: {} };
for (const [kind, type] of types) schema[kind][type] = describe(kind, type);
const manifest = JSON.parse(readFileSync(join(pkg, "package.json"), "utf8"));
schema.source = `${manifest.name}@${manifest.version}`;
schema.provider = /providers\/hashicorp\/aws\/([\d.]+)\//.exec(readFileSync(join(pkg, "lib/vpc/index.d.ts"), "utf8"))[1];
writeFileSync(join(here, "aws.json"), `${JSON.stringify(schema, null, 1)}\n`);
console.log(`${types.length} types of hashicorp/aws ${schema.provider} from ${schema.source}`);
