// A form generated from a job type's JSON Schema, with upload by drag and drop.
import { request, upload } from "./api.js";
import { create, show } from "./dom.js";
import { capitalize, formatBytes, formatName, renderError } from "./format.js";

const RASTER = /\.(tiff?|gtiff|jp2|j2k|png|img|nc)$/i;

export async function showForm(container, search, signal) {
  document.title = "New job · Geolathe";
  const { job_types: types } = await request("/job-types", { signal });
  const previous = search.get("from") ? await request(`/jobs/status/${search.get("from")}`, { signal }) : null;
  const wanted = search.get("type") ?? previous?.job_type ?? "process_raster";
  const type = types.find((each) => each.job_type === wanted) ?? types[0];
  // A raster that was checked is processed with the same parameters, and the other way round.
  const related = [type.job_type, previous?.job_type].every((name) => ["process_raster", "validate_raster"].includes(name));
  const values = previous && (previous.job_type === type.job_type || related) ? previous.parameters : {};
  if (search.has("dry_run")) values.dry_run = search.get("dry_run") === "true";
  const fields = readSchema(type, values);
  const problems = create("div", {});
  const button = create("button", { class: "primary", id: "submit" }, "Submit");
  const dryRun = type.job_type === "process_raster" ? types.find((each) => each.job_type === "validate_raster") : null;
  const check = dryRun ? create("button", { type: "button", id: "check", onclick: () => submit(dryRun, fields.filter(({ name }) => name in dryRun.parameters.properties), problems, check) }, "Check first")
    : "dry_run" in type.parameters.properties ? create("button", { type: "button", id: "check", onclick: () => submit(type, fields, problems, check, { dry_run: true }) }, "Check first") : null;
  const form = create("form", { class: "card", novalidate: true, onsubmit: (event) => { event.preventDefault(); submit(type, fields, problems, button); } },
    previous?.error ? renderError(previous.error) : null,
    fields.some((field) => field.name === "blob_name") ? createDropZone(fields, button, signal) : null,
    createFolderList(fields, signal),
    fields.filter(isMain).map(renderField),
    create("details", { open: Boolean(previous) || !fields.some(isMain) }, create("summary", {}, "Options"), create("div", { class: "columns" }, fields.filter((field) => !isMain(field)).map(renderField))),
    problems, create("div", { class: "row" }, button, check));
  show(container, create("h1", { tabindex: -1 }, previous ? "Submit again" : "New job"),
    create("div", { class: "field" }, create("label", { for: "job-type" }, "Job type"),
      create("select", { id: "job-type", onchange: (event) => { location.hash = `#/new?type=${event.target.value}`; } },
        types.map((each) => create("option", { value: each.job_type, selected: each === type }, formatName(each.job_type)))),
      create("p", { class: "help" }, capitalize(type.description))),
    form);
}

// Fields that are not folded away: a job over a folder is about its prefix, even if names can be listed instead.
function isMain({ name, required }) {
  return required || name === "prefix";
}

// Offers the folders of the container of uploads for a prefix, level by level.
function createFolderList(fields, signal) {
  const [prefix, container] = ["prefix", "container_name"].map((name) => fields.find((field) => field.name === name)?.input);
  if (!prefix || !container) return null;
  const list = create("datalist", { id: "folders" });
  const offer = async () => {
    const above = prefix.value.slice(0, prefix.value.lastIndexOf("/") + 1);
    // Without suggestions, a prefix can still be typed.
    const found = await request(`/uploads/folders?prefix=${encodeURIComponent(above)}`, { signal }).catch(() => null);
    if (!found) return;
    container.value ||= found.container_name;
    show(list, found.folders.map((name) => create("option", { value: name })));
  };
  prefix.setAttribute("list", list.id);
  for (const event of ["focus", "input"]) prefix.addEventListener(event, offer);
  return list;
}

function readSchema({ parameters: schema, example }, values) {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).map(([name, whole]) => {
    const options = whole.anyOf?.filter((option) => option.type !== "null") ?? [whole];
    const shape = { ...whole, ...(options.length === 1 ? options[0] : { type: "json" }) };
    return { name, shape, required: required.has(name), input: createControl(name, shape, values[name] ?? whole.default ?? null, example[name]) };
  });
}

function createControl(name, shape, value, example) {
  const base = { id: `field-${name}`, name, "aria-describedby": `help-${name} wrong-${name}` };
  if (shape.enum) return create("select", base, shape.enum.map((option) => create("option", { value: option, selected: option === value }, option)));
  if (shape.type === "boolean") {
    return create("select", base, [["", "default"], ["true", "yes"], ["false", "no"]].filter(([text]) => text || shape.default === null || shape.default === undefined)
      .map(([text, label]) => create("option", { value: text, selected: String(value ?? "") === text }, label)));
  }
  if (shape.type === "integer" || shape.type === "number") return create("input", { ...base, type: "number", step: shape.type === "integer" ? 1 : "any", min: shape.minimum, max: shape.maximum, value: value ?? "" });
  if (shape.type === "array" || shape.type === "object" || shape.type === "json") return create("textarea", { ...base, rows: 3, value: value === null ? "" : JSON.stringify(value) });
  const hint = shape.format === "date-time" ? "2026-01-31T12:00:00Z" : example ? `such as ${example}` : "";
  return create("input", { ...base, type: "text", value: value ?? "", placeholder: hint, autocomplete: "off", spellcheck: "false" });
}

function renderField({ name, shape, required, input }) {
  input.required = required;
  return create("div", { class: "field" }, create("label", { for: input.id }, formatName(name), required ? create("span", { class: "quiet" }, " (required)") : null), input,
    create("p", { class: "help", id: `help-${name}` }, capitalize(shape.description ?? "")),
    create("p", { class: "wrong", id: `wrong-${name}` }));
}

function readField({ shape, input }) {
  const text = input.value.trim();
  if (text === "") return undefined;
  if (shape.type === "boolean") return text === "true";
  if (shape.type === "integer" || shape.type === "number") return Number(text);
  if (["array", "object", "json"].includes(shape.type)) {
    try { return JSON.parse(text); } catch { return text; }
  }
  return text;
}

async function submit(type, fields, problems, button, more = {}) {
  const invalid = fields.filter(({ input }) => input.validity.badInput).map(({ name }) => ({ field: name, message: "this is not a number" }));
  if (invalid.length) return showFieldErrors(fields, invalid);
  const body = { ...Object.fromEntries(fields.map((field) => [field.name, readField(field)]).filter(([, value]) => value !== undefined)), ...more };
  showFieldErrors(fields, []);
  problems.replaceChildren();
  button.disabled = true;
  try {
    const response = await request(`/jobs/submit/${type.job_type}`, { method: "POST", body });
    // Going back returns to the submitted values.
    window.history.replaceState(null, "", `#/new?from=${response.job_id}`);
    location.hash = `#/jobs/${response.job_id}${response.idempotent ? "?known" : ""}`;
  } catch (error) {
    const hasOtherErrors = showFieldErrors(fields, error.errors ?? []);
    if (hasOtherErrors || !error.errors?.length) problems.replaceChildren(renderError(error));
    button.disabled = false;
  }
}

// Shows each error next to its field. Returns whether an error belongs to no field.
function showFieldErrors(fields, errors) {
  for (const { name, input } of fields) {
    const fieldError = errors.find((error) => error.field.split(".")[0] === name);
    input.toggleAttribute("aria-invalid", false);
    if (fieldError) input.setAttribute("aria-invalid", "true");
    document.getElementById(`wrong-${name}`)?.replaceChildren(fieldError ? capitalize(fieldError.message) : "");
    if (fieldError) input.closest("details")?.setAttribute("open", "");
  }
  fields.find(({ input }) => input.hasAttribute("aria-invalid"))?.input.focus();
  return errors.some((error) => !fields.some((field) => field.name === error.field.split(".")[0]));
}

function createDropZone(fields, button, signal) {
  const progress = create("div", { id: "upload", role: "status" });
  const picker = create("input", { id: "file", type: "file", multiple: true, "aria-describedby": "file-help" });
  const zone = create("div", { class: "drop" }, create("label", { for: "file" }, create("strong", {}, "Drop a raster here, or choose it")), picker,
    create("p", { class: "quiet", id: "file-help" }, "GeoTIFF, JPEG 2000, PNG, ERDAS IMAGINE or NetCDF. Sidecar files (.tfw, .aux.xml, .prj) can be added with it. Or enter the name of an uploaded blob below."), progress);
  const send = (files) => sendFiles([...files], fields, progress, button, signal);
  picker.addEventListener("change", () => send(picker.files));
  // Without this, the browser would open a file that is dropped outside the zone.
  const onDocument = (kind, then) => document.addEventListener(kind, (event) => { event.preventDefault(); then(event); }, { signal });
  for (const kind of ["dragenter", "dragover"]) onDocument(kind, () => zone.classList.add("over"));
  onDocument("dragleave", (event) => { if (!event.relatedTarget) zone.classList.remove("over"); });
  onDocument("drop", (event) => { zone.classList.remove("over"); send(event.dataTransfer.files); });
  return zone;
}

async function sendFiles(files, fields, progress, button, signal) {
  const raster = files.find((file) => RASTER.test(file.name));
  if (!raster) return show(progress, renderError(new Error(`${files.map((file) => file.name).join(", ") || "The selection"} is not a raster. Choose a .tif, .jp2, .png, .img or .nc file.`)));
  button.disabled = true;
  try {
    // Sidecars first: the raster is read together with them.
    for (const file of [...files.filter((each) => each !== raster), raster]) {
      const bar = create("progress", { max: file.size, value: 0, "aria-label": `upload of ${file.name}` });
      const sent = create("p", { class: "quiet", "aria-hidden": "true" });
      const onprogress = (size) => { bar.value = size; sent.textContent = `${formatBytes(size)} of ${formatBytes(file.size)}`; };
      show(progress, create("p", {}, `Sending ${file.name} …`), bar, sent);
      const grant = await upload(file, file.name, onprogress, signal);
      if (file === raster) fillBlobName(fields, grant);
    }
    show(progress, create("p", {}, `✓ ${raster.name} is in storage.`));
  } catch (error) {
    if (error.name !== "AbortError") show(progress, renderError(error, () => sendFiles(files, fields, progress, button, signal)));
  }
  button.disabled = false;
}

function fillBlobName(fields, grant) {
  for (const { name, input } of fields) if (name === "blob_name" || name === "container_name") input.value = grant[name];
}
