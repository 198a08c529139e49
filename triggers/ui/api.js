// Requests to the API, with the function key that this browser stores.

const STORAGE_KEY = "geolathe-key";
const RENEW_BEFORE = 5 * 60_000; // ms: an upload URL closer to its expiry is replaced before the next block

export const key = {
  get: () => localStorage.getItem(STORAGE_KEY) ?? "",
  set: (value) => localStorage.setItem(STORAGE_KEY, value),
  forget: () => localStorage.removeItem(STORAGE_KEY),
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

export async function request(path, { method = "GET", body, signal, etag } = {}) {
  const headers = { "x-functions-key": key.get() };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (etag) headers["If-None-Match"] = etag;
  let response;
  try {
    response = await fetch(`/api${path}`, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0);
  }
  if (response.status === 304) return { etag, unchanged: true };
  const data = await response.json().catch(() => null);
  if (!response.ok) throw new Problem(response.status, data);
  return { ...data, etag: response.headers.get("ETag") };
}

export function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    const abort = () => { clearTimeout(timer); reject(new DOMException("left", "AbortError")); };
    const timer = setTimeout(() => { signal?.removeEventListener("abort", abort); resolve(); }, seconds * 1000);
    signal?.addEventListener("abort", abort, { once: true });
  });
}

// Uploads a file straight to storage in blocks; `onprogress` gets the number of bytes sent.
// The block ids have a random prefix, because two simultaneous uploads to one name share a list of blocks.
export async function upload(file, name, onprogress, signal) {
  const options = { method: "POST", body: { name, size: file.size }, signal };
  let grant = await request("/uploads", options);
  const prefix = Math.random().toString(16).slice(2, 10).padEnd(8, "0"), ids = [];
  for (let start = 0; start < file.size; start += grant.block_size) {
    ids.push(btoa(prefix + String(ids.length).padStart(6, "0")));
    if (Date.parse(grant.expires_at) < Date.now() + RENEW_BEFORE) grant = await request("/uploads", options);
    const block = file.slice(start, start + grant.block_size);
    await putBlock(`${grant.upload_url}&comp=block&blockid=${encodeURIComponent(ids.at(-1))}`, block, signal, (sent) => onprogress(start + sent));
  }
  const list = ids.map((id) => `<Latest>${id}</Latest>`).join("");
  await putBlock(`${grant.upload_url}&comp=blocklist`, `<?xml version="1.0" encoding="utf-8"?><BlockList>${list}</BlockList>`, signal, () => {});
  return grant;
}

async function putBlock(url, body, signal, onprogress) {
  for (let attempt = 1; ; attempt += 1) {
    const status = await sendOnce(url, body, signal, onprogress);
    if (status >= 200 && status < 300) return;
    if (attempt === 3 || (status && status < 500)) {
      throw new Problem(status, { detail: status ? `Storage refused the upload (HTTP ${status}). Try again.` : "Storage cannot be reached from this browser. Check the network connection, and that the CORS rules of the storage account allow PUT from this page." });
    }
    await sleep(attempt, signal);
  }
}

// The HTTP status, or 0 without a response. Unlike fetch, XMLHttpRequest reports upload progress.
function sendOnce(url, body, signal, onprogress) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open("PUT", url);
    xhr.upload.onprogress = (event) => onprogress(event.loaded);
    const abort = () => xhr.abort();
    xhr.onloadend = () => { signal.removeEventListener("abort", abort); resolve(xhr.status); };
    xhr.onabort = () => reject(new DOMException("left", "AbortError"));
    signal.addEventListener("abort", abort, { once: true });
    xhr.send(body);
  });
}
