"""One HTML page that renders our OpenAPI documents offline: no script, font or style from anywhere else."""

HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:">
<link rel="icon" href="data:,">
<title>API reference – Bartizan</title>
<style>
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1b1b; --soft: #595959; --line: #d0d0d0; --act: #0b4a8f; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #161616; --ink: #f2f2f2; --soft: #b5b5b5; --line: #4a4a4a; --act: #a8cbff; }
}
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 0 auto; padding: 0 1rem 4rem;
  color: var(--ink); background: var(--paper); }
h1 { font-size: 1.6rem; margin: 1.5rem 0 0; }
h2 { font-size: 1.15rem; margin: 2rem 0 .25rem; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; }
header p { margin: .5rem 0; }
.bar { position: sticky; top: 0; display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: center;
  padding: .75rem 0; background: var(--paper); border-bottom: 1px solid var(--line); z-index: 1; }
.bar p { margin: 0; }
code { font-family: ui-monospace, monospace; font-size: .9em; overflow-wrap: anywhere; }
a { color: var(--act); }
details { border-bottom: 1px solid var(--line); }
details details { border: 0; }
details > :not(summary) { margin-left: 1.25rem; }
summary { cursor: pointer; padding: .4rem 0; }
.operation > summary { display: grid; grid-template-columns: 5.5rem minmax(0, 1fr) minmax(0, 1fr); gap: 0 1rem; }
.operation > summary > span { color: var(--soft); }
.operation > summary b::before { content: "\\25b8\\a0"; }
.operation[open] > summary b::before { content: "\\25be\\a0"; }
.operation > summary:hover { color: var(--act); }
input, select { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--soft);
  border-radius: .25rem; padding: .3rem .5rem; max-width: 100%; box-sizing: border-box; }
table { border-collapse: collapse; }
td, th { text-align: left; vertical-align: top; padding: .15rem .8rem .15rem 0; overflow-wrap: anywhere; }
td:first-child code { overflow-wrap: normal; }
td summary { padding: 0; }
:focus-visible { outline: 3px solid #b35900; outline-color: light-dark(#b35900, #ffb366); outline-offset: 1px; }
@media (max-width: 45rem) {
  .operation > summary { grid-template-columns: 5.5rem minmax(0, 1fr); }
  .operation > summary > span { grid-column: 2; }
  .bar { position: static; }
}
</style>
</head>
<body>
<header>
<h1>Bartizan API reference</h1>
<p>Every operation that this server answers, with its permissions, parameters and shapes.
As files: OpenAPI <a href="/openapi/v1.0.json">v1.0</a>, <a href="/openapi/beta.json">beta</a>;
OData <a href="/v1.0/$metadata">v1.0</a>, <a href="/beta/$metadata">beta</a>.</p>
</header>
<div class="bar" role="search">
<label>Version <select id="version"><option>v1.0</option><option>beta</option></select></label>
<label>Find <input id="find" type="search" placeholder="such as alerts, PATCH" autocomplete="off"></label>
<p id="state" role="status">Loading.</p>
</div>
<noscript><p>This page needs script; the files above do not.</p></noscript>
<main id="operations"></main>
<script>
"use strict";
const make = (tag, text, ...inside) => {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  element.append(...inside);
  return element;
};
const state = document.getElementById("state");
const main = document.getElementById("operations");
const version = document.getElementById("version");
const find = document.getElementById("find");
let api = null;
const target = (ref) => ref.split("/").slice(1).reduce((at, name) => at[name], api);
const typeOf = (schema) => {
  if (!schema || !Object.keys(schema).length) return "any";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.type === "array") return typeOf(schema.items) + "[]";
  return [].concat(schema.type || "any").join(" or ");
};
const properties = (schema, depth) => {
  const real = schema.$ref ? target(schema.$ref) : schema;
  const list = make("div");
  if (real.anyOf) real.anyOf.forEach((each) => list.append(properties(each, depth)));
  if (real.items) list.append(properties(real.items, depth));
  if (real.enum) list.append(make("p", "One of: " + real.enum.join(", ")));
  const names = Object.entries(real.properties || {});
  if (names.length) {
    const table = make("table");
    for (const [name, each] of names) {
      const cell = make("td", typeOf(each));
      const row = make("tr", "", make("td", "", make("code", name)), cell);
      if (JSON.stringify(each).includes("$ref") && depth < 6) {
        const more = make("details", "", make("summary", typeOf(each)));
        more.addEventListener("toggle", () => {
          if (more.open && more.children.length === 1) more.append(properties(each, depth + 1));
        });
        cell.textContent = "";
        cell.append(more);
      }
      table.append(row);
    }
    list.append(table);
  }
  return list;
};
const body = (title, content) => {
  const part = make("section", "", make("h3", title));
  for (const [kind, media] of Object.entries(content || {})) {
    part.append(make("p", kind + ": " + typeOf(media.schema)), properties(media.schema || {}, 0));
  }
  return part;
};
const operation = (path, verb, item) => {
  const head = make("summary", "", make("b", verb.toUpperCase()), make("code", path), make("span", item.summary));
  const details = make("details", "", head);
  details.className = "operation";
  details.addEventListener("toggle", () => {
    if (!details.open || details.children.length > 1) return;
    if (item.description) details.append(make("p", "Permissions. " + item.description));
    const given = (item.parameters || []).map((each) => each.$ref ? target(each.$ref) : each);
    if (given.length) {
      const table = make("table");
      for (const each of given) {
        const name = make("td", "", make("code", each.name));
        table.append(make("tr", "", name, make("td", typeOf(each.schema)), make("td", each.description || "")));
      }
      details.append(make("h3", "Parameters"), table);
    }
    if (item.requestBody) details.append(body("Body", item.requestBody.content));
    for (const [code, answer] of Object.entries(item.responses)) {
      const real = answer.$ref ? target(answer.$ref) : answer;
      details.append(body(code + " " + real.description, real.content));
    }
  });
  return details;
};
const area = (path) => path.split("/").slice(1, /^\\/(security|identity|identityProtection|auditLogs|reports)\\//
  .test(path) ? 3 : 2).join("/").replace(/\\(.*/, "");
const draw = () => {
  const words = find.value.toLowerCase().split(/\\s+/);
  const sections = new Map();
  let shown = 0;
  for (const [path, item] of Object.entries(api.paths)) {
    for (const verb of ["get", "post", "patch", "put", "delete"]) {
      if (!item[verb]) continue;
      const text = (verb + " " + path + " " + item[verb].summary).toLowerCase();
      if (!words.every((word) => text.includes(word))) continue;
      const name = area(path);
      if (!sections.has(name)) sections.set(name, make("section", "", make("h2", name)));
      sections.get(name).append(operation(path, verb, item[verb]));
      shown += 1;
    }
  }
  main.replaceChildren(...sections.values());
  state.textContent = shown === 1 ? "1 operation." : shown ? shown + " operations." : "No operation has these words.";
};
const load = async () => {
  state.textContent = "Loading.";
  try {
    const answer = await fetch(version.value + ".json");
    if (!answer.ok) throw new Error("HTTP " + answer.status);
    api = await answer.json();
    draw();
  } catch (error) {
    main.textContent = "";
    state.textContent = "The document could not be read: " + error.message;
  }
};
version.addEventListener("change", load);
find.addEventListener("input", () => api && draw());
load();
</script>
</body>
</html>
"""
