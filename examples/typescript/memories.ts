// Remembers, recalls, searches, pages and forgets, with types made of openapi.yaml: `npm run types`.
import createClient from "openapi-fetch";
import type { paths } from "./memtrace.d.ts";

const client = createClient<paths>({
  baseUrl: process.env.MEMTRACE_URL ?? "http://localhost:9100",
  headers: { "x-api-key": process.env.MEMTRACE_API_KEY ?? "" },
  querySerializer: { array: { style: "form", explode: false } }, // lists are separated by commas
});

async function data<T>(call: Promise<{ data?: T; error?: { error: string; code: string } }>): Promise<T> {
  const { data, error } = await call;
  if (error) throw new Error(`${error.code}: ${error.error}`);
  return data as T;
}

const agent_id = "typescript-agent";
for (const content of ["The user prefers dark mode", "The user speaks French"]) {
  const body = { agent_id, content, tags: ["user", "preference"], metadata: { ticket: 4711 } };
  await data(client.POST("/api/v1/memories", { body, params: { header: { "Idempotency-Key": content.replaceAll(" ", "-") } } }));
}

const query = { agent_id, since: "24h", tags: ["user", "preference"] };
const recalled = await data(client.GET("/api/v1/memories", { params: { query } }));
console.log("recalled:", recalled.memories.map(({ id, content }) => `${id.slice(0, 4)} ${content}`));

const found = await data(client.POST("/api/v1/search", { body: { agent_id, query: "dark", metadata: { ticket: 4711 } } }));
const isLastPage: boolean = !found.has_more;
console.log("found:", found.results.map(({ content }) => content), "last page:", isLastPage);

let cursor: string | null | undefined;
do {
  const page = await data(client.GET("/api/v1/memories", { params: { query: { agent_id, limit: 1, cursor: cursor ?? undefined } } }));
  console.log("page:", page.memories.map(({ content }) => content));
  cursor = page.next_cursor;
} while (cursor);

const { deleted } = await data(client.DELETE("/api/v1/memories", { params: { query: { agent_id } } }));
console.log("forgotten:", deleted);
