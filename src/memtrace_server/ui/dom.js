// Elements, and text in them. Text never becomes markup: all of it passes through `shown`.

// Characters that nobody sees, or that change the order of others; but the joiners of emoji and scripts.
const HIDDEN =
	/[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]|\p{Surrogate}/gu;

// Makes an element of "tag.class", attributes (a function is a listener) and children; null and false are left out.
export function h(spec, ...children) {
	const [tag, ...classes] = spec.split(".");
	const element = document.createElement(tag);
	if (classes.length) element.className = classes.join(" ");
	if (children[0]?.constructor === Object) {
		for (const [name, value] of Object.entries(children.shift())) {
			if (typeof value === "function") element.addEventListener(name, value);
			else if (!isNone(value)) element.setAttribute(name, value === true ? "" : value);
		}
	}
	element.append(...nodes(children));
	return element;
}

const isNone = (value) => value === null || value === undefined || value === false;
const nodes = (children) =>
	children.flat(9).flatMap((child) => (isNone(child) ? [] : child instanceof Node ? child : shown(String(child))));

// A title, which can have the focus.
export const h1 = (text) => h("h1", { tabindex: -1 }, text);

// Returns a text as nodes, in which each hidden character is written as an escape.
export function shown(text) {
	const found = [];
	let end = 0;
	for (const { 0: character, index } of text.matchAll(HIDDEN)) {
		const code = character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
		const escape = document.createElement("span");
		escape.className = "escape";
		escape.textContent = `\\u{${code}}`;
		found.push(text.slice(end, index), escape);
		end = index + character.length;
	}
	return [...found, text.slice(end)];
}

export const button = (label, click, attributes = {}) => h("button", { type: "button", click, ...attributes }, label);
export const json = (value) => h("pre", { tabindex: 0 }, JSON.stringify(value, null, 2));
export const cut = (text, most) => (text.length > most ? `${text.slice(0, most)} …` : text);

export function bar(part) {
	const element = h("span.bar");
	element.style.setProperty("--part", part);
	return element;
}

export function table(label, columns, rows) {
	const head = columns.map((name) => h(name[0] === "#" ? "th.number" : "th", { scope: "col" }, name.replace("#", "")));
	return h("div.scroll", { tabindex: 0, role: "region", "aria-label": label }, h("table", h("thead", h("tr", head)), h("tbody", rows)));
}

// Tells those who listen to the page.
export const say = (text) => (document.getElementById("said").textContent = text);

// Asks in a dialog; returns whether the person agreed.
export async function confirmed(title, body, action) {
	const close = (value) => () => dialog.close(value);
	const dialog = h("dialog", { "aria-labelledby": "asked" }, h("h2", { id: "asked" }, title), body,
		h("div.buttons", button("Cancel", close(""), { autofocus: true }), button(action, close("yes"), { class: "danger" })));
	document.body.append(dialog);
	dialog.showModal();
	await new Promise((done) => dialog.addEventListener("close", done));
	dialog.remove();
	return dialog.returnValue === "yes";
}

export function copier(label, text) {
	const element = button(label, async () => {
		const told = await navigator.clipboard.writeText(text()).then(() => "Copied", () => "Not allowed to copy");
		element.textContent = told;
		say(told);
		setTimeout(() => (element.textContent = label), 2000);
	});
	return element;
}

const format = (options) => {
	const { format: write } = new Intl.DateTimeFormat("en-GB", options);
	return (time) => write(new Date(time));
};
export const day = format({ dateStyle: "full" });
export const clock = format({ timeStyle: "medium" });
export const minute = format({ dateStyle: "medium", timeStyle: "short" });
export const moment = format({ dateStyle: "medium", timeStyle: "medium" });

const AGO = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const UNITS = Object.entries({ year: 31557600, month: 2629800, week: 604800, day: 86400, hour: 3600, minute: 60, second: 1 });

export function ago(time) {
	const seconds = (new Date(time) - Date.now()) / 1000;
	const found = UNITS.find(([, size]) => Math.abs(seconds) >= size);
	return found ? AGO.format(Math.trunc(seconds / found[1]), found[0]) : "now";
}

// The title has the time in UTC, to the last digit.
export const timeOf = (time, as = moment) => h(as === ago ? "time.ago.soft" : "time", { datetime: time, title: time }, as(time));
export const withAgo = (time) => [timeOf(time), " ", timeOf(time, ago)];

setInterval(() => {
	for (const element of document.querySelectorAll("time.ago")) element.textContent = ago(element.dateTime);
}, 30_000);

export const figure = (number) => number.toLocaleString("en");
export const count = (number, one, many = `${one}s`) => `${figure(number)} ${number === 1 ? one : many}`;
export const memories = (number) => count(number, "memory", "memories");
