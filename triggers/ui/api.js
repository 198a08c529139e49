// Requests to the API, with the function key that this browser stores.

const KEY = "geolathe-key";
const SOON = 5 * 60_000; // ms: an upload URL that expires sooner may not outlast the next block

export const key = {
  get: () => localStorage.getItem(KEY) ?? "",
  set: (value) => localStorage.setItem(KEY, value),
  forget: () => localStorage.removeItem(KEY),
};

// A problem (RFC 9457) as an error, with the invalid fields.
export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail ?? body?.title ?? (status ? `The service responded with HTTP ${status}.` : "The service cannot be reached. Check the network connection."));
    this.status = status;
    this.code = body?.code ?? "";
    this.errors = body?.errors ?? [];
  }
}

export async function ask(path, { method = "GET", body, signal, etag } = {}) {
  const headers = { "x-functions-key": key.get() };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (etag) headers["If-None-Match"] = etag;
  let answer;
  try {
    answer = await fetch(`/api${path}`, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0);
  }
  if (answer.status === 304) return { etag, unchanged: true };
  const data = await answer.json().catch(() => null);
  if (!answer.ok) throw new Problem(answer.status, data);
  return { ...data, etag: answer.headers.get("ETag") };
}

export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const leave = () => { clearTimeout(timer); reject(new DOMException("left", "AbortError")); };
    const timer = setTimeout(() => { signal?.removeEventListener("abort", leave); resolve(); }, seconds * 1000);
    signal?.addEventListener("abort", leave, { once: true });
  });
}

// Uploads a file straight to storage in blocks; `onprogress` gets the number of bytes sent.
// Blocks belong to the blob, so random ids keep two simultaneous uploads to one name apart.
export async function upload(file, name, onprogress, signal) {
  const wanted = { method: "POST", body: { name, size: file.size }, signal };
  let grant = await ask("/uploads", wanted);
  const own = Math.random().toString(16).slice(2, 10).padEnd(8, "0"), ids = [];
  for (let start = 0; start < file.size; start += grant.block_size) {
    ids.push(btoa(own + String(ids.length).padStart(6, "0")));
    if (Date.parse(grant.expires_at) < Date.now() + SOON) grant = await ask("/uploads", wanted);
    const block = file.slice(start, start + grant.block_size);
    await put(`${grant.upload_url}&comp=block&blockid=${encodeURIComponent(ids.at(-1))}`, block, signal, (sent) => onprogress(start + sent));
  }
  const list = ids.map((id) => `<Latest>${id}</Latest>`).join("");
  await put(`${grant.upload_url}&comp=blocklist`, `<?xml version="1.0" encoding="utf-8"?><BlockList>${list}</BlockList>`, signal, () => {});
  return grant;
}

async function put(url, body, signal, onprogress) {
  for (let attempt = 1; ; attempt += 1) {
    const status = await send(url, body, signal, onprogress);
    if (status >= 200 && status < 300) return;
    if (attempt === 3 || (status && status < 500)) {
      throw new Problem(status, { detail: status ? `Storage refused the upload (HTTP ${status}). Try again.` : "Storage cannot be reached from this browser. Check the network connection, and that the CORS rules of the storage account allow PUT from this page." });
    }
    await pause(attempt, signal);
  }
}

// The HTTP status, or 0 without a response. Unlike fetch, XMLHttpRequest reports upload progress.
function send(url, body, signal, onprogress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", url);
    request.upload.onprogress = (event) => onprogress(event.loaded);
    const leave = () => request.abort();
    request.onloadend = () => { signal.removeEventListener("abort", leave); resolve(request.status); };
    request.onabort = () => reject(new DOMException("left", "AbortError"));
    signal.addEventListener("abort", leave, { once: true });
    request.send(body);
  });
}
