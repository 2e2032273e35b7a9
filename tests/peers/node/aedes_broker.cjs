// aedes as the broker, for the interop suite.
//
//   aedes_broker.cjs PORT
//
// Prints {"ready": true, "port": PORT} when it serves and leaves when standard input closes.
// Command: `dump` (clients that are connected, retained topics with their payloads, and every
// publication that did not come from the broker itself: topic, payload, qos, retain).
// The package is that of the folder in which it runs.

const net = require("node:net");
const path = require("node:path");
const readline = require("node:readline");
const { createRequire } = require("node:module");

const foreign = createRequire(path.join(process.cwd(), "package.json"));
const say = (answer) => console.log(JSON.stringify(answer));

async function main() {
  const { Aedes } = foreign("aedes");
  const broker = await Aedes.createBroker();
  const published = [];
  const retained = new Map();
  const clients = new Set();
  broker.on("clientReady", (client) => clients.add(client.id));
  broker.on("clientDisconnect", (client) => clients.delete(client.id));
  broker.on("publish", (packet, client) => {
    if (packet.topic.startsWith("$SYS/")) return;
    const payload = packet.payload.toString();
    if (packet.retain && payload) retained.set(packet.topic, payload);
    if (packet.retain && !payload) retained.delete(packet.topic);
    if (client) published.push([packet.topic, payload, packet.qos, packet.retain]);
  });
  const server = net.createServer(broker.handle);
  server.listen(Number(process.argv[2]), "127.0.0.1", () => say({ ready: true, port: server.address().port }));
  readline
    .createInterface({ input: process.stdin })
    .on("line", (line) => {
      if (line.trim() === "dump") say({ clients: [...clients], retained: Object.fromEntries(retained), published });
      else say({ error: `unknown command: ${line}` });
    })
    .on("close", () => process.exit(0));
}

main().catch((reason) => {
  say({ error: reason.message });
  process.exit(1);
});
