
# ── files: a server for what browsers get ────────────────────────────────────────────────────────────────────────────
FROM runtime AS files
COPY --chmod=755 <<'SCRIPT' /usr/local/bin/serve-files
#!/usr/bin/env node
// usage: serve-files FOLDER [BASE]
// Serves a folder on $PORT, below the path BASE as well. A path without an ending that is no file is the application's own: it gets index.html.
const { createReadStream, promises: fs } = require("fs");
const { createServer } = require("http");
const path = require("path");
const root = path.resolve(process.argv[2]);
const base = process.argv[3] ?? "";
const types = { html: "text/html; charset=utf-8", js: "text/javascript", mjs: "text/javascript", css: "text/css", json: "application/json",
  svg: "image/svg+xml", png: "image/png", jpg: "image/jpeg", jpeg: "image/jpeg", gif: "image/gif", webp: "image/webp", avif: "image/avif",
  ico: "image/x-icon", woff: "font/woff", woff2: "font/woff2", ttf: "font/ttf", txt: "text/plain; charset=utf-8", xml: "application/xml",
  wasm: "application/wasm", webmanifest: "application/manifest+json", pdf: "application/pdf", mp4: "video/mp4" };
const found = async (file) => {
  if (file !== root && !file.startsWith(root + path.sep)) return;
  const stat = await fs.stat(file).catch(() => undefined);
  return stat?.isDirectory() ? found(path.join(file, "index.html")) : stat?.isFile() ? { file, stat } : undefined;
};
// As it is asked for, or with `.html` behind it.
const page = async (name) => (await found(path.join(root, name))) ?? found(`${path.join(root, name).replace(/\/$/, "")}.html`);
const server = createServer(async (request, response) => {
  if (request.method !== "GET" && request.method !== "HEAD") return response.writeHead(405, { allow: "GET, HEAD" }).end();
  let name;
  try {
    name = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
  } catch {
    return response.writeHead(400).end();
  }
  let status = 200;
  let hit = base && `${name}/`.startsWith(`${base}/`) ? await page(name.slice(base.length)) : undefined;
  hit ??= await page(name);
  if (!hit && !path.extname(name)) hit = await found(path.join(root, "index.html"));
  if (!hit) [status, hit] = [404, await found(path.join(root, "404.html"))];
  if (!hit) return response.writeHead(404, { "content-type": "text/plain" }).end("not found\n");
  const etag = `"${hit.stat.size.toString(16)}-${hit.stat.mtimeMs.toString(16)}"`;
  // A name with a hash of the content, as bundlers give it (`index-B-x9Fk2a.js`); `apple-touch-icon.png` has none.
  const hash = /[.-](\w{8,}|[\w-]{8})\.\w+$/.exec(name)?.[1] ?? "";
  const hashed = /[a-z]/i.test(hash) && (/\d/.test(hash) || (hash.length === 8 && /[A-Z]/.test(hash)));
  const headers = { etag, "cache-control": hashed ? "public, max-age=31536000, immutable" : "no-cache" };
  if (request.headers["if-none-match"] === etag) return response.writeHead(304, headers).end();
  headers["content-type"] = types[path.extname(hit.file).slice(1)] ?? "application/octet-stream";
  headers["content-length"] = hit.stat.size;
  response.writeHead(status, headers);
  if (request.method === "HEAD") return response.end();
  createReadStream(hit.file).on("error", () => response.destroy()).pipe(response);
});
server.listen(Number(process.env.PORT));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(0));
SCRIPT
