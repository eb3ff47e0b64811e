// Draws parts of dashboards as PNG files, with Grafana's own components in headless Chromium. The
// input on stdin is {chromium, prometheus, scrape, pictures}: the path of the browser, the address of
// a Prometheus, how many seconds it has between scrapes, and what page.jsx draws, each with the
// path of its file. It prints a line for each picture, and one for each panel that it
// could not draw; then it fails.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, extname, join, normalize } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const types = { ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2" };

const input = JSON.parse(await text(process.stdin));
const files = await bundle();
const server = await serve(files);
try {
  await draw(`http://127.0.0.1:${server.address().port}/`);
} finally {
  server.closeAllConnections();
  server.close();
}

// bundle builds the page. Grafana's packages are taken in their CommonJS form: the other one names
// exports of CommonJS packages that a bundler does not find.
async function bundle() {
  const built = await esbuild.build({
    entryPoints: [join(here, "page.jsx")],
    bundle: true,
    write: false,
    outdir: "/",
    jsx: "automatic",
    define: { "process.env.NODE_ENV": '"production"', global: "globalThis" },
    alias: {
      "@grafana/data": join(here, "node_modules/@grafana/data/dist/cjs/index.cjs"),
      "@grafana/ui": join(here, "node_modules/@grafana/ui/dist/cjs/index.cjs"),
    },
    loader: { ".woff": "dataurl", ".woff2": "dataurl", ".ttf": "empty" },
    plugins: [{ name: "without", setup: without }],
    logLevel: "error",
  });
  return new Map(built.outputFiles.map((file) => [file.path, file.contents]));
}

// without leaves out the editor of code and the maps, which no panel of ours needs. They are most of
// the code.
function without(build) {
  build.onResolve({ filter: /^(monaco-editor|ol)(\/|$)/ }, ({ path }) => ({ path, namespace: "nothing" }));
  build.onLoad({ filter: /.*/, namespace: "nothing" }, () => ({ contents: "module.exports = {}", loader: "js" }));
}

// serve serves the page and Grafana's icons, and passes questions on to Prometheus.
async function serve(files) {
  const page = '<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/page.css"><body><div id="root"></div><script src="/page.js"></script>';
  const server = createServer(async (request, response) => {
    const { pathname, search } = new URL(request.url, "http://localhost");
    try {
      if (pathname === "/") {
        response.setHeader("Content-Type", "text/html");
        response.end(page);
      } else if (pathname.startsWith("/api/")) {
        const answer = await fetch(input.prometheus + pathname + search);
        response.setHeader("Content-Type", "application/json");
        response.end(Buffer.from(await answer.arrayBuffer()));
      } else {
        response.setHeader("Content-Type", types[extname(pathname)] ?? "application/octet-stream");
        const icons = normalize(pathname).replace(/^\/public\/(build\/)?/, "");
        response.end(files.get(pathname) ?? (await readFile(join(here, "node_modules/@grafana/ui/dist/public", icons))));
      }
    } catch (err) {
      response.statusCode = 404;
      response.end(String(err));
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

// draw starts the browser and speaks its DevTools protocol over two pipes.
async function draw(address) {
  const profile = await mkdtemp(join(tmpdir(), "pingreq-pictures-"));
  const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync", "--disable-dev-shm-usage",
    "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-pipe", `--user-data-dir=${profile}`];
  const browser = spawn(input.chromium, flags, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
  const ended = once(browser, "exit");
  try {
    const send = protocol(browser);
    const { targetId } = await send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
    const tab = (method, params) => send(method, params, sessionId);
    await tab("Page.enable");
    for (const { file, ...picture } of input.pictures) {
      await tab("Emulation.setDeviceMetricsOverride", { width: picture.width, height: 800, deviceScaleFactor: 1, mobile: false });
      await tab("Page.navigate", { url: address });
      const shown = JSON.stringify({ ...picture, scrape: input.scrape });
      // A page that is still loading has no draw yet.
      const expression = `(async () => { while (!window.draw) await new Promise((next) => setTimeout(next, 50)); return window.draw(${shown}); })()`;
      const { result, exceptionDetails } = await tab("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
      if (exceptionDetails) {
        throw new Error(`${file}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
      }
      await tab("Emulation.setDeviceMetricsOverride", { width: picture.width, height: result.value.height, deviceScaleFactor: 1, mobile: false });
      await tab("Runtime.evaluate", { expression: "window.settled()", awaitPromise: true });
      const { data } = await tab("Page.captureScreenshot", { format: "png", optimizeForSpeed: false });
      const png = Buffer.from(data, "base64");
      await writeFile(file, png);
      console.log(`${file}: ${picture.width}x${result.value.height}, ${Math.round(png.length / 1024)} KiB`);
      for (const fault of result.value.faults) {
        console.log(`${file}: ${fault}`);
        process.exitCode = 1;
      }
    }
    await send("Browser.close");
  } catch (err) {
    browser.kill();
    throw err;
  } finally {
    await ended;
    await rm(profile, { recursive: true, force: true });
  }
}

// protocol returns a function that sends a command and returns its result. Messages end with a zero.
function protocol(browser) {
  const [, , , out, into] = browser.stdio;
  const waiting = new Map();
  let last = 0;
  let rest = "";
  into.setEncoding("utf8");
  into.on("data", (chunk) => {
    const messages = (rest + chunk).split("\0");
    rest = messages.pop();
    for (const message of messages.map((m) => JSON.parse(m))) {
      const { resolve, reject } = waiting.get(message.id) ?? {};
      waiting.delete(message.id);
      if (message.error) {
        reject?.(new Error(message.error.message));
      } else {
        resolve?.(message.result);
      }
    }
  });
  browser.on("exit", () => waiting.forEach(({ reject }) => reject(new Error("the browser ended"))));
  return (method, params = {}, sessionId = undefined) =>
    new Promise((resolve, reject) => {
      waiting.set(++last, { resolve, reject });
      out.write(JSON.stringify({ id: last, method, params, sessionId }) + "\0");
    });
}
