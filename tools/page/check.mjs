// Opens a page in Chromium and prints, as JSON, what a reader would find there and what the page tried to do.
//
//     node tools/page/check.mjs PAGE.html [FOLDER]      with FOLDER: screenshots of it, 1280 and 400 wide, light and dark

import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [file, shots] = process.argv.slice(2);
const address = pathToFileURL(file).href;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});
const found = { requests: [], complaints: [], views: [] };

/** A page that lets nothing through but its own file, and notes all it tries. */
async function open(width, colorScheme) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
  const page = await context.newPage();
  await page.route("**/*", (route) => {
    const url = route.request().url();
    if (url === address) return route.continue();
    found.requests.push(url);
    return route.abort();
  });
  page.on("console", (message) => found.complaints.push(message.text()));
  page.on("pageerror", (error) => found.complaints.push(String(error)));
  page.on("dialog", (dialog) => { found.complaints.push(`dialog ${dialog.message()}`); dialog.dismiss(); });
  await page.goto(address);
  return page;
}

/** What stands on the page. */
function read() {
  const text = (node) => node?.textContent.trim().replace(/\s+/g, " ") ?? null;
  const all = (selector) => [...document.querySelectorAll(selector)];
  const one = (selector) => text(document.querySelector(selector));
  return {
    title: one("h1"),
    status: one(".badge"),
    figures: Object.fromEntries(all(".figure").map((node) => [text(node.querySelector(".name")), text(node.querySelector("strong"))])),
    error: one(".failure .message"),
    errorOutput: one(".failure .output"),
    rows: all(".row").map((node) => ({
      name: text(node.querySelector(".what .text")),
      stage: text(node.querySelector(".stage")),
      kind: [...node.classList].slice(1),
      why: all(".reasons li").length ? [...node.querySelectorAll(".reasons li")].map(text) : [],
      bar: node.querySelector(".track b")?.getBoundingClientRect().width ?? null,
      open: node.open,
    })),
    stages: all(".stages tr").map((node) => [text(node.querySelector("th")), text(node.querySelector(".note"))]),
    layers: all("#size .bars:not(.stages) tr").map((node) => text(node.querySelector("th"))),
    cells: all(".cell").map((node) => text(node.querySelector("span"))),
    waste: all("#size .list tr code:first-child").map(text),
    warnings: all(".warning strong").map(text),
    facts: Object.fromEntries(all("dt").map((node) => [text(node), [...node.nextElementSibling.children].map(text)])),
    scripts: all("script").length,
    images: all("img").length,
  };
}

for (const width of [1280, 400]) {
  for (const scheme of ["light", "dark"]) {
    const page = await open(width, scheme);
    if (!found.page) found.page = await page.evaluate(read);
    found.views.push(await page.evaluate(
      ([width, scheme]) => ({ width, scheme, overflow: document.documentElement.scrollWidth - innerWidth }),
      [width, scheme],
    ));
    if (shots) await page.screenshot({ path: `${shots}/${width}-${scheme}.png`, fullPage: true });
    if (width === 1280 && scheme === "light") {
      await page.locator('[data-show="critical"]').click();
      found.critical = await page.locator(".row:visible").count();
      await page.locator('[data-show="all"]').click();
      await page.locator(".row summary").first().click();
      found.opened = await page.locator(".row").first().getAttribute("open");
    }
    await page.context().close();
  }
}
await browser.close();
console.log(JSON.stringify(found));
