// Calls of the API, by the server that this page came from.

const BASE = new URL(".", location.href.split("#")[0]);
const KEY = "memtrace.key";
// What the page calls, as the contract has it.
export const OPERATIONS = {
	getAccess: "GET access",
	listMemories: "GET memories",
	getMemory: "GET memories/{}",
	forgetMemory: "DELETE memories/{}",
	forgetMatching: "POST forget",
	tailMemories: "GET tail",
	searchMemories: "POST search",
	listAgents: "GET agents",
	getAgent: "GET agents/{}",
	getAgentStats: "GET agents/{}/stats",
	getAgentContext: "POST agents/{}/context",
	listSessions: "GET sessions",
	getSession: "GET sessions/{}",
	getSessionContext: "POST sessions/{}/context",
};

export const key = {
	get: () => sessionStorage.getItem(KEY) ?? "",
	set: (value) => sessionStorage.setItem(KEY, value),
	clear: () => sessionStorage.removeItem(KEY),
};

// What the key may do, as the server says.
export const access = { operations: [] };
export const may = (operation) => access.operations.includes(operation);

export class Refused extends Error {
	constructor(status, { error, code, request_id: requestId }) {
		super(error ?? `The server responded with ${status}`);
		Object.assign(this, { status, code, requestId });
	}
}

export class Unreachable extends Error {}

// Keeps every digit: JavaScript's numbers have fewer than JSON's.
const exact = JSON.rawJSON && ((name, value, { source }) => (typeof value === "number" && String(value) !== source ? JSON.rawJSON(source) : value));
export const number = (value) => (value === null || value === undefined ? null : Number(value.rawJSON ?? value));

export const given = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value || value === 0));
export const pick = (fields, names) => given(Object.fromEntries(names.map((name) => [name, fields[name]])));

// A call: the ids of its path, and its fields, which are a query or a body.
export function call(operation, ids = [], fields = {}, query = {}) {
	const [method, template] = OPERATIONS[operation].split(" ");
	const path = ids.reduce((path, id) => path.replace("{}", () => encodeURIComponent(id)), `api/v1/${template}`);
	const isPost = method === "POST";
	return { operation, method, path, ids, query: given(isPost ? query : fields), body: isPost ? given(fields) : null };
}

export function urlOf({ path, query }) {
	const pairs = Object.entries(query).flatMap(([name, value]) => {
		const pair = `${name}=${[value].flat().map(encodeURIComponent).join(",")}`;
		return name === "tags" && value.length === 1 ? [pair, pair] : [pair]; // else a comma in it would divide it
	});
	return new URL(pairs.length ? `${path}?${pairs.join("&")}` : path, BASE);
}

// Ends when the reader leaves a view, and with it all that the view asks for.
let view = new AbortController();
export function leave() {
	view.abort();
	view = new AbortController();
	return view.signal;
}

export async function send(request) {
	const { method, body } = request;
	if (/[^!-~]/.test(key.get())) throw new Refused(401, { error: "An API key has only letters, digits and _" }); // a header cannot hold it
	const headers = { ...(key.get() && { "x-api-key": key.get() }), ...(body && { "content-type": "application/json" }) };
	let response, text;
	try {
		response = await fetch(urlOf(request), {
			method, headers, body: body && JSON.stringify(body), signal: view.signal,
			cache: "no-store", credentials: "omit", redirect: "error",
		});
		text = await response.text();
	} catch (error) {
		if (error.name === "AbortError") throw error;
		throw new Unreachable("The server does not respond");
	}
	if (response.status === 502 || response.status === 503) throw new Unreachable("The server cannot respond now");
	const answer = text ? JSON.parse(text, exact) : {};
	if (!response.ok) throw new Refused(response.status, answer);
	return answer;
}

export const ask = (...of) => send(call(...of));

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

export function asCurl({ method, body, ...rest }) {
	const lines = [`curl ${method === "GET" ? "" : `-X ${method} `}${quoted(urlOf(rest).href)}`, '-H "x-api-key: $MEMTRACE_API_KEY"'];
	if (body) lines.push("-H 'content-type: application/json'", `-d ${quoted(JSON.stringify(body))}`);
	return lines.join(" \\\n  ");
}

export function asPython({ operation, ids, query, body }) {
	const method = operation.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
	const named = Object.entries({ ...query, ...body }).map(([name, value]) => `${name}=${python(value)}`);
	return `from memtrace import Memtrace

with Memtrace(${python(BASE.href.replace(/\/$/, ""))}) as client:  # with the key in MEMTRACE_API_KEY
    print(client.${method}(${[...ids.map(python), ...named].join(", ")}))
`;
}

function python(value) {
	if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
	return value === true ? "True" : JSON.stringify(value);
}

// What the contract lists: types, layouts.
let contract;
export async function values(name) {
	contract ??= fetch(new URL("openapi.json", BASE)).then((response) => response.json());
	return (await contract).components.schemas[name].enum;
}
