// The API reference, rendered from /api/openapi.json.
import { create, show } from "./dom.js";

const main = document.getElementById("main");

try {
  const response = await fetch("/api/openapi.json");
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  const api = await response.json();
  show(main, renderPage(api));
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
} catch (error) {
  show(main, create("p", { role: "alert", class: "problem" }, `The API description cannot be loaded: ${error.message}. Reload the page to try again.`));
}

function renderPage(api) {
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })));
  return [
    create("h1", {}, `${api.info.title} API`),
    create("p", {}, api.info.summary, " The full description is an ", create("a", { href: "/api/openapi.json" }, "OpenAPI 3.1"), " document. ",
      "Routes marked (key) need the function key in the header ", create("code", {}, api.components.securitySchemes.function_key.name), "."),
    operations.map(renderOperation),
    create("h2", {}, "Schemas"),
    Object.entries(api.components.schemas).map(([name, schema]) => renderSchema(name, schema)),
  ];
}

function renderOperation({ path, method, operation }) {
  const body = operation.requestBody?.content["application/json"];
  return create("details", { class: "card", id: operation.operationId },
    create("summary", {}, create("code", { class: "method" }, method.toUpperCase()), " ", create("code", {}, `/api${path}`),
      operation.security ? null : create("span", { class: "quiet" }, " (key)"),
      create("span", { class: "quiet" }, ` ${operation.summary}`)),
    operation.parameters.length ? renderParameters(operation.parameters) : null,
    body ? [create("h3", {}, "Body"), renderType(body.schema), create("pre", { tabindex: 0 }, JSON.stringify(body.example, null, 2))] : null,
    body || method === "get" ? [create("h3", {}, "Try it"), create("pre", { tabindex: 0 }, formatCurl(path, method, operation, body))] : null,
    create("h3", {}, "Responses"),
    create("ul", {}, Object.entries(operation.responses).map(([status, response]) =>
      create("li", {}, create("code", {}, status), ` ${response.description} `,
        Object.values(response.content ?? {}).map((content) => renderType(content.schema))))));
}

function renderParameters(list) {
  return create("table", {}, create("thead", {}, create("tr", {}, ["Parameter", "In", "Type", ""].map((head) => create("th", { scope: "col" }, head)))),
    create("tbody", {}, list.map((each) => create("tr", {}, create("th", { scope: "row" }, create("code", {}, each.name), each.required ? " *" : ""),
      create("td", { class: "short" }, each.in), create("td", {}, renderType(each.schema)), create("td", {}, each.description ?? "")))));
}

function renderSchema(name, schema) {
  const wanted = new Set(schema.required ?? []);
  const rows = Object.entries(schema.properties ?? {}).map(([field, value]) =>
    create("tr", {}, create("th", { scope: "row" }, create("code", {}, field), wanted.has(field) ? " *" : ""),
      create("td", {}, renderType(value), value.default === undefined || value.default === null ? "" : ` = ${JSON.stringify(value.default)}`),
      create("td", {}, value.description ?? "")));
  return create("details", { class: "card", id: `schema-${name}` }, create("summary", {}, create("code", {}, name), create("span", { class: "quiet" }, ` ${schema.description ?? ""}`)),
    rows.length ? create("table", {}, create("tbody", {}, rows)) : renderType(schema));
}

function renderType(schema) {
  if (!schema) return "";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return create("a", { href: `#schema-${name}`, onclick: () => { document.getElementById(`schema-${name}`).open = true; } }, name);
  }
  if (schema.allOf) return create("span", {}, schema.allOf.map((part, index) => [index ? " with " : "", part.$ref ? renderType(part) : renderMembers(part)]));
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if ("const" in schema) return JSON.stringify(schema.const);
  const options = schema.anyOf ?? schema.oneOf;
  if (options) return create("span", {}, options.map((option, index) => [index ? " | " : "", renderType(option)]));
  if (schema.type === "array") return create("span", {}, renderType(schema.items) || "any", "[]");
  return schema.format ?? schema.type ?? "any";
}

function renderMembers(schema) {
  return Object.entries(schema.properties ?? {}).map(([name, value]) => [create("code", {}, name), ": ", renderType(value)]);
}

function formatCurl(path, method, operation, body) {
  const lines = [`curl "${location.origin}/api${path}"`];
  if (method !== "get") lines.push(`-X ${method.toUpperCase()}`);
  if (!operation.security) lines.push('-H "x-functions-key: $KEY"');
  if (body) lines.push('-H "Content-Type: application/json"', `-d '${JSON.stringify(body.example)}'`);
  return lines.join(" \\\n  ");
}
