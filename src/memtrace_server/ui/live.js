// Keeps a list up to date with what is stored, by long polling, and tells how.

import { Refused, ask, may } from "./api.js";
import { button, h, memories as many, say } from "./dom.js";

const WAIT = 20; // seconds; the server may answer earlier
export const LONGEST = 8000; // milliseconds between two attempts
const AWAY = 300; // pixels from the top, where new memories wait

// Where the log ends now; asked for before a list is loaded, so that nothing falls between.
export const end = async (filters) => (may("tailMemories") ? (await ask("tailMemories", [], { ...filters, start: "now" })).next_cursor : null);

export function live({ list, filters, cursor, signal, failed, query = {} }) {
	const status = h("div.live");
	const isLog = list.sign < 0; // the newest first; a dialogue grows at its end
	let waiting = [];
	let isPaused = false;
	let isConnected = true;
	const shows = query.include_superseded === "true" ? () => true : (memory) => !memory.superseded_by;
	const isAway = () => isPaused || (isLog && scrollY > AWAY);
	const flush = () => {
		const arrived = waiting;
		waiting = [];
		for (const { supersedes } of arrived) if (query.include_superseded !== "true") list.remove(supersedes);
		const added = list.insert(arrived.filter(shows));
		if (added) say(`${many(added)} more`);
		tell();
	};
	const pause = () => {
		isPaused = !isPaused;
		if (isPaused) tell();
		else flush();
	};
	const tell = () => {
		const { length } = waiting;
		const state = !isConnected ? "lost" : isPaused || length ? "paused" : "on";
		status.dataset.state = state;
		status.replaceChildren(
			h("span.dot"), h("span", { on: "Live", lost: "Reconnecting …", paused: length ? `Paused · ${length} new` : "Paused" }[state]),
			...(length ? [button("Show", () => (scrollTo(0, 0), flush()))] : []), button("Pause", pause, { "aria-pressed": String(isPaused) }));
	};
	const follow = async () => {
		for (let delay = 250; !signal.aborted; ) {
			try {
				const page = await ask("tailMemories", [], { ...filters, cursor, wait: WAIT });
				isConnected = true;
				delay = 250;
				cursor = page.next_cursor;
				const wasAtEnd = innerHeight + scrollY > document.documentElement.scrollHeight - AWAY;
				waiting.push(...page.memories);
				if (isAway()) tell();
				else flush();
				if (!isLog && wasAtEnd && page.memories.length) scrollTo(0, document.documentElement.scrollHeight);
			} catch (error) {
				if (signal.aborted) return;
				if (error instanceof Refused && error.status < 500 && error.status !== 429) throw error;
				isConnected = false;
				tell();
				await sleep(delay, signal);
				delay = Math.min(2 * delay, LONGEST);
			}
		}
	};
	addEventListener("scroll", () => waiting.length && !isAway() && flush(), { signal, passive: true });
	tell();
	follow().catch(failed);
	return status;
}

export const sleep = (milliseconds, signal) =>
	new Promise((done) => {
		setTimeout(done, milliseconds);
		signal.addEventListener("abort", done);
	});
