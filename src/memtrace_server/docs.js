// What /docs has more of in a browser: a search, buttons that copy, and calls to this server.

import { key, urlOf } from "./api.js";
import { button, copier, h } from "./dom.js";

const NARROW = matchMedia("(max-width: 50rem)");
const menu = document.querySelector("nav details");
const articles = [...document.querySelectorAll("article")];

// --- the menu folds away where there is no room for it

const fold = () => (menu.open = !NARROW.matches);
NARROW.addEventListener("change", fold);
fold();
menu.addEventListener("click", (event) => NARROW.matches && event.target.closest("a") && (menu.open = false));

// --- a search through all that the page says

const told = h("p", { role: "status" });
const find = h("input", { type: "search", placeholder: "Search", "aria-label": "Search the reference", input: filter });
menu.querySelector("summary").after(find, told);

function filter() {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const article of articles) article.hidden = !words.every((word) => article.textContent.toLowerCase().includes(word));
  for (const item of menu.querySelectorAll("li")) {
    item.hidden = document.querySelector(item.firstChild.getAttribute("href")).hidden;
  }
  for (const section of document.querySelectorAll("section[id]")) {
    section.hidden = words.length > 0 && !section.querySelector("article:not([hidden])");
  }
  const count = articles.filter((article) => !article.hidden).length;
  told.textContent = words.length ? `${count} of ${articles.length}` : "";
}

// --- buttons that copy, and calls

document.body.append(h("p.unseen", { id: "said", role: "status" })); // where `copier` tells

for (const text of document.querySelectorAll("pre[data-name]")) {
  const { textContent } = text;
  text.before(h("div.copy", h("span", text.dataset.name), copier("Copy", () => textContent)));
}

for (const article of articles) {
  if (article.dataset.method) article.querySelector(".route").after(button("Try it", ({ currentTarget }) => currentTarget.replaceWith(caller(article))));
}

function caller(article) {
  const { method, url } = article.dataset;
  const example = article.querySelector("pre[data-name=JSON]")?.textContent;
  const field = (label, control) => h("label", h("span", label), control);
  const path = h("input", { value: url, spellcheck: "false" });
  const secret = h("input", { type: "password", value: key.get(), autocomplete: "off", placeholder: "mtk_…" });
  const body = example && h("textarea", { rows: Math.min(12, example.split("\n").length), spellcheck: "false" }, example);
  const answer = h("div", { role: "status" });
  const submit = async (event) => {
    event.preventDefault();
    if (secret.value) key.set(secret.value.trim());
    answer.replaceChildren("…");
    answer.replaceChildren(...(await call(method, path.value, body?.value)));
  };
  return h("form.try", { submit },
    field("Path", path), field("API key, which stays in this tab", secret), body && field("Body", body),
    h("button", `Send ${method}`), answer);
}

async function call(method, path, body) {
  const headers = { ...(key.get() && { "x-api-key": key.get() }), ...(body && { "content-type": "application/json" }) };
  const started = performance.now();
  try {
    // Below this server, whatever the path says: the key goes nowhere else.
    const target = new URL(`.${new URL(path, "http://server").href.slice("http://server".length)}`, urlOf({ path: "", query: {} }));
    const response = await fetch(target, { method, headers, body, credentials: "omit", redirect: "error", cache: "no-store" });
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.startsWith("application/json");
    const milliseconds = Math.round(performance.now() - started);
    return [
      h("p", h("b", response.status), ` in ${milliseconds} ms, ${response.headers.get("x-request-id") ?? ""}`),
      text ? h("pre", { tabindex: 0 }, isJson ? pretty(text) : text) : "",
    ];
  } catch (error) {
    return [h("p", `No answer: ${error.message}`)];
  }
}

function pretty(text) {
  return JSON.rawJSON
    ? JSON.stringify(JSON.parse(text, (name, value, { source }) => (typeof value === "number" ? JSON.rawJSON(source) : value)), null, 2)
    : text;
}
