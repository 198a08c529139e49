// The dashboard: one page with three views and a form for the function key.
import { key, Problem } from "./api.js";
import { create, show } from "./dom.js";
import { showForm } from "./form.js";
import { showJob } from "./job.js";
import { showList } from "./list.js";
import { renderError } from "./format.js";

const main = document.getElementById("main");
const forget = document.getElementById("forget");
let navigation = new AbortController();
let shownView = null;

function parseRoute() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  const job = path.match(/^\/jobs\/([^/]+)$/);
  const search = new URLSearchParams(query);
  if (job) return { name: `#${path}`, render: (container, signal) => showJob(container, job[1], search, signal) };
  if (path === "/new") return { name: "#/new", render: (container, signal) => showForm(container, search, signal) };
  return { name: "#/", render: (container, signal) => showList(container, search, signal) };
}

async function renderView() {
  navigation.abort();
  navigation = new AbortController();
  const { signal } = navigation;
  const view = parseRoute();
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === view.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  forget.hidden = !key.get();
  if (!key.get()) return askForKey();
  if (view.name !== shownView) show(main, create("p", { role: "status" }, "Loading …"));
  shownView = view.name;
  try {
    await view.render(main, signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) askForKey(key.get() && "This key was not accepted. Check it, or ask the operator of this service.");
    else {
      shownView = null;
      show(main, renderError(error, renderView));
    }
  }
}

function askForKey(error) {
  document.title = "Sign in · Geolathe";
  shownView = null;
  forget.hidden = true;
  const input = create("input", { id: "key", type: "password", autocomplete: "current-password", required: true, "aria-describedby": "key-help", "aria-invalid": error ? "true" : null });
  show(main, create("form", { class: "card", onsubmit: (event) => { event.preventDefault(); key.set(input.value.trim()); renderView(); } },
    create("h1", {}, "Function key"),
    create("div", { class: "field" }, create("label", { for: "key" }, "Key"), input,
      create("p", { class: "help", id: "key-help" }, "The key is stored in this browser only. For a local stack, ", create("code", {}, "./dev status --json"), " prints it as ", create("code", {}, "function_key"), ". In Azure it is listed under App keys."),
      error ? create("p", { class: "wrong", role: "alert" }, error) : null),
    create("button", { class: "primary" }, "Continue")));
  input.focus();
}

document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
forget.addEventListener("click", () => { key.forget(); renderView(); });
window.addEventListener("hashchange", renderView);
renderView();
