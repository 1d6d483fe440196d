// Each view has a title, the call that it is about, and nodes.

import { exportShown, forgetMatching, forgetOne } from "./actions.js";
import { ask, call, may, number, pick, send, values } from "./api.js";
import { agentIds, asOf, asked, choice, fact, filters, form, heading, input } from "./controls.js";
import { ago, bar, button, cut, figure, h, json, memories as many, table, timeOf, withAgo } from "./dom.js";
import { end, live } from "./live.js";
import { marker } from "./marks.js";
import { MemoryList, about, kindOf, linkTo, row, rows, tagsOf } from "./memories.js";
import { go, to } from "./route.js";

const PAGE = 50;
const AROUND = 4;
const FILTERS = ["agent_id", "session_id", "memory_type", "event_type", "tags", "since", "until"];

function pages(request) {
	let cursor;
	return async () => {
		const page = await send({ ...request, query: { ...request.query, limit: PAGE, ...(cursor && { cursor }) } });
		cursor = page.next_cursor;
		return page;
	};
}

async function started(list, signal) {
	signal.addEventListener("abort", () => list.seen.disconnect());
	await list.load();
}

export const timeline = {
	title: ({ query }) => query.agent_id ?? query.session_id ?? "Timeline",
	call: ({ query }) => call("listMemories", [], asked(query)),
	async render(here, signal, failed) {
		const query = asked(here.query);
		const matching = pick(query, FILTERS);
		const list = new MemoryList({ order: query.order, more: pages(this.call(here)) });
		const cursor = query.as_of || query.until ? null : await end(matching);
		await started(list, signal);
		const status = cursor ? live({ list, filters: matching, cursor, signal, failed, query }) : h("div.live", query.as_of ? "As it was known then" : "Not live");
		const exporter = button("Export", async () => {
			await exportShown(query, (text) => (exporter.textContent = text)).catch(failed);
			exporter.textContent = "Export";
		});
		const forgetter = may("forgetMatching") && Object.keys(matching).length > 0 &&
			button("Forget these …", async () => (await forgetMatching(matching).catch(failed)) && go(here.names, here.query), { class: "danger" });
		return [heading(this.title(here), here, this.call(here), exporter, forgetter), filters(here), h("div.times", asOf(here), status), list.element];
	},
};

export const session = {
	title: ({ names }) => `Session ${names[1]}`,
	call: ({ names: [, id] }) => call("listMemories", [], { session_id: id, order: "asc" }),
	async render(here, signal, failed) {
		const [, id] = here.names;
		const found = await ask("getSession", [id]);
		const matching = { session_id: id };
		const cursor = await end(matching);
		const list = new MemoryList({ order: "asc", bands: false, render: turn, more: pages(this.call(here)) });
		await started(list, signal);
		return [
			heading(this.title(here), here, this.call(here), h("a.button", { href: to(["context"], matching) }, "Context")),
			h("dl.facts", fact("Agent", linkTo(["agents", found.agent_id])), fact("Status", found.status), fact("Started", withAgo(found.created_at)),
				found.closed_at && fact("Closed", withAgo(found.closed_at)), found.metadata && fact("Metadata", json(found.metadata))),
			cursor && h("div.times", live({ list, filters: matching, cursor, signal, failed })),
			h("div.dialogue", list.element),
		];
	},
};

// What was said on one side or the other, or done between.
function turn(memory, options) {
	const element = row(memory, options);
	element.classList.add({ user: "user", human: "user", assistant: "assistant", agent: "assistant" }[memory.event_type] ?? "between");
	return element;
}

export const memory = {
	title: ({ names }) => `Memory ${names[1]}`,
	call: ({ names: [, id] }) => call("getMemory", [id]),
	async render(here, signal, failed) {
		const found = await send(this.call(here));
		const { session_id, agent_id, metadata } = found;
		const near = async (query) => (await ask("listMemories", [], { ...(session_id ? { session_id } : { agent_id }), include_superseded: true, ...query })).memories;
		const [before, after, older, newer] = await Promise.all([
			near({ until: found.time, limit: AROUND }), near({ since: found.time, order: "asc", limit: AROUND + 1 }),
			relative(found.supersedes), relative(found.superseded_by),
		]);
		const around = rows([...before.reverse(), ...after]);
		around.querySelector(`[href="${to(["memories", found.id])}"]`)?.parentNode.setAttribute("aria-current", "true");
		const forgetter = may("forgetMemory") && button("Forget …", async () => (await forgetOne(found).catch(failed)) && go([], { agent_id }), { class: "danger" });
		return [
			heading("Memory", here, this.call(here), forgetter),
			newer && h("p.superseded", "No longer true: superseded by ", newer),
			h(`article.one.${kindOf(found)}`, h("p.by", about(found), withAgo(found.time)), h("p.content", { dir: "auto" }, found.content),
				typeof metadata?.reasoning === "string" && h("p.soft", { dir: "auto" }, "because ", metadata.reasoning), h("p.tags", tagsOf(found))),
			h("dl.facts", fact("Id", h("code", found.id)), fact("Agent", linkTo(["agents", agent_id])), session_id && fact("Session", linkTo(["sessions", session_id])),
				...["memory_type", "event_type", "importance", "dedup_key", "org_id"].map((name) => found[name] !== undefined && fact(title(name), number(found[name]) || found[name])),
				...["time", "created_at", "expires_at"].map((name) => found[name] && fact(title(name), timeOf(found[name]))),
				found.parent_id && fact("Parent", linkTo(["memories", found.parent_id])), older && fact("Supersedes", older), metadata && fact("Metadata", json(metadata))),
			h("h2", session_id ? "Neighbours in its session" : "Around it"), around,
		];
	},
};

const title = (name) => `${name[0].toUpperCase()}${name.slice(1).replace("_", " ")}`;

const relative = async (id) =>
	id && ask("getMemory", [id]).then(({ content }) => linkTo(["memories", id], `“${cut(content, 120)}”`), () => h("span.soft", `${id}, which cannot be read any more`));

const FIGURES = ["memory_count", "memories_24h", "errors_24h", "session_count"];

export const agents = {
	title: () => "Agents",
	call: ({ query }) => call("listAgents", [], { limit: PAGE, cursor: query.cursor }),
	async render(here) {
		const page = await send(this.call(here));
		const filled = page.agents.map(({ id, description, last_active_at: last }) => {
			const cells = [1, 2, 3, 4].map(() => h("td.number", "·"));
			return { id, cells, row: h("tr", h("th", { scope: "row" }, linkTo(["agents", id]), description && h("p.soft", { dir: "auto" }, description)), cells, h("td", last ? timeOf(last, ago) : "never")) };
		});
		(async () => {
			for (const { id, cells } of filled) {
				const stats = await ask("getAgentStats", [id]);
				FIGURES.forEach((name, place) => (cells[place].textContent = figure(stats[name])));
			}
		})().catch(() => {}); // the dots stay
		return [
			heading("Agents", here, this.call(here)),
			filled.length ? table("Agents", ["Agent", ...FIGURES.map((name) => `#${title(name)}`), "Last active"], filled.map(({ row: one }) => one)) : h("p.soft", "There are no memories yet."),
			page.next_cursor && h("p", h("a", { href: to(["agents"], { cursor: page.next_cursor }) }, "More agents")),
		];
	},
};

export const agent = {
	title: ({ names }) => names[1],
	call: ({ names: [, id] }) => call("getAgentStats", [id]),
	async render(here) {
		const [, id] = here.names;
		const [found, stats, { sessions, has_more: hasMore }] = await Promise.all([ask("getAgent", [id]), send(this.call(here)), ask("listSessions", [], { agent_id: id, limit: PAGE })]);
		const kinds = Object.entries(stats.memory_types);
		return [
			heading(id, here, this.call(here), ["Timeline", "Context"].map((label) => h("a.button", { href: to(label === "Context" ? ["context"] : [], { agent_id: id }) }, label))),
			found.description && h("p.soft", { dir: "auto" }, found.description),
			h("dl.figures", [...FIGURES, "active_sessions"].map((name) => fact(title(name), figure(stats[name])))),
			h("ul.legend", kinds.map(([type, many_]) => h(`li.figure.${kindOf({ memory_type: type })}`, h("span.type", type), figure(many_), bar(many_ / stats.memory_count)))),
			h("dl.facts", fact("First seen", withAgo(found.created_at)), found.last_active_at && fact("Last active", withAgo(found.last_active_at)), found.config && fact("Configuration", json(found.config))),
			h("h2", hasMore ? `The newest ${PAGE} sessions` : "Sessions"),
			table("Sessions", ["Session", "Status", "Started"], sessions.map((one) => h("tr", h("th", { scope: "row" }, linkTo(["sessions", one.id])), h("td", one.status), h("td", withAgo(one.created_at))))),
		];
	},
};

const CONDITIONS = ["query", "agent_id", "session_id", "since", "until", "as_of", "order", "cursor"];

export const search = {
	title: ({ query }) => `Search ${query.query ?? ""}`,
	call: ({ query }) =>
		query.query ? call("searchMemories", [], { ...pick(query, CONDITIONS), limit: PAGE, memory_types: query.memory_type && [query.memory_type], tags: asked(query).tags }) : null,
	async render(here) {
		const { query } = here;
		const request = this.call(here);
		const found = request && (await send(request));
		const best = number(found?.results[0]?.score);
		const options = ({ score }) => ({
			marked: marker(query.query),
			aside: number(score) !== null && h("span.figure.score", { title: `Score ${number(score)}` }, bar(number(score) / best), `score ${number(score).toFixed(2)}`),
		});
		return [
			heading("Search", here, request),
			form({ ...here, query: { ...query, cursor: "" } }, { role: "search" },
				input("A question, or words", "query", here, { type: "search", autofocus: !query.query, placeholder: "Which colour scheme does the user prefer?" }),
				choice("Agent", "agent_id", here, agentIds()), choice("Type", "memory_type", here, values("MemoryType")), h("button.primary", "Search")),
			h("div.times", asOf(here)),
			found && [
				h("p.soft", { role: "status" }, `${many(found.count)}${found.has_more ? " and more" : ""}, in ${found.query_time_ms} ms.`, found.unindexed_count ? ` ${many(found.unindexed_count)} not indexed yet.` : ""),
				rows(found.results, options),
				found.next_cursor && h("p", h("a", { href: to(here.names, { ...query, cursor: found.next_cursor }) }, "More")),
			],
		];
	},
};
