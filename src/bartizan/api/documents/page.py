"""One HTML page that renders our OpenAPI documents offline: no script, font or style from anywhere else."""

HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Bartizan: API reference</title>
<style>
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { overflow: auto; border: 1px solid var(--line); padding: .5rem; }
details { border-bottom: 1px solid var(--line); }
summary { cursor: pointer; padding: .4rem 0; overflow-wrap: anywhere; }
summary b { display: inline-block; min-width: 4.5rem; }
label { margin-right: 1rem; }
input, select { font: inherit; }
table { border-collapse: collapse; }
td, th { text-align: left; vertical-align: top; padding: .15rem .8rem .15rem 0; }
:focus-visible { outline: 3px solid Highlight; }
</style>
</head>
<body>
<header>
<h1>Bartizan: API reference</h1>
<p><label>Version <select id="version"><option>v1.0</option><option>beta</option></select></label>
<label>Find <input id="find" type="search" placeholder="alerts"></label></p>
<p id="state" role="status">Loading.</p>
</header>
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
  const part = make("section", "", make("h4", title));
  for (const [kind, media] of Object.entries(content || {})) {
    part.append(make("p", kind + ": " + typeOf(media.schema)), properties(media.schema || {}, 0));
  }
  return part;
};
const operation = (path, verb, item) => {
  const head = make("summary", "", make("b", verb.toUpperCase()), make("code", path), " " + (item.summary || ""));
  const details = make("details", "", head);
  details.addEventListener("toggle", () => {
    if (!details.open || details.children.length > 1) return;
    details.append(make("p", item.description || ""));
    const given = (item.parameters || []).map((each) => each.$ref ? target(each.$ref) : each);
    if (given.length) {
      const table = make("table");
      for (const each of given) {
        const name = make("td", "", make("code", each.name));
        table.append(make("tr", "", name, make("td", typeOf(each.schema)), make("td", each.description || "")));
      }
      details.append(make("h4", "Parameters"), table);
    }
    if (item.requestBody) details.append(body("Body", item.requestBody.content));
    for (const [code, answer] of Object.entries(item.responses)) {
      const real = answer.$ref ? target(answer.$ref) : answer;
      details.append(body(code + " " + real.description, real.content));
    }
  });
  return details;
};
const draw = () => {
  const wanted = find.value.toLowerCase();
  main.textContent = "";
  let shown = 0;
  for (const [path, item] of Object.entries(api.paths)) {
    for (const verb of ["get", "post", "patch", "put", "delete"]) {
      if (item[verb] && path.toLowerCase().includes(wanted)) {
        main.append(operation(path, verb, item[verb]));
        shown += 1;
      }
    }
  }
  state.textContent = shown ? shown + " operations." : "No operation has this in its path.";
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
