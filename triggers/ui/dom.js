// Elements without a framework: text is always text, never markup.

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

// Puts the new content in place of the old, and the focus back where it was.
export function show(place, ...children) {
  const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
  place.replaceChildren(...children.flat(Infinity).filter(Boolean));
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

// Makes the place look like the new content by changing only what differs: what is focused, selected
// or being clicked while a poll comes in stays. Listeners stay those of the first drawing.
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

// Whether details are open is for the reader to say.
function change(twin, node) {
  if (node.nodeType === Node.TEXT_NODE) {
    twin.data = node.data;
    return;
  }
  for (const { name } of [...twin.attributes]) if (!node.hasAttribute(name) && name !== "open") twin.removeAttribute(name);
  for (const { name, value } of node.attributes) if (twin.getAttribute(name) !== value) twin.setAttribute(name, value);
  refresh(twin, [...node.childNodes]);
}

// Only web addresses become links: results are data.
export function link(url, ...content) {
  const safe = /^https?:\/\//.test(url);
  return safe ? h("a", { href: url, rel: "noreferrer" }, ...content) : h("span", {}, ...content);
}
