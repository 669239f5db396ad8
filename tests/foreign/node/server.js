// A bicycle workshop: its repairs, one of them, a new one, and totals that Redis keeps for a while.

import { createServer } from "node:http";

import pg from "pg";
import { createClient } from "redis";

const TOTALS = "totals";
const TOTALS_KEPT = 600; // seconds

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 4 });
const redis = createClient({ url: process.env.REDIS_URL });
pool.on("error", (error) => console.error(error));
redis.on("error", (error) => console.error(error));

async function list({ searchParams }) {
  const status = searchParams.get("status") ?? "received";
  const limit = Math.min(Number(searchParams.get("limit") ?? 20), 100);
  const { rows } = await pool.query(
    `SELECT r.id, r.status, r.received_at, c.name AS customer
     FROM repairs r JOIN customers c ON c.id = r.customer_id
     WHERE r.status = $1 ORDER BY r.received_at DESC, r.id DESC LIMIT $2`,
    [status, limit],
  );
  return [200, { repairs: rows }];
}

async function detail({ pathname }) {
  const id = pathname.split("/").at(-1);
  const { rows } = await pool.query("SELECT id, status, description FROM repairs WHERE id = $1", [id]);
  if (rows.length === 0) return [404, { error: "no such repair" }];
  const parts = await pool.query("SELECT name, price FROM parts WHERE repair_id = $1 ORDER BY id", [id]);
  return [200, { ...rows[0], parts: parts.rows }];
}

async function create(_, request) {
  const { customer_id: customer, description, parts } = await body(request);
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    const { rows } = await client.query(
      "INSERT INTO repairs (customer_id, description) VALUES ($1, $2) RETURNING id",
      [customer, description],
    );
    await client.query(
      "INSERT INTO parts (repair_id, name, price) SELECT $1, * FROM unnest($2::text[], $3::int[])",
      [rows[0].id, parts.map((part) => part.name), parts.map((part) => part.price)],
    );
    await client.query("COMMIT");
    await redis.del(TOTALS);
    return [201, { id: rows[0].id }];
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  } finally {
    client.release();
  }
}

async function totals() {
  const kept = await redis.get(TOTALS);
  if (kept !== null) return [200, JSON.parse(kept)];
  const { rows } = await pool.query("SELECT status, count(*)::int AS repairs FROM repairs GROUP BY status ORDER BY 1");
  await redis.set(TOTALS, JSON.stringify(rows), { EX: TOTALS_KEPT });
  return [200, rows];
}

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString());
}

const routes = [
  ["GET", /^\/health$/, () => [200, { up: true }]],
  ["GET", /^\/repairs$/, list],
  ["GET", /^\/repairs\/\d+$/, detail],
  ["POST", /^\/repairs$/, create],
  ["GET", /^\/totals$/, totals],
];

async function answer(request) {
  const url = new URL(request.url, "http://localhost");
  const found = routes.find(([method, path]) => method === request.method && path.test(url.pathname));
  return found ? found[2](url, request) : [404, { error: "no such page" }];
}

await redis.connect();
const server = createServer(async (request, response) => {
  let [status, content] = [500, { error: "something went wrong" }];
  try {
    [status, content] = await answer(request);
  } catch (error) {
    console.error(error);
  }
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(content));
});
server.listen(Number(process.env.PORT), "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
