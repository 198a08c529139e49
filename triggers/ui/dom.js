// Elements without a framework. Text is never parsed as markup.

export function h(tag, attributes = {}, ...children) {
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
export function show(place, ...children) {
  const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
  place.replaceChildren(...children.flat(Infinity).filter(Boolean));
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

// Updates the content of an element by changing only what differs, so that a poll does not disturb
// focus, selection or a click. Listeners remain those of the first rendering.
export function refresh(place, ...children) {
  const wanted = children.flat(Infinity).filter(Boolean);
  wanted.forEach((node, index) => {
    const here = place.childNodes[index] ?? null;
    const twin = node.id ? document.getElementById(node.id) : here;
    if (twin?.parentNode !== place || twin.nodeName !== node.nodeName || twin.id !== node.id) {
      place.insertBefore(node, here);
      return;
    }
    if (twin !== here) place.insertBefore(twin, here);
    if (!twin.isEqualNode(node)) change(twin, node);
  });
  while (place.childNodes.length > wanted.length) place.lastChild.remove();
}

// Leaves `open` as it is: the reader decides whether details are open.
function change(twin, node) {
  if (node.nodeType === Node.TEXT_NODE) {
    twin.data = node.data;
    return;
  }
  for (const { name } of [...twin.attributes]) if (!node.hasAttribute(name) && name !== "open") twin.removeAttribute(name);
  for (const { name, value } of node.attributes) if (twin.getAttribute(name) !== value) twin.setAttribute(name, value);
  refresh(twin, [...node.childNodes]);
}

// Only http(s) URLs become links, because results are data.
export function link(url, ...content) {
  const safe = /^https?:\/\//.test(url);
  return safe ? h("a", { href: url, rel: "noreferrer" }, ...content) : h("span", {}, ...content);
}
