// The context as the model saw it: the exact text, what it costs, and what was left out.

import { ask, call, number, send, values } from "./api.js";
import { agentIds, asOf, asked, choice, form, heading, input } from "./controls.js";
import { bar, copier, cut, figure, h, memories as many, timeOf } from "./dom.js";
import { about, kindOf, linkTo, rows } from "./memories.js";

const BUDGET = 2000; // tokens, until another is chosen
const LARGEST = 8000; // of the slider; the field beside it takes any
const LOOKED_AT = 200; // memories among which those left out are named
const NAMED = 30;

export const context = {
	title: ({ query }) => `Context ${query.session_id ?? query.agent_id ?? ""}`,
	call({ query }) {
		const { session_id: session, agent_id: agent, max_tokens: most, ...options } = asked(query);
		const body = { ...options, max_tokens: Number(most || BUDGET), format: "json" };
		if (session) return call("getSessionContext", [session], agent ? { ...body, agent_id: agent } : body);
		return agent ? call("getAgentContext", [agent], body) : null;
	},
	async render({ names, query }) {
		const ids = await agentIds();
		// The first agent is as good as any to begin with.
		const here = { names, query: { ...query, agent_id: query.agent_id ?? (query.session_id ? undefined : ids[0]) } };
		const request = this.call(here);
		const top = [
			heading("Context", here, request),
			h("p.soft", "The exact text that a model is given."),
			form(here, { "aria-label": "Options" },
				choice("Agent", "agent_id", here, ids, "—"), input("Session", "session_id", here, { placeholder: "all" }), input("Question", "query", here, { placeholder: "What matters now?" }),
				choice("Layout", "layout", here, values("ContextLayout"), "default"), input("Since", "since", here, { placeholder: "7d, or a date" }), budget(here)),
			h("div.times", asOf(here)),
		];
		if (!request) return [...top, h("p.soft", "There are no memories yet.")];
		const made = await send(request);
		const left = await leftOut(here.query, made);
		return [...top, h("div.two",
			h("section", { "aria-labelledby": "text" }, h("div.head", h("h2", { id: "text" }, "The text"), copier("Copy text", () => made.context)),
				meter(made.token_count ?? 0, request.body.max_tokens), h("pre.context", { tabindex: 0 }, made.context)),
			h("section", { "aria-label": "What was left out" }, h("h2", "Left out, and why"), reasons(made.omitted), left.length > 0 && rows(left.slice(0, NAMED)),
				left.length > NAMED && h("p.soft", `And ${left.length - NAMED} more of the newest ${LOOKED_AT}.`),
				h("h2", `In it: ${many(made.memory_count)}`), h("ol.rows", made.entries?.map(entry))))];
	},
};

function budget({ query }) {
	const value = query.max_tokens || BUDGET;
	const exact = h("input", { name: "max_tokens", type: "number", value, "aria-label": "Budget in tokens" });
	const slider = h("input", { type: "range", min: 100, max: LARGEST, step: 50, value, "aria-label": "Budget", input: () => (exact.value = slider.value) });
	return h("div.field.budget", h("span", "Budget in tokens"), h("div", slider, exact));
}

function meter(tokens, most) {
	const part = Math.min(1, tokens / most);
	const told = { role: "meter", "aria-label": "Tokens", "aria-valuemin": 0, "aria-valuemax": most, "aria-valuenow": tokens };
	return h("div.meter", told, bar(part), h("span", h("b", figure(tokens)), ` of ${figure(most)} tokens, ${Math.floor(100 * part)} %`));
}

function reasons(omitted) {
	const said = omitted && [
		omitted.over_budget && `${many(omitted.over_budget)} did not fit the budget, ${figure(omitted.important)} of them important.`,
		omitted.shortened && `${many(omitted.shortened)} in part only.`,
		omitted.older && "Older memories were not considered: there are too many.",
	].filter(Boolean);
	return h("ul.soft", (said?.length ? said : ["Nothing: all of it fits."]).map((text) => h("li", text)));
}

// The newest memories that meet the filters and are not in the context.
async function leftOut(query, { omitted, memory_ids: inside }) {
	if (!omitted?.over_budget) return [];
	const { query: _, layout, max_tokens, agent_id, ...rest } = asked(query);
	const filters = { ...rest, limit: LOOKED_AT, agent_id: rest.session_id ? undefined : agent_id };
	return (await ask("listMemories", [], filters)).memories.filter(({ id }) => !inside.includes(id));
}

const entry = (one) =>
	h(`li.memory.${kindOf(one)}`, h("p.by", about(one), timeOf(one.time), number(one.count) > 1 && `${one.count} times`, one.more_characters && `${figure(one.more_characters)} characters less`),
		linkTo(["memories", one.memory_ids[0]], cut(one.content, 160), { class: "plain", dir: "auto" }));
