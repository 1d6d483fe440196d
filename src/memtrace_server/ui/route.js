// A view is a URL: what follows its "#", which no server sees, is a path and a query with the API's names.

import { given } from "./api.js";

export function route() {
	const [path, query] = location.hash.slice(1).split("?");
	return { names: path.split("/").filter(Boolean).map(decoded), query: Object.fromEntries(new URLSearchParams(query)) };
}

export function decoded(text) {
	try {
		return decodeURIComponent(text);
	} catch {
		return text; // which names nothing
	}
}

export function to(names, query = {}) {
	const text = new URLSearchParams(given(query)).toString();
	return `#/${names.map(encodeURIComponent).join("/")}${text && `?${text}`}`;
}

export function go(names, query) {
	const target = to(names, query);
	if (target === location.hash) dispatchEvent(new Event("hashchange"));
	else location.hash = target;
}
