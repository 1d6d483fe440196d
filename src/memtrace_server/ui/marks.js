// Marks the words that a search matched. The server knows all forms of English words; words without their usual
// endings are near enough to see why something was found.

import { h } from "./dom.js";

const WORD = /[\p{L}\p{N}_]+/gu;
const ENDING = /(?:ations?|ings?|edly|ed|ers?|ies|es|ly|s|e|y)$/;
const EXCLUDED = /(^|\s)-(?:"[^"]*"|\S+)/g;

function stem(word) {
	const plain = word.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
	const short = plain.replace(ENDING, "");
	return (short.length > 2 ? short : plain).replace(/(\p{L})\1$/u, "$1"); // "runn" of "running"
}

const COMMON = new Set("a an and are at be by can did do does for from has have how i in is it me my of on or the this to was we what when where which who why will with you".split(" ").map(stem));

// Returns what makes nodes of a text, with the words of a query marked.
export function marker(query) {
	const words = query.replace(EXCLUDED, " ").match(WORD) ?? [];
	const stems = new Set(words.map(stem).filter((word) => !COMMON.has(word)));
	return (text) => {
		const parts = [];
		let end = 0;
		for (const { 0: word, index } of text.matchAll(WORD)) {
			if (!stems.has(stem(word))) continue;
			parts.push(text.slice(end, index), h("mark", word));
			end = index + word.length;
		}
		return [...parts, text.slice(end)];
	};
}
