// The page: which view the URL names, whose key it is, and what happens when the server does not answer.

import { Unreachable, access, ask, key, leave } from "./api.js";
import { context } from "./context.js";
import { asJson, field } from "./controls.js";
import { button, h, h1 } from "./dom.js";
import { LONGEST, sleep } from "./live.js";
import { decoded, route, to } from "./route.js";
import { agent, agents, memory, search, session, timeline } from "./views.js";

const MENU = { Timeline: "", Agents: "agents", Search: "search", Context: "context" };
const UNAUTHORIZED = 401;
const NOT_FOUND = 404;

const [main, notice, views, who] = ["main", "notice", "views", "who"].map((id) => document.getElementById(id));
const toTimeline = () => h("a", { href: to([]) }, "To the timeline");
const nothing = { title: () => "Not found", render: () => [h1("This view does not exist"), toTimeline()] };
let isFirst = true;

function viewOf([first, id]) {
	if (!first) return timeline;
	return (id ? { sessions: session, memories: memory, agents: agent } : { agents, search, context })[first] ?? nothing;
}

async function show() {
	const signal = leave();
	const here = route();
	for (let delay = 250; ; delay = Math.min(2 * delay, LONGEST)) {
		try {
			if (!access.role) await enter();
			showMenu(here);
			const view = viewOf(here.names);
			const request = here.query.json && view.call?.(here);
			const parts = request ? await asJson(here, request) : await view.render(here, signal, tellFailure);
			if (signal.aborted) return;
			notice.hidden = true;
			document.title = `${view.title(here)} · Memtrace`;
			fill(parts);
			return;
		} catch (error) {
			if (signal.aborted) return;
			if (!(error instanceof Unreachable)) {
				tellFailure(error);
				return;
			}
			tell(`${error.message}. Trying again …`);
			await sleep(delay, signal);
			if (signal.aborted) return;
		}
	}
}

function fill(parts) {
	main.replaceChildren(...parts.flat(9).filter(Boolean));
	main.dataset.place = location.hash;
	performance.measure("shown");
	scrollTo(0, 0);
	const first = main.querySelector("[autofocus]") ?? main.querySelector("h1");
	// Who follows a link hears where it leads; at first, the page is read from its top.
	if (!isFirst) first.focus({ preventScroll: true });
	isFirst = false;
}

const tell = (text) => {
	notice.textContent = text;
	notice.hidden = false;
};

function tellFailure(error) {
	if (error.name === "AbortError") return;
	const text = `${error.message}${error.requestId ? ` (${error.requestId})` : ""}`;
	if (error.status === UNAUTHORIZED) {
		access.role = null;
		askForKey(error);
	} else if (main.dataset.place === location.hash) tell(text);
	else fill([h1(error.status === NOT_FOUND ? "Not found" : "This cannot be shown"), h("p.wrong", text), toTimeline()]);
}

async function enter() {
	const told = await ask("getAccess").catch((error) => {
		if (error.status !== NOT_FOUND) throw error;
		return { role: "reader", operations: [] }; // a Memtrace 0.x server does not tell
	});
	Object.assign(access, { agent_id: null }, told);
}

function askForKey(error) {
	const input = h("input", { type: "password", autocomplete: "off", required: true, placeholder: "mtk_…", "aria-describedby": "about-key" });
	const open = (event) => {
		event.preventDefault();
		key.set(input.value.trim());
		show();
	};
	showMenu();
	notice.hidden = true;
	fill([h("form.ask", { submit: open },
		h1("What does your agent remember?"),
		h("p", "Enter an API key of this server. ", h("a", { href: "docs#keys" }, "About keys")),
		key.get() && h("p.wrong", { role: "alert" }, error.message),
		field("API key", input), h("button.primary", "Open"),
		h("p.soft", { id: "about-key" }, "The key stays in this tab until you close it, and is sent to this server alone."))]);
	main.dataset.place = "";
	input.focus();
}

function showMenu(here) {
	const [first = ""] = here?.names ?? [];
	const current = Object.values(MENU).includes(first) ? first : "";
	const forget = () => {
		key.clear();
		access.role = null;
		show();
	};
	views.replaceChildren(...(here ? Object.entries(MENU) : []).map(([label, name]) => h("a", { href: to(name ? [name] : []), "aria-current": name === current && "page" }, label)));
	const limit = access.agent_id ? `, ${access.agent_id} only` : "";
	who.replaceChildren(h("a", { href: "docs" }, "API"), ...(here ? [h("span.soft", { title: access.org_id }, `${access.role}${limit}`)] : []), ...(here && key.get() ? [button("Forget key", forget)] : []));
}

function start() {
	const [, given] = /^#key=([^&]+)/.exec(location.hash) ?? [];
	// As `memtrace ui` opens the page; the key leaves the URL at once.
	if (given) {
		key.set(decoded(given));
		history.replaceState(null, "", `${location.pathname}#/`);
	}
	show();
}

addEventListener("hashchange", start);
start();
