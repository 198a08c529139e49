// The API reference, rendered from /api/openapi.json.
import { h, show } from "./dom.js";

const main = document.getElementById("main");

try {
  const answer = await fetch("/api/openapi.json");
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  const api = await answer.json();
  show(main, page(api));
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
} catch (error) {
  show(main, h("p", { role: "alert", class: "problem" }, `The API description cannot be loaded: ${error.message}. Reload the page to try again.`));
}

function page(api) {
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })));
  return [
    h("h1", {}, `${api.info.title} API`),
    h("p", {}, api.info.summary, " The full description is an ", h("a", { href: "/api/openapi.json" }, "OpenAPI 3.1"), " document. ",
      "Routes marked (key) need the function key in the header ", h("code", {}, api.components.securitySchemes.function_key.name), "."),
    operations.map((each) => describe(each, api)),
    h("h2", {}, "Schemas"),
    Object.entries(api.components.schemas).map(([name, schema]) => model(name, schema)),
  ];
}

function describe({ path, method, operation }, api) {
  const body = operation.requestBody?.content["application/json"];
  return h("details", { class: "card", id: operation.operationId },
    h("summary", {}, h("code", { class: "method" }, method.toUpperCase()), " ", h("code", {}, `/api${path}`),
      operation.security ? null : h("span", { class: "quiet" }, " (key)"),
      h("span", { class: "quiet" }, ` ${operation.summary}`)),
    operation.parameters.length ? parameters(operation.parameters) : null,
    body ? [h("h3", {}, "Body"), type(body.schema), h("pre", { tabindex: 0 }, JSON.stringify(body.example, null, 2))] : null,
    body || method === "get" ? [h("h3", {}, "Try it"), h("pre", { tabindex: 0 }, curl(path, method, operation, body))] : null,
    h("h3", {}, "Responses"),
    h("ul", {}, Object.entries(operation.responses).map(([status, answer]) =>
      h("li", {}, h("code", {}, status), ` ${answer.description} `,
        Object.values(answer.content ?? {}).map((content) => type(content.schema))))));
}

function parameters(list) {
  return h("table", {}, h("thead", {}, h("tr", {}, ["Parameter", "In", "Type", ""].map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, list.map((each) => h("tr", {}, h("th", { scope: "row" }, h("code", {}, each.name), each.required ? " *" : ""),
      h("td", { class: "short" }, each.in), h("td", {}, type(each.schema)), h("td", {}, each.description ?? "")))));
}

function model(name, schema) {
  const wanted = new Set(schema.required ?? []);
  const rows = Object.entries(schema.properties ?? {}).map(([field, value]) =>
    h("tr", {}, h("th", { scope: "row" }, h("code", {}, field), wanted.has(field) ? " *" : ""),
      h("td", {}, type(value), value.default === undefined || value.default === null ? "" : ` = ${JSON.stringify(value.default)}`),
      h("td", {}, value.description ?? "")));
  return h("details", { class: "card", id: `schema-${name}` }, h("summary", {}, h("code", {}, name), h("span", { class: "quiet" }, ` ${schema.description ?? ""}`)),
    rows.length ? h("table", {}, h("tbody", {}, rows)) : type(schema));
}

function type(schema) {
  if (!schema) return "";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return h("a", { href: `#schema-${name}`, onclick: () => { document.getElementById(`schema-${name}`).open = true; } }, name);
  }
  if (schema.allOf) return h("span", {}, schema.allOf.map((part, index) => [index ? " with " : "", part.$ref ? type(part) : members(part)]));
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if ("const" in schema) return JSON.stringify(schema.const);
  const options = schema.anyOf ?? schema.oneOf;
  if (options) return h("span", {}, options.map((option, index) => [index ? " | " : "", type(option)]));
  if (schema.type === "array") return h("span", {}, type(schema.items) || "any", "[]");
  return schema.format ?? schema.type ?? "any";
}

function members(schema) {
  return Object.entries(schema.properties ?? {}).map(([name, value]) => [h("code", {}, name), ": ", type(value)]);
}

function curl(path, method, operation, body) {
  const lines = [`curl "${location.origin}/api${path}"`];
  if (method !== "get") lines.push(`-X ${method.toUpperCase()}`);
  if (!operation.security) lines.push('-H "x-functions-key: $KEY"');
  if (body) lines.push('-H "Content-Type: application/json"', `-d '${JSON.stringify(body.example)}'`);
  return lines.join(" \\\n  ");
}
