// What changes the log, and what takes a copy of it.

import { ask } from "./api.js";
import { confirmed, cut, h, memories as many, say } from "./dom.js";

const PAGE = 1000;

export async function forgetOne(memory) {
	const body = [h("blockquote", { dir: "auto" }, cut(memory.content, 300)), h("p", "It is permanently deleted from every list and search.")];
	if (!(await confirmed("Forget this memory?", body, "Forget it"))) return false;
	await ask("forgetMemory", [memory.id]);
	say("Forgotten");
	return true;
}

// Returns how many were forgotten.
export async function forgetMatching(filters) {
	const { matched } = await ask("forgetMatching", [], filters, { dry_run: true });
	const terms = Object.entries(filters).map(([name, value]) => [h("dt", name), h("dd", { dir: "auto" }, [value].flat().join(", "))]);
	const body = [h("p", "All matching memories are permanently deleted, superseded ones too:"), h("dl.terms", terms)];
	if (!(await confirmed(`Forget ${many(matched)}?`, body, `Forget ${many(matched)}`))) return 0;
	const { deleted } = await ask("forgetMatching", [], filters);
	say(`Forgot ${many(deleted)}`);
	return deleted;
}

// Downloads a whole list as `memtrace import` takes it: the oldest first.
export async function exportShown(query, told) {
	const lines = [];
	let cursor;
	do {
		const page = await ask("listMemories", [], { ...query, order: "asc", limit: PAGE, cursor });
		lines.push(...page.memories.map((memory) => `${JSON.stringify({ kind: "memory", ...memory })}\n`));
		told(`${lines.length} …`);
		cursor = page.next_cursor;
	} while (cursor);
	const href = URL.createObjectURL(new Blob(lines, { type: "application/x-ndjson" }));
	h("a", { href, download: "memories.jsonl" }).click();
	setTimeout(() => URL.revokeObjectURL(href), 60_000);
	say(`Exported ${many(lines.length)}`);
}
