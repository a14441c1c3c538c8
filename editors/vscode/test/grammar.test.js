// The grammar, in the tokeniser that VS Code uses.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { test } = require("node:test");
const oniguruma = require("vscode-oniguruma");
const textmate = require("vscode-textmate");

const ROOT = path.join(__dirname, "..");
const TOP = path.join(ROOT, "..", "..");

/** Every plan and library below folders of the repository. */
function plans(...folders) {
  const below = (folder) =>
    fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
      const at = path.join(folder, entry.name);
      return entry.isDirectory() ? below(at) : entry.name.endsWith(".plan") ? [at] : [];
    });
  return folders.flatMap((folder) => below(path.join(TOP, folder)));
}

async function grammar() {
  const wasm = fs.readFileSync(require.resolve("vscode-oniguruma/release/onig.wasm"));
  await oniguruma.loadWASM(wasm.buffer.slice(wasm.byteOffset, wasm.byteOffset + wasm.byteLength));
  const file = path.join(ROOT, "syntaxes", "plan.tmLanguage.json");
  const registry = new textmate.Registry({
    onigLib: Promise.resolve({
      createOnigScanner: (patterns) => new oniguruma.OnigScanner(patterns),
      createOnigString: (text) => new oniguruma.OnigString(text),
    }),
    loadGrammar: async () => textmate.parseRawGrammar(fs.readFileSync(file, "utf8"), file),
  });
  return registry.loadGrammar("source.plan");
}

const loaded = grammar();

/** The tokens of a text: `[text, innermost scope without its last part]`, blanks left out. */
async function tokens(text) {
  let stack = textmate.INITIAL;
  const found = [];
  for (const line of text.split("\n")) {
    const result = (await loaded).tokenizeLine(line, stack);
    stack = result.ruleStack;
    for (const { startIndex, endIndex, scopes } of result.tokens) {
      const word = line.slice(startIndex, endIndex).trim();
      if (word) found.push([word, scopes.at(-1).replace(/\.plan$/, ""), scopes]);
    }
  }
  return found;
}

async function scopes(text) {
  return Object.fromEntries((await tokens(text)).map(([word, scope]) => [word, scope]));
}

test("items and declarations", async () => {
  const of = await scopes('plan site\nimport "a.plan" { size = 1 }\nlet data = "x"\nparam zone: string\nstore local: dir {\n}');
  assert.equal(of.plan, "keyword.control");
  assert.equal(of.site, "entity.name.namespace");
  assert.equal(of.import, "keyword.control.import");
  assert.equal(of.size, "variable.other.property");
  assert.equal(of.let, "storage.type.let");
  assert.equal(of.data, "variable.other.constant");
  assert.equal(of.zone, "variable.parameter");
  assert.equal(of.string, "support.type");
  assert.equal(of.store, "storage.type.declaration");
  assert.equal(of.local, "entity.name.type");
  assert.equal(of.dir, "support.type");
});

test("a word that is a kind, a schedule and an attribute", async () => {
  const of = await tokens("keep {\n  daily = 7, keep = 30d\n}\nschedule { run = daily at 02:30 }");
  const daily = of.filter(([word]) => word === "daily").map(([, scope]) => scope);
  assert.deepEqual(daily, ["variable.other.property", "keyword.other.schedule"]);
  const keep = of.filter(([word]) => word === "keep").map(([, scope]) => scope);
  assert.deepEqual(keep, ["storage.type.declaration", "variable.other.property"]);
  assert.ok(of.some(([word, scope]) => word === "02:30" && scope === "constant.numeric.time"));
});

test("literals", async () => {
  const of = await scopes("let a = [12, 30d, 64KiB, 50MiB/s, 10s..10m, true, all, env('X')]");
  assert.equal(of["12"], "constant.numeric.integer");
  assert.equal(of["30d"], "constant.numeric.duration");
  assert.equal(of["64KiB"], "constant.numeric.size");
  assert.equal(of["50MiB/s"], "constant.numeric.rate");
  assert.equal(of["10s"], "constant.numeric.duration");
  assert.equal(of[".."], "keyword.operator.range");
  assert.equal(of["10m"], "constant.numeric.duration");
  assert.equal(of.true, "constant.language.boolean");
  assert.equal(of.all, "constant.language.all");
  assert.equal(of.env, "support.function");
});

test("strings hold expressions, and end with their line", async () => {
  const of = await tokens('let a = "x # ${time("%Y # }")} \\n"  # comment\nlet b = "open ${data\nlet c = 1');
  const find = (text) => of.find(([word]) => word === text);
  assert.ok(find("time")[2].includes("meta.embedded.expression.plan"));
  assert.equal(find("\\n")[1], "constant.character.escape");
  assert.ok(find("%Y # }")[2].includes("meta.embedded.expression.plan"));
  assert.ok(find("comment")[2].includes("comment.line.number-sign.plan"));
  assert.equal(of.filter(([word]) => word === "let").at(-1)[1], "storage.type.let");
});

test("an allowance names its finding", async () => {
  const of = await scopes("# allow: unused_name it is for later");
  assert.equal(of["allow:"], "keyword.control.allow");
  assert.equal(of.unused_name, "entity.name.tag.finding");
});

test("nothing in the plans of this repository is left plain", async () => {
  const all = plans("plans", "compiler/tests/samples");
  assert.ok(all.length >= 17, all.join());
  for (const name of all) {
    for (const [word, scope] of await tokens(fs.readFileSync(name, "utf8"))) {
      assert.notEqual(scope, "source", `${name}: \`${word}\``);
    }
  }
});

test("plans with mistakes are tokenised to their end", async () => {
  for (const name of plans("tests/broken")) {
    const text = `${fs.readFileSync(name, "utf8").trimEnd()}\n}]\nlet behind = 1\n`;
    const of = await tokens(text);
    assert.equal(of.at(-3)?.[0] + of.at(-3)?.[1], "behindvariable.other.constant", name);
  }
});

test("the manifest names files that are there", () => {
  const manifest = JSON.parse(fs.readFileSync(path.join(ROOT, "package.json"), "utf8"));
  const files = [
    manifest.main,
    ...manifest.contributes.grammars.map((grammar) => grammar.path),
    ...manifest.contributes.languages.map((language) => language.configuration),
  ];
  for (const file of files) assert.ok(fs.existsSync(path.join(ROOT, file)), file);
});
