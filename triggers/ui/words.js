// Times, names and states in words.
import { h } from "./dom.js";

export function state(status) {
  return h("span", { class: `state ${status}` }, status.replaceAll("_", " "));
}

export function about(job) {
  const parameters = job.parameters ?? {};
  return String(parameters.blob_name ?? parameters.message ?? job.job_type);
}

export function title(name) {
  const text = name.replaceAll("_", " ");
  return (text[0].toUpperCase() + text.slice(1)).replace(/\b(crs|jpeg|cog|stac|wmts)\b/gi, (word) => word.toUpperCase());
}

export function when(iso) {
  if (!iso) return "–";
  const date = new Date(iso);
  const seconds = (Date.now() - date) / 1000;
  const units = [[60, 1, "s"], [3600, 60, "min"], [86400, 3600, "h"], [Infinity, 86400, "d"]];
  const [, size, unit] = units.find(([limit]) => seconds < limit);
  const text = seconds < 5 ? "just now" : `${Math.floor(seconds / size)} ${unit} ago`;
  return h("time", { datetime: iso, title: date.toLocaleString() }, text);
}

export function span(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "";
  if (seconds < 1) return "less than 1 s";
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

export function lasted(row) {
  if (!row.started_at) return "";
  return span((new Date(row.finished_at ?? Date.now()) - new Date(row.started_at)) / 1000);
}

export function sorry(error, again) {
  return h("div", { class: "problem", role: "alert" },
    h("p", {}, h("strong", {}, error.code ? `${error.code}: ` : ""), error.message),
    again ? h("button", { type: "button", onclick: again }, "Try again") : null);
}
