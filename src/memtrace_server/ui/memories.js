// Memories as rows, and a list of very many, of which the document has what can be seen.

import { number } from "./api.js";
import { ago, bar, clock, count, day, h, minute, timeOf } from "./dom.js";
import { to } from "./route.js";

const LONG = 1000; // characters of a text in a list
const CHUNK = 50; // memories that come into the document, and leave it, together

export const linkTo = (names, label = names.at(-1), attributes = {}) => h("a", { href: to(names), ...attributes }, label);

// One memory in a list. `marked` makes nodes of a text.
export function row(memory, { isNew, marked = (text) => text, aside, when = clock } = {}) {
	const { content, metadata, tags, superseded_by: newer } = memory;
	const reasoning = metadata?.reasoning;
	return h(`li.memory.${kindOf(memory)}${isNew ? ".new" : ""}${newer ? ".past" : ""}`,
		linkTo(["memories", memory.id], [timeOf(memory.time, when), timeOf(memory.time, ago)], { class: "when" }),
		h("div.what",
			h("p.by", about(memory), h("a.agent", { href: to([], { agent_id: memory.agent_id }) }, memory.agent_id), aside),
			h("p.content", { dir: "auto" }, marked(content.slice(0, LONG)), content.length > LONG && h("span.soft", ` … ${count(content.length - LONG, "more character")}`)),
			typeof reasoning === "string" && h("p.soft.reason", { dir: "auto" }, "because ", marked(reasoning.slice(0, LONG))),
			(tags?.length || newer) && h("p.tags", tagsOf(memory, marked), newer && linkTo(["memories", newer], "superseded"))));
}

export function kindOf({ memory_type: type, event_type: event }) {
	return event === "error" ? "failure" : ["decision", "entity", "session"].includes(type) ? type : "episodic";
}

export function about({ memory_type: type, event_type: event, importance }) {
	const value = number(importance);
	return [
		h("span.type", type),
		event !== "general" && event !== type && h("b", event),
		value !== null && h("span.figure", { title: `Importance ${value}` }, bar(value), h("span.unseen", "importance "), value),
	];
}

export const tagsOf = ({ tags }, marked = (text) => text) =>
	(tags ?? []).map((tag) => h("a.tag", { href: to([], { tags: tag.replaceAll(",", "%2C") }) }, marked(tag)));

// In order of time; days are ruled off, and those of one session in a row share a band.
export class MemoryList {
	constructor({ order = "desc", bands = true, render = row, more }) {
		Object.assign(this, { sign: order === "asc" ? 1 : -1, bands, render, more, ids: new Set(), chunks: [], isComplete: false });
		this.end = h("p.end.soft");
		this.element = h("div.list", { keydown: moveFocus }, this.end);
		this.seen = new IntersectionObserver((entries) => entries.forEach((entry) => this.onSeen(entry)), { rootMargin: "1500px 0px" });
	}

		async load() {
		if (this.isLoading || this.isComplete) return;
		this.isLoading = true;
		try {
			const { memories, has_more: hasMore } = await this.more();
			const fresh = memories.filter(({ id }) => !this.ids.has(id));
			fresh.forEach(({ id }) => this.ids.add(id));
			if (fresh.length) this.draw(this.addChunk(fresh));
			this.isComplete = !hasMore;
		} finally {
			this.isLoading = false;
		}
		this.tellEnd();
		// If the end is still in sight, the observer says so again.
		this.seen.unobserve(this.end);
		if (!this.isComplete) this.seen.observe(this.end);
	}

	// Puts memories where they belong; returns how many are new.
	insert(memories) {
		const before = this.ids.size;
		for (const memory of memories) {
			if (this.ids.has(memory.id)) continue;
			let chunk = this.chunks.find(({ items }) => this.compare(memory, items.at(-1)) < 0);
			if (!chunk && !this.isComplete) continue; // a page that is still to come has it
			chunk ??= this.chunks.at(-1) ?? this.addChunk([]);
			this.ids.add(memory.id);
			chunk.items = [...chunk.items, memory].sort((one, other) => this.compare(one, other));
			if (chunk.items.length > 2 * CHUNK) this.draw(this.addChunk(chunk.items.splice(CHUNK), this.chunks.indexOf(chunk) + 1));
			this.drawFrom(chunk, memory.id);
		}
		this.tellEnd();
		return this.ids.size - before;
	}

	remove(id) {
		const chunk = this.chunks.find(({ items }) => items.some((item) => item.id === id));
		if (!chunk) return;
		chunk.items = chunk.items.filter((item) => item.id !== id);
		this.ids.delete(id);
		if (!chunk.items.length) {
			chunk.element.remove();
			this.chunks.splice(this.chunks.indexOf(chunk), 1);
		} else this.drawFrom(chunk);
		this.tellEnd();
	}

	tellEnd() {
		const all = this.sign < 0 ? "The beginning of the log" : "That is all so far";
		this.end.textContent = !this.isComplete ? "Loading …" : this.ids.size ? all : "No memories here";
	}

	addChunk(items, place = this.chunks.length) {
		const chunk = { items, element: h("div"), isShown: true };
		chunk.element.chunk = chunk;
		(this.chunks[place]?.element ?? this.end).before(chunk.element);
		this.chunks.splice(place, 0, chunk);
		this.seen.observe(chunk.element);
		return chunk;
	}

	onSeen({ target, isIntersecting }) {
		if (target === this.end) {
			if (isIntersecting) this.load().catch(() => setTimeout(() => this.onSeen({ target, isIntersecting }), 1000));
			return;
		}
		const { chunk } = target;
		if (isIntersecting === chunk.isShown || target.contains(document.activeElement)) return;
		target.style.height = isIntersecting ? "" : `${target.offsetHeight}px`;
		chunk.isShown = isIntersecting;
		this.draw(chunk);
	}

	drawFrom(chunk, fresh) {
		this.draw(chunk, fresh);
		const next = this.chunks[this.chunks.indexOf(chunk) + 1];
		if (next) this.draw(next); // its first day or band may begin earlier now
	}

	draw(chunk, fresh) {
		let before = this.chunks[this.chunks.indexOf(chunk) - 1]?.items.at(-1);
		let rows;
		const parts = chunk.isShown ? chunk.items.map((memory) => {
			const isNewDay = !before || day(before.time) !== day(memory.time);
			const isNewBand = isNewDay || before.session_id !== memory.session_id;
			before = memory;
			const item = this.render(memory, { isNew: memory.id === fresh });
			if (rows && !isNewBand) return rows.append(item);
			rows = h("ol.rows", item);
			const { session_id: session } = memory;
			return [
				isNewDay && h("h2.day", day(memory.time)),
				this.bands && session ? h("div.band", isNewBand && h("p.soft", "Session ", linkTo(["sessions", session])), rows) : rows,
			];
		}) : [];
		chunk.element.replaceChildren(...parts.flat().filter(Boolean));
	}

	compare(one, other) {
		return this.sign * (compareTimes(one.time, other.time) || (one.id < other.id ? -1 : 1));
	}
}

// To the last digit: a Date has three of nine.
function compareTimes(one, other) {
	const [a, b] = [one, other].map((time) => time.replace("Z", time.includes(".") ? "" : ".").padEnd(29, "0"));
	return a < b ? -1 : a > b ? 1 : 0;
}

// The arrow keys lead from row to row.
export function moveFocus(event) {
	const all = [...event.currentTarget.querySelectorAll(".memory")];
	const next = all[all.indexOf(event.target.closest(".memory")) + { ArrowDown: 1, ArrowUp: -1 }[event.key]];
	if (!next || event.altKey || event.ctrlKey || event.metaKey) return;
	event.preventDefault();
	next.firstChild.focus();
	next.scrollIntoView({ block: "nearest" });
}

export const rows = (memories, options) => h("ol.rows.dated", { keydown: moveFocus }, memories.map((memory) => row(memory, { when: minute, ...options?.(memory) })));
