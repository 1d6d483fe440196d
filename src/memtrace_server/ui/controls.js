// What views share: filters in the URL, a slider over time, and the same call elsewhere.

import { access, asCurl, asPython, ask, send, urlOf, values } from "./api.js";
import { copier, h, h1, json, moment } from "./dom.js";
import { go, to } from "./route.js";

const STEPS = 1000;
const AGENTS = 500; // that a list of choices has

const link = (here, query, label, as = "a") => h(as, { href: to(here.names, { ...here.query, ...query }) }, label);

export const heading = (title, here, request, ...more) =>
	h("div.head", h1(title),
		h("div.same", more, request && [
			link(here, { json: 1 }, "JSON", "a.button"),
			copier("Copy Python", () => asPython(request)), copier("Copy curl", () => asCurl(request))]));

// A view as JSON: the call, and what the server answers.
export async function asJson(here, request) {
	const answer = await send(request);
	return [
		h("div.head", h1("As JSON"),
			h("div.same", link(here, { json: "" }, "Back to the view", "a.button"), copier("Copy JSON", () => JSON.stringify(answer)))),
		h("p", h("b", request.method), " ", h("code", urlOf(request).href)),
		request.body && json(request.body),
		json(answer),
	];
}

export const field = (label, control, kind = "") => h(`label.field${kind}`, h("span", label), control);
export const input = (label, name, here, attributes = {}) =>
	field(label, h("input", { name, value: here.query[name] ?? "", autocomplete: "off", spellcheck: "false", ...attributes }));

export function choice(label, name, here, coming, any = "any") {
	const select = h("select", { name });
	const chosen = here.query[name] ?? "";
	const fill = (all) =>
		select.replaceChildren(...[...new Set(["", ...all, chosen])].map((value) => h("option", { value, selected: value === chosen }, value || any)));
	fill([]);
	Promise.resolve(coming).then(fill, () => {});
	return field(label, select);
}

export const agentIds = async () => (access.agent_id ? [access.agent_id] : (await ask("listAgents", [], { limit: AGENTS })).agents.map(({ id }) => id));

// Each change of a form is another URL.
export function form(here, attributes, ...children) {
	const read = (event) => {
		event.preventDefault();
		go(here.names, { ...here.query, ...Object.fromEntries(new FormData(event.currentTarget)) });
	};
	return h("form.panel", { ...attributes, submit: read, change: read }, children);
}

const FILTERS = ["agent_id", "session_id", "memory_type", "event_type", "tags", "since", "until", "include_superseded", "order"];

export function filters(here) {
	const used = FILTERS.filter((name) => here.query[name]);
	return h("details.filters", { open: used.length > 0 }, h("summary", used.length ? `Filters (${used.length})` : "Filters"),
		form(here, { "aria-label": "Filters" },
			choice("Agent", "agent_id", here, agentIds()), input("Session", "session_id", here), choice("Type", "memory_type", here, values("MemoryType")),
			input("Event", "event_type", here), input("Tags", "tags", here, { placeholder: "ui, preference" }),
			input("Since", "since", here, { placeholder: "7d, or a date" }), input("Until", "until", here, { placeholder: "1h, or a date" }),
			choice("Superseded", "include_superseded", here, ["true"], "hidden"), choice("Order", "order", here, values("Order"), "newest first")),
		used.length > 0 && h("p", link(here, Object.fromEntries(FILTERS.map((name) => [name, ""])), "Clear all filters")));
}

export const asked = ({ json: _, ...query }) =>
	({ ...query, tags: query.tags?.split(",").map((tag) => tag.trim().replaceAll("%2C", ",")).filter(Boolean) });

// A slider from the first memory that was stored until now.
export function asOf(here) {
	const element = h("div.as-of");
	const { agent_id, as_of: chosen } = here.query;
	ask("tailMemories", [], { start: "beginning", limit: 1, agent_id }).then(({ memories: [first] }) => {
		if (!first) return;
		const start = Date.parse(first.created_at) - 1000;
		const now = Date.now();
		const at = Date.parse(chosen || "");
		const timeAt = (step) => new Date(start + ((now - start) * step) / STEPS);
		const told = h("output");
		const slider = h("input", { type: "range", max: STEPS, value: at ? Math.round((STEPS * (at - start)) / (now - start)) : STEPS, "aria-label": "As of" });
		const tell = (text) => {
			told.textContent = text;
			slider.setAttribute("aria-valuetext", text);
		};
		const isNow = () => Number(slider.value) >= STEPS;
		slider.addEventListener("input", () => tell(isNow() ? "now" : moment(timeAt(slider.value))));
		slider.addEventListener("change", () => go(here.names, { ...here.query, as_of: isNow() ? "" : timeAt(slider.value).toISOString() }));
		tell(at ? moment(at) : chosen || "now");
		element.append(h("span.soft", "As of"), slider, told, chosen ? link(here, { as_of: "" }, "Back to now") : "");
	}, () => {});
	return element;
}

export const fact = (name, ...value) => h("div", h("dt", name), h("dd", { dir: "auto" }, value));
