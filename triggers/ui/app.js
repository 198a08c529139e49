// The dashboard: one page with three views and a form for the function key.
import { key, Problem } from "./api.js";
import { h, show } from "./dom.js";
import { formView } from "./form.js";
import { jobView } from "./job.js";
import { listView } from "./list.js";
import { sorry } from "./words.js";

const main = document.getElementById("main");
const forget = document.getElementById("forget");
let leaving = new AbortController();
let shown = null;

function route() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  const job = path.match(/^\/jobs\/([^/]+)$/);
  const search = new URLSearchParams(query);
  if (job) return { name: `#${path}`, run: (place, signal) => jobView(place, job[1], search, signal) };
  if (path === "/new") return { name: "#/new", run: (place, signal) => formView(place, search, signal) };
  return { name: "#/", run: (place, signal) => listView(place, search, signal) };
}

async function visit() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const view = route();
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === view.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  forget.hidden = !key.get();
  if (!key.get()) return askForKey();
  if (view.name !== shown) show(main, h("p", { role: "status" }, "Loading …"));
  shown = view.name;
  try {
    await view.run(main, signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) askForKey(key.get() && "This key was not accepted. Check it, or ask the operator of this service.");
    else {
      shown = null;
      show(main, sorry(error, visit));
    }
  }
}

function askForKey(wrong) {
  document.title = "Sign in · Geolathe";
  shown = null;
  forget.hidden = true;
  const input = h("input", { id: "key", type: "password", autocomplete: "current-password", required: true, "aria-describedby": "key-help", "aria-invalid": wrong ? "true" : null });
  show(main, h("form", { class: "card", onsubmit: (event) => { event.preventDefault(); key.set(input.value.trim()); visit(); } },
    h("h1", {}, "Function key"),
    h("div", { class: "field" }, h("label", { for: "key" }, "Key"), input,
      h("p", { class: "help", id: "key-help" }, "The key is stored in this browser only. For a local stack, ", h("code", {}, "./dev status --json"), " prints it as ", h("code", {}, "function_key"), ". In Azure it is listed under App keys."),
      wrong ? h("p", { class: "wrong", role: "alert" }, wrong) : null),
    h("button", { class: "primary" }, "Continue")));
  input.focus();
}

document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
forget.addEventListener("click", () => { key.forget(); visit(); });
window.addEventListener("hashchange", visit);
visit();
