// Remembers, recalls, searches, pages and forgets, with types made of openapi.yaml: `npm run types`.
import createClient from "openapi-fetch";
import type { paths } from "./memtrace.d.ts";

const memtrace = createClient<paths>({
  baseUrl: process.env.MEMTRACE_URL ?? "http://localhost:9100",
  headers: { "x-api-key": process.env.MEMTRACE_API_KEY },
  querySerializer: { array: { style: "form", explode: false } }, // lists are separated by commas
});
memtrace.use({ onResponse: async ({ response }) => { if (!response.ok) throw new Error(await response.text()); } });
const agent_id = "typescript-agent", tags = ["user", "preference"];

for (const content of ["The user prefers dark mode", "The user speaks French"])
  await memtrace.POST("/api/v1/memories", { body: { agent_id, content, tags, metadata: { ticket: 4711 } } });

const recalled = await memtrace.GET("/api/v1/memories", { params: { query: { agent_id, since: "24h", tags } } });
console.log("recalled:", recalled.data?.memories.map(({ content }) => content));

const found = await memtrace.POST("/api/v1/search", { body: { agent_id, query: "dark", metadata: { ticket: 4711 } } });
console.log("found:", found.data?.results.map(({ content }) => content));

let cursor: string | undefined;
do {
  const page = await memtrace.GET("/api/v1/memories", { params: { query: { agent_id, limit: 1, cursor } } });
  console.log("page:", page.data?.memories.map(({ content }) => content));
  cursor = page.data?.next_cursor ?? undefined;
} while (cursor);

const forgotten = await memtrace.DELETE("/api/v1/memories", { params: { query: { agent_id } } });
console.log("forgotten:", forgotten.data?.deleted);
