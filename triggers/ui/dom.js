// Elements without a framework. Text is never parsed as markup.

export function create(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Replaces the content of an element and restores the focus.
export function show(container, ...children) {
  const focused = container.contains(document.activeElement) ? document.activeElement.id : "";
  container.replaceChildren(...children.flat(Infinity).filter(Boolean));
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

// Updates the content of an element by changing only what differs, so that a poll does not disturb
// focus, selection or a click. Listeners remain those of the first rendering.
export function refresh(container, ...children) {
  const wanted = children.flat(Infinity).filter(Boolean);
  wanted.forEach((node, index) => {
    const current = container.childNodes[index] ?? null;
    const existing = node.id ? document.getElementById(node.id) : current;
    if (existing?.parentNode !== container || existing.nodeName !== node.nodeName || existing.id !== node.id) {
      container.insertBefore(node, current);
      return;
    }
    if (existing !== current) container.insertBefore(existing, current);
    if (!existing.isEqualNode(node)) updateNode(existing, node);
  });
  while (container.childNodes.length > wanted.length) container.lastChild.remove();
}

// Leaves `open` as it is: the reader decides whether details are open.
function updateNode(existing, node) {
  if (node.nodeType === Node.TEXT_NODE) {
    existing.data = node.data;
    return;
  }
  for (const { name } of [...existing.attributes]) if (!node.hasAttribute(name) && name !== "open") existing.removeAttribute(name);
  for (const { name, value } of node.attributes) if (existing.getAttribute(name) !== value) existing.setAttribute(name, value);
  refresh(existing, [...node.childNodes]);
}

// Only http(s) URLs become links, because results are data.
export function createLink(url, ...content) {
  const safe = /^https?:\/\//.test(url);
  return safe ? create("a", { href: url, rel: "noreferrer" }, ...content) : create("span", {}, ...content);
}
