// The API, with the function key that was given once.

const KEY = "geolathe-key";

export const key = {
  get: () => localStorage.getItem(KEY) ?? "",
  set: (value) => localStorage.setItem(KEY, value),
  forget: () => localStorage.removeItem(KEY),
};

// A problem (RFC 9457) in one sentence, with the fields that are wrong.
export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail ?? body?.title ?? (status ? `The service answered HTTP ${status}.` : "The service does not answer. Is the network there?"));
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
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => { clearTimeout(timer); reject(new DOMException("left", "AbortError")); }, { once: true });
  });
}

// Sends a file straight to storage, block by block; `onprogress` gets a share from 0 to 1.
export async function upload(file, name, onprogress, signal) {
  const grant = await ask("/uploads", { method: "POST", body: { name, size: file.size }, signal });
  const ids = [];
  for (let start = 0; start < file.size; start += grant.block_size) {
    ids.push(btoa(String(ids.length).padStart(6, "0")));
    const block = file.slice(start, start + grant.block_size);
    await put(`${grant.upload_url}&comp=block&blockid=${encodeURIComponent(ids.at(-1))}`, block, signal);
    onprogress(Math.min(1, (start + grant.block_size) / file.size));
  }
  const list = ids.map((id) => `<Latest>${id}</Latest>`).join("");
  await put(`${grant.upload_url}&comp=blocklist`, `<?xml version="1.0" encoding="utf-8"?><BlockList>${list}</BlockList>`, signal);
  return grant;
}

async function put(url, body, signal) {
  for (let attempt = 1; ; attempt += 1) {
    let answer;
    try {
      answer = await fetch(url, { method: "PUT", body, signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
    }
    if (answer?.ok) return;
    if (attempt === 3 || (answer && answer.status < 500)) {
      throw new Problem(answer?.status ?? 0, { detail: answer ? `Storage refused the upload (HTTP ${answer.status}). Try again.` : "Storage cannot be reached from this browser: its CORS rules must allow PUT from this page." });
    }
    await pause(attempt, signal);
  }
}
